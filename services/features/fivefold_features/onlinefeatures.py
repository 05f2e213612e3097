"""Looking features up online: keys in, one answer over all tables of a spec. The hot path of this service.

What a spec means is worked out once and kept. A spec never changes, but one may be deleted, here or by another server:
what is kept is compared with the metadata store once a second. Only when a stored row has columns that were not known
yet are the tables read again before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fivefold_features.answers import Answer, Answerer
from fivefold_features.cells import Cells
from fivefold_features.errors import LookupKeyMissing, NotPublished
from fivefold_features.functions import Installed, Program, bound
from fivefold_features.lookups import Plan, resolve
from fivefold_features.names import spec_name, table_name
from fivefold_features.online import OnlineStore
from fivefold_features.packing import pack_keys
from fivefold_features.schema import Column, Kind
from fivefold_features.store import MetadataStore, SpecRecord, TableRecord
from fivefold_runtime.errors import InvalidArgument, NotFound

MAX_ROWS = 10_000
_KEPT = 1000  # specs whose meaning is kept
_SECONDS = 1.0  # after which what is kept is compared again
SENT_AS = {
    Kind.BOOL: "bools",
    Kind.INT32: "int64s",
    Kind.INT64: "int64s",
    Kind.FLOAT: "doubles",
    Kind.DOUBLE: "doubles",
    Kind.DATE: "int64s",
    Kind.TIMESTAMP: "int64s",
    Kind.STRING: "strings",
}


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One column of a request: as which kind of values it came, and the values, None where null."""

    sent_as: str
    values: Sequence[Any]


@dataclass(slots=True)
class Prepared:
    """What one spec means.

    tables    one per lookup
    needed    columns that a request must have: keys, then the inputs of functions
    names     what comes out, in order
    template  kept for wire.to_answer: what all answers have in common
    checked   monotonic time at which the spec was there as it is
    """

    spec: SpecRecord
    plan: Plan
    program: Program | None
    tables: tuple[TableRecord, ...]
    answerer: Answerer
    needed: tuple[Column, ...]
    names: tuple[str, ...]
    checked: float
    template: Any = None


class OnlineFeatures:
    """Answers look-ups. Safe for use by many threads."""

    def __init__(
        self,
        store: MetadataStore,
        online: OnlineStore,
        functions: Installed,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._online = online
        self._functions = functions
        self._monotonic = monotonic
        self._prepared: dict[str, Prepared] = {}
        self._lock = threading.Lock()

    def get(
        self,
        spec: str,
        keys: Mapping[str, KeyColumn],
        moment: int,
        *,
        statuses: bool = False,
        event_times: bool = False,
    ) -> tuple[Prepared, int, Answer]:
        """Returns what the spec means, the number of rows, and the answer at a moment (microseconds).

        Raises NotFound, LookupKeyMissing, NotPublished, FunctionUnknown, FunctionFailed, and FIELD_INVALID for a
        column of a wrong length or type.
        """
        prepared = self.prepared(spec)
        rows = _checked(spec, prepared, keys)
        found = self._read(prepared, keys)
        for _ in range(3):
            inputs = inputs_of(prepared, keys)
            answer = prepared.answerer.answer(
                found, rows, moment, inputs=inputs, statuses=statuses, event_times=event_times
            )
            if answer is not None:
                return prepared, rows, answer
            prepared = self._prepare(spec)  # A row has columns that were added to its table meanwhile.
        raise NotFound.of(spec_name(spec))

    def prepared(self, spec: str) -> Prepared:
        """Returns what a spec means. Raises NotFound, FunctionUnknown."""
        found = self._prepared.get(spec)
        if found is None:
            return self._prepare(spec)
        now = self._monotonic()
        if now - found.checked > _SECONDS:
            if self._store.spec(spec) != found.spec:
                return self._prepare(spec)
            found.checked = now
        return found

    def forget(self, spec: str) -> None:
        """Forgets what a spec means: it was deleted."""
        self._prepared.pop(spec, None)

    def _read(self, prepared: Prepared, keys: Mapping[str, KeyColumn]) -> list[list[bytes | None]]:
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

    def _prepare(self, spec: str) -> Prepared:
        now = self._monotonic()
        record = self._store.spec(spec)
        found = {name: self._store.table(name) for name in {lookup.table for lookup in record.lookups}}
        tables = tuple(found[lookup.table] for lookup in record.lookups)
        plan = resolve(record.lookups, {name: table.schema for name, table in found.items()})
        program = bound(record.functions, plan.features, plan.keys, self._functions)
        prepared = Prepared(
            spec=record,
            plan=plan,
            program=program,
            tables=tables,
            answerer=Answerer(plan, [table.schema for table in tables], program),
            needed=(*plan.keys, *(program.inputs if program else ())),
            names=tuple(column.name for column in (*plan.features, *(program.results if program else ()))),
            checked=now,
        )
        with self._lock:
            while len(self._prepared) >= _KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[spec] = prepared
        return prepared


def inputs_of(prepared: Prepared, keys: Mapping[str, KeyColumn]) -> dict[str, Cells]:
    """Returns the columns of a request that functions take. Raises FIELD_INVALID for a number out of range."""
    if prepared.program is None:
        return {}
    found = {}
    for column in (*prepared.program.inputs, *prepared.program.keys):
        try:
            found[column.name] = Cells.of_values(column.kind, keys[column.name].values)
        except OverflowError:
            raise InvalidArgument.at(f"keys[{column.name!r}]", f"has a number that is no {column.kind}") from None
    return found


def _checked(spec: str, prepared: Prepared, keys: Mapping[str, KeyColumn]) -> int:
    """Returns the number of rows asked for."""
    for key in prepared.needed:
        column = keys.get(key.name)
        if column is None:
            raise LookupKeyMissing(
                f"the request lacks the column {key.name!r} ({key.kind}) of {spec_name(spec)}",
                column=key.name,
                expected=key.kind,
            )
        if column.sent_as != SENT_AS[key.kind] and not _all_null(column):
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


def _all_null(column: KeyColumn) -> bool:
    """Says whether a column has nothing but nulls, which clients send as numbers whatever they are to be."""
    return column.sent_as == "doubles" and all(value is None for value in column.values)
