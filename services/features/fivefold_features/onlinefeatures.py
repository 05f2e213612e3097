"""Looking features up online: keys in, one answer over all tables of a spec. The hot path of this service.

What a spec means is worked out once and kept: specs never change, and their tables cannot go away. Only when a stored
row has columns that were not known yet are the tables read again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fivefold_features.answers import Answer, Answerer
from fivefold_features.errors import LookupKeyMissing, NotPublished
from fivefold_features.lookups import Plan, resolve
from fivefold_features.names import spec_name, table_name
from fivefold_features.online import OnlineStore
from fivefold_features.packing import pack_keys
from fivefold_features.schema import Kind
from fivefold_features.store import MetadataStore, TableRecord
from fivefold_runtime.errors import InvalidArgument

MAX_ROWS = 10_000
_KEPT = 1000  # specs whose meaning is kept
SENT_AS = {
    Kind.BOOL: "bools",
    Kind.INT32: "int64s",
    Kind.INT64: "int64s",
    Kind.DATE: "int64s",
    Kind.STRING: "strings",
}


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One key column of a request: as which kind of values it came, and the values, None where null."""

    sent_as: str
    values: Sequence[object]


@dataclass(frozen=True, slots=True)
class _Prepared:
    plan: Plan
    tables: tuple[TableRecord, ...]  # one per lookup
    answerer: Answerer


class OnlineFeatures:
    """Answers look-ups. Safe for use by many threads."""

    def __init__(self, store: MetadataStore, online: OnlineStore) -> None:
        self._store = store
        self._online = online
        self._prepared: dict[str, _Prepared] = {}
        self._lock = threading.Lock()

    def get(self, spec: str, keys: Mapping[str, KeyColumn], moment: int) -> tuple[Plan, int, Answer]:
        """Returns the spec's plan, the number of rows, and the answer at a moment (microseconds).

        Raises NotFound, LookupKeyMissing, NotPublished, and FIELD_INVALID for a key column of a wrong length or type.
        """
        prepared = self._prepared.get(spec) or self._prepare(spec)
        rows = _checked(spec, prepared.plan, keys)
        found = self._read(prepared, keys)
        if not all(prepared.answerer.knows(index, one) for index, one in enumerate(found)):
            prepared = self._prepare(spec)
        return prepared.plan, rows, prepared.answerer.answer(found, rows, moment)

    def _read(self, prepared: _Prepared, keys: Mapping[str, KeyColumn]) -> list[list[bytes | None]]:
        found, packed = [], {}
        for lookup, table in zip(prepared.plan.lookups, prepared.tables, strict=True):
            if lookup.keys not in packed:
                columns = [keys[key.name].values for key in lookup.keys]
                packed[lookup.keys] = pack_keys([key.kind for key in lookup.keys], columns)
            rows = self._online.read(table.uid, packed[lookup.keys])
            if rows is None:
                name = table_name(lookup.table)
                raise NotPublished(f"{name} is not online; publish it first", table=name)
            found.append(rows)
        return found

    def _prepare(self, spec: str) -> _Prepared:
        record = self._store.spec(spec)
        found = {name: self._store.table(name) for name in {lookup.table for lookup in record.lookups}}
        tables = tuple(found[lookup.table] for lookup in record.lookups)
        plan = resolve(record.lookups, {name: table.schema for name, table in found.items()})
        prepared = _Prepared(plan, tables, Answerer(plan, [table.schema for table in tables]))
        with self._lock:
            while len(self._prepared) >= _KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[spec] = prepared
        return prepared


def _checked(spec: str, plan: Plan, keys: Mapping[str, KeyColumn]) -> int:
    """Returns the number of rows asked for."""
    for key in plan.keys:
        column = keys.get(key.name)
        if column is None:
            raise LookupKeyMissing(
                f"the request lacks the key column {key.name!r} ({key.kind}) of {spec_name(spec)}",
                column=key.name,
                expected=key.kind,
            )
        if column.sent_as != SENT_AS[key.kind]:
            raise InvalidArgument.at(
                f"keys[{key.name!r}]",
                f"came as {column.sent_as or 'nothing'}; {key.kind} is sent as {SENT_AS[key.kind]}",
                column=key.name,
                actual=column.sent_as,
                expected=SENT_AS[key.kind],
            )
    lengths = {name: len(column.values) for name, column in keys.items()}
    rows = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != rows:
            raise InvalidArgument.at(
                f"keys[{name!r}]",
                f"has {length} rows, another key column has {rows}; all must be of one length",
                column=name,
            )
    return rows
