"""Which fields an update changes."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fivefold_runtime.errors import InvalidArgument


def chosen(mask: FieldMask, message: Message, allowed: Collection[str]) -> frozenset[str]:
    """Returns the names of the fields to change: those of the mask, or without one those that are set in the message.

    Raises InvalidArgument for a path that is not one of `allowed`.
    """
    if not mask.paths:
        return frozenset(field.name for field, _ in message.ListFields() if field.name in allowed)
    for path in mask.paths:
        if path not in allowed:
            raise InvalidArgument.at(
                "update_mask", f"has {path[:64]!r}; it may name {', '.join(sorted(allowed))}", value=path[:64]
            )
    return frozenset(mask.paths)
