"""Records: what services answer, as frozen dataclasses with Python's own types.

A subclass declares the fields it shows, by the names they have on the wire. Timestamps become aware datetimes (None
when unset), enums their value's name without the prefix ("FINISHED"; stages as people write them, "Production"; "" when
not set), messages records, repeated fields tuples, maps dicts.
"""

from __future__ import annotations

import dataclasses
import html
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self, TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.sdk.times import from_timestamp

_AS_PEOPLE_WRITE = frozenset({"Stage"})  # enums shown capitalised
_FIELDS: dict[type[Record], tuple[tuple[str, type[Record] | None], ...]] = {}  # by class, filled when first needed


@dataclass(frozen=True)
class Record:
    """One answer. Compare it, print it, turn it into a dict."""

    @classmethod
    def of(cls, message: Message, **more: Any) -> Self:
        """Makes the record from its message; `more` fills fields that are not on the wire, or not in this form."""
        return cls(
            **{name: _value(message, name, kind) for name, kind in _wire_fields(cls) if name not in more}, **more
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, nested records as dicts too."""
        return {name: _plain(getattr(self, name)) for name, _ in _wire_fields(type(self))}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_brief(value)}" for name, value in self._set().items())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(_text(value))}</td></tr>"
            for name, value in self._set().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    def _set(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name, _ in _wire_fields(type(self))}
        return {name: value for name, value in values.items() if value not in ("", None, (), {}) and name != "etag"}


R = TypeVar("R", bound=Record)


class Listing(list[R]):
    """A list of records that a notebook shows as a table and that pandas can take over."""

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame with a row for each record."""
        from fivefold.sdk.extras import need

        return need("pandas", "to_pandas()").DataFrame([record.to_dict() for record in self])

    def _repr_html_(self) -> str:
        names = [name for name, _ in _wire_fields(type(self[0]))] if self else []
        used = [name for name in names if name != "etag" and any(name in record._set() for record in self)]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in used)
        rows = (
            "".join(f"<td>{html.escape(_text(getattr(record, name)))}</td>" for name in used) for record in self[:100]
        )
        more = f"<caption>first 100 of {len(self)}</caption>" if len(self) > 100 else ""
        return f"<table>{more}<tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def listing(kind: type[R], messages: Iterable[Message], **more: Any) -> Listing[R]:
    """Makes a record of each message."""
    return Listing(kind.of(message, **more) for message in messages)


@cache
def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Returns what each number of an enum is called here; "" for the zero value."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names = {value.number: value.name.removeprefix(prefix) for value in enum.values}
    if enum.name in _AS_PEOPLE_WRITE:
        names = {number: name.capitalize() for number, name in names.items()}
    return names | {0: ""}


def enum_number(enum: Any, text: str, field: str) -> int:
    """Returns the number of an enum's value by its name here, in any case ("production", "roc_auc"); 0 for "".

    Raises InvalidArgument that lists the names.
    """
    from fivefold.sdk.errors import InvalidArgument

    names = enum_names(enum.DESCRIPTOR)
    for number, name in names.items():
        if name.lower() == text.lower().replace("-", "_"):
            return number
    raise InvalidArgument(
        f"{field} is {text!r}; it must be one of {', '.join(name for name in names.values() if name)}",
        reason="FIELD_INVALID",
        facts={"field": field, "value": text},
    )


def _wire_fields(cls: type[Record]) -> tuple[tuple[str, type[Record] | None], ...]:
    """Returns (field, record class of the messages in it or None) for each field that comes from the wire."""
    if cls not in _FIELDS:
        hints = typing.get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls) if not field.name.startswith("_")]
        _FIELDS[cls] = tuple((name, _record_in(hints[name])) for name in names)
    return _FIELDS[cls]


def _record_in(hint: Any) -> type[Record] | None:
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint
    found = [kind for kind in map(_record_in, typing.get_args(hint)) if kind is not None]
    return found[0] if found else None


def _value(message: Message, name: str, kind: type[Record] | None) -> Any:
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return tuple(_single(item, field, kind) for item in value)
    if field.message_type is not None and kind is None and not message.HasField(name):
        return None
    return _single(value, field, kind)


def _single(value: Any, field: Any, kind: type[Record] | None) -> Any:
    if isinstance(value, Timestamp):
        return from_timestamp(value)
    if isinstance(value, Duration):
        return value.ToTimedelta()
    if isinstance(value, Message):
        assert kind is not None, f"{field.full_name} is a message, so its annotation must be a Record"
        return kind.of(value)
    if field.enum_type is not None:
        return enum_names(field.enum_type).get(value, str(value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return dict(value)
    return value


def _brief(value: Any) -> str:
    if isinstance(value, (datetime, timedelta)):
        return str(value)
    if isinstance(value, (tuple, dict)) and len(value) > 8:
        return f"<{len(value)} items>"
    return repr(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)
