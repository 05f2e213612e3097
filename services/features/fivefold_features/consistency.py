"""Whether online and offline agree: the same keys, asked online and by the join of training sets, as of one moment.

Imports Arrow and Polars: load it when first needed. Only rows of the keys that are asked for are read.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fivefold_features import frames, pointintime
from fivefold_features.answers import DEFAULTED, EXPIRED, NOT_FOUND, NULL, PRESENT, Answer
from fivefold_features.arrowcells import to_cells
from fivefold_features.arrowtypes import ARROW
from fivefold_features.cells import Cells
from fivefold_features.errors import LookupKeyMissing
from fivefold_features.joining import TIME, joined
from fivefold_features.lookups import Resolved
from fivefold_features.names import spec_name, version_name
from fivefold_features.offline import History
from fivefold_features.onlinefeatures import SENT_AS, KeyColumn, OnlineFeatures, Prepared, inputs_of
from fivefold_features.packing import DTYPES, TEXTS
from fivefold_features.reading import current_rows
from fivefold_features.schema import Column, Kind
from fivefold_features.store import MetadataStore, Snapshot

_MOST = 100  # differences that are told
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """A value that is not the same: row of the request, its keys as text, the feature, and both sides as text."""

    row: int
    keys: tuple[str, ...]
    feature: str
    online: tuple[str, int]
    offline: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `differing`: values of which value or status differ; `told`: some of them."""

    rows: int
    values: int
    differing: int
    told: tuple[Inconsistency, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    """One side's features, in order: values and statuses."""

    cells: list[Cells]
    statuses: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks specs of one store."""

    store: MetadataStore
    history: History
    online: OnlineFeatures

    def sample(self, spec: str, count: int) -> dict[str, KeyColumn]:
        """Returns keys of the spec's first table, chosen evenly by a hash. Raises LookupKeyMissing when the spec needs
        more than these."""
        prepared = self.online.prepared(spec)
        first = prepared.plan.lookups[0]
        names = {key.name for key in first.keys}
        for column in prepared.needed:
            if column.name not in names:
                raise LookupKeyMissing(
                    f"{spec_name(spec)} needs the column {column.name!r}, which {first.table} does not have: send keys",
                    column=column.name,
                    expected=column.kind,
                )
        (snapshot,) = self.store.snapshot([first.table])
        primary = snapshot.table.schema.primary_keys
        kinds = {name: frames.POLARS[snapshot.table.schema.kinds[name]] for name in primary}
        with self.history.reading(snapshot.parts, kinds) as frame:
            keys = frame.select(primary).unique().collect()
        chosen = keys[keys.hash_rows(seed=5).arg_sort()[:count]]
        return {
            key.name: KeyColumn(SENT_AS[key.kind], chosen.get_column(name).to_physical().to_list())
            for name, key in zip(primary, first.keys, strict=True)
        }

    def check(self, spec: str, keys: Mapping[str, KeyColumn], moment: int) -> Checked:
        """Compares both answers at a moment (microseconds).

        Raises what OnlineFeatures.get raises.
        """
        prepared, rows, answer = self.online.get(spec, keys, moment, statuses=True)
        snapshots = self.store.snapshot([lookup.table for lookup in prepared.plan.lookups])
        columns = _columns(prepared)
        online = _online(columns, prepared, answer, rows)
        offline = self._offline(columns, prepared, snapshots, keys, rows, moment)
        differing = np.vstack(
            [
                (online.statuses[place] != offline.statuses[place])
                | _unequal(online.cells[place], offline.cells[place])
                for place in range(len(columns))
            ]
        )
        return Checked(
            rows=rows,
            values=differing.size,
            differing=int(differing.sum()),
            told=tuple(_told(columns, prepared, keys, differing, online, offline)),
            versions=tuple(dict.fromkeys(version_name(one.table.id, one.version) for one in snapshots if one.version)),
        )

    def _offline(
        self,
        columns: Sequence[Column],
        prepared: Prepared,
        snapshots: Sequence[Snapshot],
        keys: Mapping[str, KeyColumn],
        rows: int,
        moment: int,
    ) -> _Columns:
        cells: list[Cells] = []
        statuses = []
        for lookup, snapshot in zip(prepared.plan.lookups, snapshots, strict=True):
            values, plain, found = _joined(self.history, lookup, snapshot, keys, moment)
            for feature in lookup.features:
                nulls = plain.get_column(feature.name).is_null().to_numpy()
                status = np.where((found == PRESENT) & nulls, NULL, found)
                if feature.default is not None:
                    status = np.where(status == PRESENT, PRESENT, DEFAULTED)
                statuses.append(status)
                array = values.get_column(feature.name).to_arrow(compat_level=pl.CompatLevel.oldest())
                cells.append(to_cells(feature.kind, array.cast(ARROW[feature.kind])))
        if prepared.program is not None:
            known = inputs_of(prepared, keys)
            known |= {columns[place].name: cells[place] for place in prepared.program.taken}
            for one in prepared.program.run(known, rows):
                cells.append(one)
                statuses.append(np.where(one.missing, NULL, PRESENT))
        return _Columns(cells, np.vstack(statuses).astype(np.uint8))


def _joined(
    history: History, lookup: Resolved, snapshot: Snapshot, keys: Mapping[str, KeyColumn], moment: int
) -> tuple[pl.DataFrame, pl.DataFrame, npt.NDArray[np.int64]]:
    """Returns the features of one lookup as a training set has them, the same without defaults, and per row why."""
    schema = snapshot.table.schema
    asked = pl.DataFrame(
        [
            pl.Series(name, keys[key.name].values, dtype=_PHYSICAL.get(key.kind, frames.POLARS[key.kind])).cast(
                frames.POLARS[key.kind]
            )
            for name, key in zip(schema.primary_keys, lookup.keys, strict=True)
        ]
    )
    columns = [Column(name, schema.kinds[name]) for name in dict.fromkeys(one.source for one in lookup.features)]
    rows = current_rows(history, snapshot, columns, among=asked.drop_nulls().unique())
    labels = asked.with_columns(pl.lit(moment, pl.Int64).alias(TIME))
    bare = replace(lookup, features=tuple(replace(feature, default=None) for feature in lookup.features))
    timed = frames.with_times(rows, schema)
    known = pointintime.as_of(labels, timed, keys=schema.primary_keys, time=TIME).is_null().to_numpy()
    fresh = pointintime.as_of(
        labels,
        timed,
        keys=schema.primary_keys,
        time=TIME,
        look_back=None if lookup.look_back is None else lookup.look_back // timedelta(microseconds=1),
    )
    why = np.where(known, NOT_FOUND, np.where(fresh.is_null().to_numpy(), EXPIRED, PRESENT))
    return joined(rows, schema, lookup, labels), joined(rows, schema, bare, labels), why


def _columns(prepared: Prepared) -> tuple[Column, ...]:
    return (*prepared.plan.features, *(prepared.program.results if prepared.program else ()))


def _online(columns: Sequence[Column], prepared: Prepared, answer: Answer, rows: int) -> _Columns:
    """Returns the answer's blocks as columns."""
    statuses = np.frombuffer(answer.statuses, np.uint8).reshape(len(columns), rows)
    missing = ~np.isin(statuses, (PRESENT, DEFAULTED))
    cells: dict[int, Cells] = {}
    for (kind, places), block in zip(prepared.answerer.kinds.items(), answer.blocks, strict=True):
        if kind in TEXTS:
            ends = [0, *np.frombuffer(block.offsets, "<u4").tolist()]
            texts = [block.data[start:end] for start, end in itertools.pairwise(ends)]
            for line, place in enumerate(places):
                cells[place] = Cells.of_texts(kind, texts[line * rows : (line + 1) * rows], missing[place])
        else:
            numbers = np.frombuffer(block.data, DTYPES[kind]).reshape(len(places), rows)
            for line, place in enumerate(places):
                cells[place] = Cells.of_numbers(numbers[line], missing[place])
    return _Columns([cells[place] for place in range(len(columns))], statuses)


def _unequal(one: Cells, other: Cells) -> npt.NDArray[np.bool_]:
    """Says where values differ; NaN equals NaN."""
    there = ~one.missing & ~other.missing
    differ = one.values != other.values
    if one.values.dtype.kind == "f":
        differ &= ~(np.isnan(one.values) & np.isnan(other.values))
    return (one.missing != other.missing) | (there & differ.astype(bool))


def _told(
    columns: Sequence[Column],
    prepared: Prepared,
    keys: Mapping[str, KeyColumn],
    differing: npt.NDArray[np.bool_],
    online: _Columns,
    offline: _Columns,
) -> Iterator[Inconsistency]:
    for row, place in np.argwhere(differing.T)[:_MOST].tolist():
        column = columns[place]
        yield Inconsistency(
            row,
            tuple(_text(key.kind, keys[key.name].values[row]) for key in prepared.plan.keys),
            column.name,
            (_cell(column.kind, online.cells[place], row), int(online.statuses[place, row])),
            (_cell(column.kind, offline.cells[place], row), int(offline.statuses[place, row])),
        )


def _cell(kind: Kind, cells: Cells, row: int) -> str:
    value = cells.values[row]
    return "" if cells.missing[row] else _text(kind, value.item() if isinstance(value, np.generic) else value)


def _text(kind: Kind, value: Any) -> str:
    """Returns a value as text, as FeatureLookup.defaults has it; "" for a null."""
    if value is None:
        return ""
    if kind is Kind.BOOL:
        return "true" if value else "false"
    if kind is Kind.BYTES:
        return base64.b64encode(value).decode()
    if kind is Kind.TIMESTAMP:
        return (_EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
    if kind is Kind.DATE:
        return (_EPOCH + timedelta(days=value)).date().isoformat()
    return str(value)


_PHYSICAL = {Kind.DATE: pl.Int32()}
