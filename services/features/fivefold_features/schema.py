"""Columns, their types, and what a table's schema must be. Pure: knows neither Arrow nor protobuf.

`arrowtypes.py` says which Arrow type a Kind is; `wire.py` which DataType.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fivefold_features.errors import SchemaMismatch


class Kind(StrEnum):
    """The type of a column; the name is DataType's without its prefix."""

    BOOL = "BOOL"
    INT32 = "INT32"
    INT64 = "INT64"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    STRING = "STRING"
    BYTES = "BYTES"
    TIMESTAMP = "TIMESTAMP"
    DATE = "DATE"

    __hash__ = str.__hash__  # Equal texts are equal kinds; Enum's own costs more than what is looked up by it.


WIDER = {Kind.INT32: Kind.INT64, Kind.FLOAT: Kind.DOUBLE}  # what holds every value of a kind
KEY_KINDS = (Kind.BOOL, Kind.INT32, Kind.INT64, Kind.STRING, Kind.DATE)


def takes(wanted: Kind, came: Kind | None) -> bool:
    """Says whether values of the kind that came, None for nulls alone, can become `wanted` without a loss."""
    return came is None or came is wanted or WIDER.get(came) is wanted


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    kind: Kind
    description: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table and what they are for.

    primary_keys   columns that identify an entity
    timestamp_key  TIMESTAMP column with the time from which a row is true; "": always
    knowledge_key  TIMESTAMP column with the time at which a row became known; "": as soon as it is true
    """

    columns: tuple[Column, ...]
    primary_keys: tuple[str, ...]
    timestamp_key: str = ""
    knowledge_key: str = ""

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of every column, by name, in order."""
        return {column.name: column.kind for column in self.columns}

    @property
    def times(self) -> tuple[str, ...]:
        """The time columns that the table declares."""
        return tuple(name for name in (self.timestamp_key, self.knowledge_key) if name)

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes a row this row: a write replaces the row that has all of it equal."""
        return (*self.primary_keys, *self.times)

    @property
    def values(self) -> tuple[Column, ...]:
        """All columns but the primary keys: what an online row holds, in order."""
        return tuple(column for column in self.columns if column.name not in self.primary_keys)

    @property
    def features(self) -> tuple[str, ...]:
        """Columns that are neither keys nor times, in order."""
        return tuple(column.name for column in self.columns if column.name not in self.identity)


def check(table: str, schema: Schema) -> None:
    """Raises SchemaMismatch when a schema cannot be a table's; `table` is its name, for the message."""
    check_names(table, (column.name for column in schema.columns))
    kinds = schema.kinds
    if not schema.primary_keys:
        raise SchemaMismatch(
            f"{table}: primary_keys is empty; at least one column must identify an entity", table=table
        )
    for name, uses in Counter(schema.identity).items():
        if uses > 1:
            raise SchemaMismatch(
                f"{table}: column {name!r} is given as a key or time more than once", table=table, column=name
            )
    for name in schema.primary_keys:
        _declared(table, name, kinds, KEY_KINDS, "a primary key")
    for name in schema.times:
        _declared(table, name, kinds, (Kind.TIMESTAMP,), "a time of the row")


def check_extension(table: str, present: Sequence[Column], wanted: Sequence[Column]) -> None:
    """Raises SchemaMismatch unless `wanted` is `present` with columns added at the end; descriptions may differ."""
    for position, old in enumerate(present):
        new = wanted[position] if position < len(wanted) else None
        if new is None or (new.name, new.kind) != (old.name, old.kind):
            came = "nothing" if new is None else f"{new.name!r} {new.kind}"
            raise SchemaMismatch(
                f"{table}: column {position} is {old.name!r} {old.kind}, but {came} came;"
                " columns may only be added at the end",
                table=table,
                column=old.name,
            )
    check_names(table, (column.name for column in wanted))


def check_names(owner: str, names: Iterable[str]) -> None:
    """Raises SchemaMismatch for a column name that is empty, has control characters, or comes twice."""
    seen = set()
    for name in names:
        if not name or not name.isprintable() or len(name.encode()) > 255:
            raise SchemaMismatch(
                f"{owner}: column name {name[:64]!r} must be 1 to 255 bytes of printable text",
                table=owner,
                column=name[:64],
            )
        if name in seen:
            raise SchemaMismatch(f"{owner}: column {name!r} occurs twice", table=owner, column=name)
        seen.add(name)


def _declared(table: str, name: str, kinds: dict[str, Kind], allowed: tuple[Kind, ...], purpose: str) -> None:
    kind = kinds.get(name)
    if kind is None:
        raise SchemaMismatch(
            f"{table}: {name!r} is to be {purpose} but is not among the columns", table=table, column=name
        )
    if kind not in allowed:
        raise SchemaMismatch(
            f"{table}: column {name!r} is {kind}; {purpose} must be {' or '.join(allowed)}",
            table=table,
            column=name,
            actual=kind,
            expected=",".join(allowed),
        )
