"""The order of a stream's messages: a header first, then numbers that leave no gap."""

from __future__ import annotations

from fivefold_runtime.errors import InvalidArgument


class StreamOrder(InvalidArgument):
    """A stream's messages came in an order that the contract does not allow."""

    reason = "STREAM_ORDER"


def follow(sequence: int, last: int) -> int:
    """Returns the number of a message that comes after `last`, or was there before. Raises StreamOrder for a gap."""
    if sequence > last + 1:
        raise StreamOrder(
            f"sequence {sequence} came after {last}; the next one must be {last + 1}", sequence=sequence, last=last
        )
    return max(sequence, last)
