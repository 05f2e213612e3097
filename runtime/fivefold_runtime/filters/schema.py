"""What a service's filters and orders may name: groups of fields, the kind of each, and what compares with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from fivefold_runtime.filters import grammar
from fivefold_runtime.filters.errors import FilterInvalid
from fivefold_runtime.filters.grammar import Literal, Name, Node
from fivefold_runtime.filters.tree import And, Comparison, Field, Filter, Operator, Or, OrderKey, Presence, Value

_RANGES = frozenset({Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST})
_SAME = frozenset({Operator.EQUAL, Operator.NOT_EQUAL})
_LISTS = frozenset({Operator.IN, Operator.NOT_IN})
_LIKES = frozenset({Operator.LIKE, Operator.ILIKE})


class Kind(Enum):
    """What values a field has."""

    TEXT = "text"
    NUMBER = "number"
    EITHER = "text or number"  # texts that compare as numbers with a number
    TIME = "time"  # given as ISO text or milliseconds since 1970; the tree has microseconds


_WITH_TEXT = {
    Kind.TEXT: _SAME | _LISTS | _LIKES,
    Kind.EITHER: _SAME | _LISTS | _LIKES,
    Kind.TIME: _SAME | _RANGES,
}
_WITH_NUMBER = {
    Kind.NUMBER: _SAME | _RANGES | _LISTS,
    Kind.EITHER: _SAME | _RANGES | _LISTS,
    Kind.TIME: _SAME | _RANGES,
}
_WANTED = {
    Kind.TEXT: ("text in quotes",),
    Kind.NUMBER: ("a number",),
    Kind.EITHER: ("text in quotes", "a number"),
    Kind.TIME: ("milliseconds since 1970", "a time such as '2026-01-31T12:00:00Z'"),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that share a prefix.

    prefixes  how it may be written; the first one is its name
    kind      of all its fields, whose keys are free
    fields    instead: its fields and the kind of each
    others    other names of fields, to their names
    """

    prefixes: tuple[str, ...]
    kind: Kind | None = None
    fields: Mapping[str, Kind] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.prefixes[0]


class Schema:
    """The fields of one kind of resource."""

    def __init__(self, *groups: Group, bare: str, unordered: Iterable[str] = ()) -> None:
        """Takes the groups, the name of the one whose fields need no prefix, and the names of those that give no order."""
        self._groups = {prefix: group for group in groups for prefix in group.prefixes}
        self._names = tuple(group.name for group in groups)
        self._bare = self._groups[bare]
        self._unordered = frozenset(unordered)

    def parse(self, text: str, where: str = "filter") -> Filter | None:
        """Returns the filter that a text means, None for an empty one. Raises FilterInvalid for the field `where`."""
        node = grammar.read_filter(text, where)
        return None if node is None else self._filter(_Place(text, where), node, False)

    def parse_order(self, text: str, where: str = "order_by") -> tuple[OrderKey, ...]:
        """Returns the keys of an order. Raises FilterInvalid for the field `where`, also for a key that comes twice."""
        place = _Place(text, where)
        keys: dict[Field, OrderKey] = {}
        for name, descending in grammar.read_order(text, where):
            found, _ = self._field(place, name)
            if found.group in self._unordered:
                ordered = [each for each in self._names if each not in self._unordered]
                raise place.error(name.position, ordered, f"nothing is ordered by {found.group}")
            if found in keys:
                raise place.error(name.position, (), f"{name.key} orders already")
            keys[found] = OrderKey(found, descending)
        return tuple(keys.values())

    def _filter(self, place: _Place, node: Node, negated: bool) -> Filter:
        if node.kind == "negation":
            return self._filter(place, node.parts[0], not negated)
        if node.kind in ("both", "either"):
            join = And if (node.kind == "both") != negated else Or
            return join(tuple(self._filter(place, part, negated) for part in node.parts))
        assert node.name is not None  # What joins nothing compares a field.
        found, kind = self._field(place, node.name)
        if node.operator is None:
            return Presence(found, (node.kind == "present") != negated)
        values = tuple(_value(place, node.operator, node.position, kind, literal) for literal in node.literals)
        if len({isinstance(value, str) for value in values}) > 1:
            raise place.error(node.literals[0].position, (), "a list has texts or numbers, not both")
        if kind is Kind.TIME and isinstance(node.literals[0].value, int):
            return _within_millisecond(found, node.operator, values[0], negated)
        return Comparison(found, node.operator, values, negated)

    def _field(self, place: _Place, name: Name) -> tuple[Field, Kind]:
        group = self._bare if name.group is None else self._groups.get(name.group)
        if group is None:
            prefixes = [f"{each}." for each in self._names]
            raise place.error(name.position, prefixes, f"{name.group} is no group of fields", name.group)
        if group.kind is not None:
            if not name.key:
                raise place.error(name.key_position, ("a key",), "the key is empty", name.key)
            return Field(group.name, name.key, name.position), group.kind
        key = group.others.get(name.key, name.key)
        kind = group.fields.get(key)
        if kind is None:
            raise place.error(name.key_position, sorted(group.fields), f"{name.key[:64]!r} is no field", name.key)
        return Field(group.name, key, name.position), kind


@dataclass(frozen=True, slots=True)
class _Place:
    """A text and the request's field that it is in."""

    text: str
    where: str

    def error(self, position: int, expected: Iterable[str], why: str = "", found: str | None = None) -> FilterInvalid:
        return FilterInvalid.here(self.where, self.text, position, list(expected), why=why, found=found)


def _value(place: _Place, operator: Operator, at: int, kind: Kind, literal: Literal) -> Value:
    """Returns the value that a field of a kind is compared with. Raises FilterInvalid."""
    allowed = (_WITH_TEXT if isinstance(literal.value, str) else _WITH_NUMBER).get(kind)
    if allowed is None:
        raise place.error(literal.position, _WANTED[kind], f"a {kind.value} does not compare with that")
    if operator not in allowed:
        what = "text" if isinstance(literal.value, str) and kind is not Kind.TIME else "number"
        hint = " (a number stands without quotes)" if kind is Kind.EITHER and operator in _RANGES else ""
        expected = [each.value for each in Operator if each in allowed]
        raise place.error(at, expected, f"{operator} does not compare a {kind.value} with a {what}{hint}", operator)
    return _micros(place, literal) if kind is Kind.TIME else literal.value


def _within_millisecond(found: Field, operator: Operator, first: Value, negated: bool) -> Filter:
    """Returns the comparison of a time with a whole millisecond, of which `first` is the first microsecond.

    Who reads a time in milliseconds and compares with it means all that it stands for.
    """
    assert isinstance(first, int)
    last = first + 999
    if operator in _SAME:
        if (operator is Operator.EQUAL) != negated:
            return And((Comparison(found, Operator.AT_LEAST, (first,)), Comparison(found, Operator.AT_MOST, (last,))))
        return Or((Comparison(found, Operator.LESS, (first,)), Comparison(found, Operator.GREATER, (last,))))
    beyond = operator in (Operator.AT_MOST, Operator.GREATER)
    return Comparison(found, operator, (last if beyond else first,), negated)


def _micros(place: _Place, literal: Literal) -> int | float:
    """Returns a time in microseconds since 1970."""
    if isinstance(literal.value, int):
        return literal.value * 1000
    if isinstance(literal.value, float):
        micros = literal.value * 1000
        return int(micros) if math.isfinite(micros) and micros.is_integer() and abs(micros) < 2**63 else micros
    try:
        time = datetime.fromisoformat(literal.value)
        since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise place.error(literal.position, _WANTED[Kind.TIME], "this is no time", literal.value) from None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
