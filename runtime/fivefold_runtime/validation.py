"""Checks request messages against what their contract says: REQUIRED fields and the limits of annotations.proto.

Each message type is compiled once into a flat list of checks. Beyond its limits, every text is checked for U+0000
(which PostgreSQL cannot store), every enum and time for a value that it can have, and the whole for its depth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fivefold.annotations.v1 import annotations_pb2
from fivefold_runtime.errors import InvalidArgument

_MAX_DEPTH = 32  # messages within messages
_FLOATS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_NUMBERS = _FLOATS | {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64,
}  # fmt: skip
_SECONDS = {  # what languages can hold: the years 1 to 9999; 10,000 years
    "google.protobuf.Timestamp": (-62_135_596_800, 253_402_300_799),
    "google.protobuf.Duration": (-315_576_000_000, 315_576_000_000),
}

Field = Any  # a FieldDescriptor: the two implementations of protobuf have no type in common
Check = Callable[[Any, str, int], None]  # (message, its path with a dot at the end, its depth)
ValueCheck = Callable[[Any, str, str], None]  # (value, its path, what it is: "" or "a key ")


class FieldRequired(InvalidArgument):
    """A required field is missing or empty."""

    reason = "FIELD_REQUIRED"


class FieldInvalid(InvalidArgument):
    """A field does not have the documented form or range."""

    reason = "FIELD_INVALID"


class FieldTooLong(InvalidArgument):
    """A text or bytes field is longer than its limit."""

    reason = "FIELD_TOO_LONG"


class TooManyItems(InvalidArgument):
    """A repeated field or map has more items than its limit."""

    reason = "TOO_MANY_ITEMS"


class NotFinite(InvalidArgument):
    """A number is NaN or infinite where that makes no sense."""

    reason = "NOT_FINITE"


def validate(message: Message) -> None:
    """Raises the InvalidArgument of the first field at fault: its path, what came, what was expected."""
    try:
        _descend(message, message.DESCRIPTOR, _NO_PATH, 0)
    except InvalidArgument:
        _descend(message, message.DESCRIPTOR, "", 0)
        raise


class _NoPath(str):
    """Stands for the paths that a first pass does without: they cost more than the checks, and only errors have them."""

    __slots__ = ()


_NO_PATH = _NoPath()
_compiled: dict[Any, list[Check]] = {}


def _checks(descriptor: Any) -> list[Check]:
    """Returns the checks of a message type. Messages within are looked up when they are checked: types may recur."""
    found = _compiled.get(descriptor)
    if found is None:
        found = _compiled[descriptor] = [check for field in descriptor.fields for check in _checks_of(field)]
    return found


def _checks_of(field: Field) -> list[Check]:
    options = field.GetOptions()
    limits = options.Extensions[annotations_pb2.limits]
    checks: list[Check] = []
    if field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]:
        checks.append(_required(field))
    if field.is_repeated and limits.max_items:
        checks.append(_count(field.name, limits.max_items))
    if field.message_type is None:
        one = _value(field, limits)
        if one is not None:
            checks.append(_each(field.name, one) if field.is_repeated else _single(field, one))
    elif field.message_type.GetOptions().map_entry:
        checks.extend(_map(field, limits))
    elif field.message_type.full_name in _SECONDS:
        time = _time(field.message_type)
        checks.append(_each(field.name, time) if field.is_repeated else _single(field, time))
    else:
        checks.append(_messages(field) if field.is_repeated else _message(field))
    return checks


def _required(field: Field) -> Check:
    name = field.name
    is_text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
    by_presence = field.has_presence and not is_text

    def check(message: Any, path: str, depth: int) -> None:
        if not (message.HasField(name) if by_presence else getattr(message, name)):
            raise FieldRequired.at(path + name, "is required")

    return check


def _count(name: str, most: int) -> Check:
    def check(message: Any, path: str, depth: int) -> None:
        count = len(getattr(message, name))
        if count > most:
            why = f"has {count} items; at most {most} are allowed"
            raise TooManyItems.at(path + name, why, limit=most, count=count)

    return check


def _message(field: Field) -> Check:
    name, inner = field.name, field.message_type

    def check(message: Any, path: str, depth: int) -> None:
        if message.HasField(name):
            _descend(getattr(message, name), inner, path if path is _NO_PATH else f"{path}{name}.", depth + 1)

    return check


def _messages(field: Field) -> Check:
    name, inner = field.name, field.message_type

    def check(message: Any, path: str, depth: int) -> None:
        for index, value in enumerate(getattr(message, name)):
            _descend(value, inner, path if path is _NO_PATH else f"{path}{name}[{index}].", depth + 1)

    return check


def _descend(message: Any, descriptor: Any, path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise FieldInvalid.at(path[:64].rstrip("."), f"is nested deeper than {_MAX_DEPTH} messages", limit=_MAX_DEPTH)
    for check in _checks(descriptor):
        check(message, path, depth)


def _map(field: Field, limits: Any) -> list[Check]:
    name = field.name
    key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    checks: list[Check] = []
    if key.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        of_key = _text(limits.max_key_bytes, "")

        def keys(message: Any, path: str, depth: int) -> None:
            for one in getattr(message, name):
                of_key(one, path + name, "a key ")

        checks.append(keys)
    if value.message_type is not None:

        def messages(message: Any, path: str, depth: int) -> None:
            for one, content in getattr(message, name).items():
                _descend(content, value.message_type, f"{path}{name}[{_shown(one)}].", depth + 1)

        checks.append(messages)
    else:
        of_value = _value(value, limits)
        if of_value is not None:

            def values(message: Any, path: str, depth: int) -> None:
                for one, content in getattr(message, name).items():
                    of_value(content, f"{path}{name}[{_shown(one)}]", "")

            checks.append(values)
    return checks


def _single(field: Field, one: ValueCheck) -> Check:
    name, optional = field.name, field.has_presence

    def text(message: Any, path: str, depth: int) -> None:
        value = getattr(message, name)
        if value:  # An empty text breaks no limit; whether it may be empty is REQUIRED's business.
            one(value, path + name, "")

    def check(message: Any, path: str, depth: int) -> None:
        if not optional or message.HasField(name):
            one(getattr(message, name), path + name, "")

    return text if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else check


def _each(name: str, one: ValueCheck) -> Check:
    def check(message: Any, path: str, depth: int) -> None:
        if path is _NO_PATH:
            for value in getattr(message, name):
                one(value, path, "")
            return
        for index, value in enumerate(getattr(message, name)):
            one(value, f"{path}{name}[{index}]", "")

    return check


def _value(field: Field, limits: Any) -> ValueCheck | None:
    """Returns the check of one value, None when every value is allowed."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(limits.max_bytes) if limits.max_bytes else None
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text(limits.max_bytes, limits.pattern)
    if field.enum_type is not None:
        return _enum(field.enum_type)
    return _number(field, limits) if field.cpp_type in _NUMBERS else None


