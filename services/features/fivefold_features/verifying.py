"""Building a training set again and comparing it with what was recorded. Imports Arrow and Polars: load when needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features import training
from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.digest import FrameDigest
from fivefold_features.functions import Installed
from fivefold_features.offline import History
from fivefold_features.schema import Column, Kind
from fivefold_features.store import MetadataStore, TrainingSetRecord
from fivefold_runtime.errors import FivefoldError

_MOST = 100  # differences that are told
_BROKEN = (FivefoldError, pa.ArrowException, pl.exceptions.PolarsError, OSError)


class Part(StrEnum):
    """Which part is not as recorded; named as TrainingSetDifference.Part."""

    LABELS = "LABELS"
    STORED = "STORED"
    REBUILT = "REBUILT"
    SOURCE = "SOURCE"


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as recorded. `row`: the first one, -1 when none can be named; `rows`: how many in the column."""

    part: Part
    message: str
    column: str = ""
    row: int = -1
    rows: int = 0


@dataclass(slots=True)
class Verification:
    """Digests as found, empty where nothing could be read, and what differs from the record."""

    label_digest: str = ""
    stored_digest: str = ""
    rebuilt_digest: str = ""
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies training sets of one store. `memory_bytes` as in training.build."""

    store: MetadataStore
    history: History
    memory_bytes: int
    installed: Installed

    def verify(self, record: TrainingSetRecord) -> Verification:
        """Returns what was found. Files that are damaged or gone are differences."""
        found = Verification()
        self._look_at_labels(record, found)
        self._look_at_result(record, found)
        self._build_again(record, found)
        for digest, recorded, part, what in (
            (found.label_digest, record.label_digest, Part.LABELS, "the stored labels"),
            (found.stored_digest, record.digest, Part.STORED, "the stored result"),
            (found.rebuilt_digest, record.digest, Part.REBUILT, "the result built again"),
        ):
            if digest and digest != recorded:
                found.differences.insert(0, Difference(part, f"{what} has the digest {digest}, recorded is {recorded}"))
        del found.differences[_MOST:]
        return found

    def _look_at_labels(self, record: TrainingSetRecord, found: Verification) -> None:
        if record.label_columns is None:
            found.differences.append(Difference(Part.LABELS, "its labels were not kept when it was made"))
            return
        try:
            found.label_digest = _digest(self.history.batches(record.labels_key), record.label_columns)
        except _BROKEN as error:
            found.differences.append(Difference(Part.LABELS, f"the stored labels cannot be read: {_why(error)}"))

    def _look_at_result(self, record: TrainingSetRecord, found: Verification) -> None:
        try:
            found.stored_digest = _digest(self.history.batches(record.key), record.columns)
        except _BROKEN as error:
            found.differences.append(Difference(Part.STORED, f"the stored result cannot be read: {_why(error)}"))

    def _build_again(self, record: TrainingSetRecord, found: Verification) -> None:
        if not found.label_digest:
            return
        try:
            digest, cells = FrameDigest(record.columns), _Cells(record.columns)
            stored = self._stored(record) if found.stored_digest else None
            for batch in self._rebuilt(record):
                digest.add(batch)
                if stored is not None:
                    cells.compare(batch, stored.take(batch.num_rows))
            found.rebuilt_digest = digest.hexdigest()
            found.differences += cells.differences()
        except _BROKEN as error:
            found.differences.append(Difference(Part.SOURCE, f"it cannot be built again: {_why(error)}"))

    def _rebuilt(self, record: TrainingSetRecord) -> Iterator[pa.RecordBatch]:
        spec = self.store.spec(record.spec)
        snapshots = []
        for lookup in spec.lookups:
            (one,) = self.store.snapshot([lookup.table], record.versions[lookup.table])
            if one.version != record.versions[lookup.table]:  # It had none yet, which now it has.
                one = type(one)(one.table, 0, 0, ())
            snapshots.append(one)
        sources = training.Sources.of(spec, snapshots, self.installed)
        assert record.label_columns is not None
        kept = [column for column in record.label_columns if column.name not in record.exclude]
        needed = list(dict.fromkeys((*(key.name for key in sources.plan.keys), record.timestamp_column)))
        asking = pl.from_arrow(
            pa.Table.from_batches(
                (batch.select(needed) for batch in self.history.batches(record.labels_key, needed)),
                arrow_schema([_named(record.label_columns, name) for name in needed]),
            )
        )
        assert isinstance(asking, pl.DataFrame)
        return training.results(
            self.history,
            sources,
            asking,
            record.timestamp_column,
            self.history.batches(record.labels_key),
            kept,
            self.memory_bytes,
        )

    def _stored(self, record: TrainingSetRecord) -> _Stream:
        return _Stream(self.history.batches(record.key), arrow_schema(record.columns))


class _Stream:
    """Record batches, cut anew."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = batches
        self._rest = pa.Table.from_batches([], schema)

    def take(self, count: int) -> pa.Table:
        """Returns the next rows, fewer only at the end."""
        while self._rest.num_rows < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._rest = pa.concat_tables([self._rest, pa.Table.from_batches([batch], self._rest.schema)])
        taken, self._rest = self._rest.slice(0, count), self._rest.slice(count)
        return taken


class _Cells:
    """Where two frames differ, column by column."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._first = [-1] * len(columns)
        self._count = [0] * len(columns)
        self._row = 0

    def compare(self, rebuilt: pa.RecordBatch, stored: pa.Table) -> None:
        """Takes the next rows of both."""
        rows = min(rebuilt.num_rows, stored.num_rows)
        for place, column in enumerate(self._columns):
            same = _same(rebuilt.column(place).slice(0, rows), stored.column(place).slice(0, rows), column.kind)
            different = rows - (pc.sum(same).as_py() or 0)
            if different and not self._count[place]:
                self._first[place] = self._row + pc.index(same, False).as_py()
            self._count[place] += different
        self._row += rebuilt.num_rows

    def differences(self) -> list[Difference]:
        return [
            Difference(
                Part.REBUILT,
                f"column {column.name!r} differs in {count} rows from the stored result, first in row {first}",
                column.name,
                first,
                count,
            )
            for column, first, count in zip(self._columns, self._first, self._count, strict=True)
            if count
        ]


def _same(left: pa.Array, right: pa.ChunkedArray, kind: Kind) -> pa.Array:
    one, other = left, right.combine_chunks()
    if kind in (Kind.FLOAT, Kind.DOUBLE):  # Bit for bit: NaN equals itself, and 0.0 is not -0.0.
        bits = pa.int32() if kind is Kind.FLOAT else pa.int64()
        one, other = one.view(bits), other.view(bits)
    equal = pc.fill_null(pc.equal(one, other), False)
    return pc.or_(equal, pc.and_(one.is_null(), other.is_null()))


def _digest(batches: Iterator[pa.RecordBatch], columns: Sequence[Column]) -> str:
    digest, schema = FrameDigest(columns), arrow_schema(columns)
    for batch in batches:
        digest.add(batch.select(schema.names).cast(schema))
    return digest.hexdigest()


def _named(columns: Sequence[Column], name: str) -> Column:
    return next(column for column in columns if column.name == name)


def _why(error: Exception) -> str:
    """Typed errors speak of resources; texts of libraries would tell paths."""
    return str(error) if isinstance(error, FivefoldError) else "a file is damaged"
