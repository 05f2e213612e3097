"""Which fields an update changes, and which entries of a map: `tags` means the whole map, `tags.KEY` one entry."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.validation import FieldInvalid, TooManyItems

Entries = Mapping[str, str | None]  # new values of some entries of a map; None removes one


def chosen(mask: FieldMask, message: Message, allowed: Collection[str], maps: Collection[str] = ()) -> frozenset[str]:
    """Returns the names of the fields to change: those of the mask, or without one those that are set in the message.

    maps  fields whose entries may be named one by one; paths that do are left to `entries`

    Raises InvalidArgument for a path that is not one of `allowed`, nor `{map}.{key}`.
    """
    if not mask.paths:
        return frozenset(field.name for field, _ in message.ListFields() if field.name in allowed)
    whole = [path for path in mask.paths if not _is_entry(path, maps)]
    for path in whole:
        if path not in allowed:
            known = [*allowed, *(f"{name}.KEY" for name in maps)]
            raise InvalidArgument.at(
                "update_mask", f"has {path[:64]!r}; it may name {', '.join(sorted(known))}", value=path[:64]
            )
    return frozenset(whole)


def entries(mask: FieldMask, message: Message, field: str, max_key_bytes: int = 250) -> Entries:
    """Returns the new values of the entries of a map of texts that the mask names, by key.

    The rest of a path after `{field}.` is the key, as it is, dots and all. An entry that the message does not have is
    to be removed. Raises FieldInvalid for a key that no entry can have.
    """
    values = getattr(message, field)
    found: dict[str, str | None] = {}
    for path in mask.paths:
        if not _is_entry(path, (field,)):
            continue
        key = path[len(field) + 1 :]
        if not key or "\0" in key or len(key.encode()) > max_key_bytes:
            why = f"has {path[:64]!r}; a key has 1 to {max_key_bytes} bytes and no U+0000"
            raise FieldInvalid.at("update_mask", why, value=path[:64])
        found[key] = values.get(key)
    return found


def merged(present: Mapping[str, str], new: Entries, field: str, most: int = 1000) -> dict[str, str]:
    """Returns a map with some entries set and some removed.

    Raises TooManyItems, which names `field`, when it grows beyond `most` entries.
    """
    result = dict(present)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    if len(result) > most and len(result) > len(present):
        why = f"would have {len(result)} items; at most {most} are allowed"
        raise TooManyItems.at(field, why, limit=most, count=len(result))
    return result


def _is_entry(path: str, maps: Collection[str]) -> bool:
    name, dot, _ = path.partition(".")
    return bool(dot) and name in maps