def _bytes(most: int) -> ValueCheck:
    def check(value: bytes, path: str, what: str) -> None:
        if len(value) > most:
            _too_long(path, what, len(value), most)

    return check


def _text(most: int, pattern: str) -> ValueCheck:
    form = re.compile(pattern) if pattern else None

    def check(value: str, path: str, what: str) -> None:
        # A character has four bytes at the most, so that only texts near the limit are encoded to be measured.
        if most and 4 * len(value) > most and len(value.encode()) > most:
            _too_long(path, what, len(value.encode()), most)
        if "\0" in value:
            raise FieldInvalid.at(path, f"{what}must not contain U+0000")
        if form is not None and value and not form.fullmatch(value):
            raise FieldInvalid.at(path, f"{what}is {_shown(value)}; it must match {pattern}", value=value[:64])

    return check


def _too_long(path: str, what: str, size: int, most: int) -> None:
    raise FieldTooLong.at(path, f"{what}has {size} bytes; at most {most} are allowed", limit=most, size=size)


def _enum(kind: Any) -> ValueCheck:
    known = frozenset(kind.values_by_number)

    def check(value: int, path: str, what: str) -> None:
        if value not in known:
            raise FieldInvalid.at(path, f"is {value}, which is no {kind.name}", value=value)

    return check


def _time(kind: Any) -> ValueCheck:
    low, high = _SECONDS[kind.full_name]
    signed = kind.name == "Duration"

    def check(value: Any, path: str, what: str) -> None:
        seconds, nanos = value.seconds, value.nanos
        smallest = -999_999_999 if signed and seconds <= 0 else 0
        largest = 0 if signed and seconds < 0 else 999_999_999
        if not (low <= seconds <= high and smallest <= nanos <= largest):
            raise FieldInvalid.at(path, f"is no {kind.name}: {seconds} s and {nanos} ns")

    return check


def _number(field: Field, limits: Any) -> ValueCheck | None:
    bounded = limits.HasField("minimum") or limits.HasField("maximum")
    low = limits.minimum if limits.HasField("minimum") else -math.inf
    high = limits.maximum if limits.HasField("maximum") else math.inf
    finite = limits.finite and field.cpp_type in _FLOATS
    if not (bounded or finite):
        return None

    def check(value: float, path: str, what: str) -> None:
        if finite and not math.isfinite(value):
            raise NotFinite.at(path, f"is {value}; it must be a finite number", value=value)
        if not low <= value <= high and bounded:
            raise FieldInvalid.at(path, f"is {value}; it must be {_range(low, high)}", value=value)

    return check


def _range(low: float, high: float) -> str:
    if high == math.inf:
        return f"at least {low:g}"
    return f"at most {high:g}" if low == -math.inf else f"from {low:g} to {high:g}"


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 48 else text[:45] + "...")
