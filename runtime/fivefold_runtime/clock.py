"""Time as an argument: UTC, microseconds. Domain code never asks the machine; it is handed a Clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time. `testing.SettableClock` is the other implementation."""

    def now(self) -> datetime:
        """Returns an aware UTC datetime with microseconds."""
        ...


class SystemClock:
    """The machine's clock. It may jump (NTP, an operator): nothing may order by it alone."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Returns microseconds since 1970 (UTC), exactly. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone has no position in time")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
