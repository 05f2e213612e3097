"""Building and reading training sets. Imports Arrow and Polars: load it when first needed.

Labels pass through a file; in memory are their keys and times, and of each table the columns that the spec names. What
would not fit is joined bucket by bucket, see buckets. Everything that went in (labels, table versions, spec) and the
digest of what came out is recorded, so that the same can be built again and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from fivefold_features import arrowstream, frames
from fivefold_features.arrowcells import to_arrow, to_cells
from fivefold_features.arrowtypes import ARROW, arrow_schema
from fivefold_features.buckets import bucketed
from fivefold_features.digest import FrameDigest
from fivefold_features.functions import Installed, Program, bound
from fivefold_features.joining import TIME, Found, joined
from fivefold_features.labels import FRAME, Asked, conformed, label_columns
from fivefold_features.lookups import Plan, resolve
from fivefold_features.names import spec_name
from fivefold_features.offline import History
from fivefold_features.schema import Column, check_names
from fivefold_features.sizes import bytes_of
from fivefold_features.store import Snapshot, SpecRecord, TrainingSetRecord
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.ids import new_id

_ROWS = 65_536  # of the result that are made at a time


@dataclass(frozen=True, slots=True)
class Sources:
    """What a training set is joined from.

    snapshots  one per lookup of the plan, all of one moment
    program    the spec's functions, None when it has none
    """

    plan: Plan
    snapshots: Sequence[Snapshot]
    program: Program | None = None

    @classmethod
    def of(cls, spec: SpecRecord, snapshots: Sequence[Snapshot], installed: Installed) -> Sources:
        """Raises FunctionUnknown when a function of the spec is not installed here."""
        plan = resolve(spec.lookups, {one.table.id: one.table.schema for one in snapshots})
        return cls(plan, snapshots, bound(spec.functions, plan.features, plan.keys, installed))

    @property
    def needed(self) -> tuple[Column, ...]:
        """Columns that a label frame must have: keys, then the inputs of functions."""
        return (*self.plan.keys, *(self.program.inputs if self.program else ()))

    @property
    def features(self) -> tuple[Column, ...]:
        """What comes out: the features of the lookups, then what functions make."""
        return (*self.plan.features, *(self.program.results if self.program else ()))


def build(
    history: History,
    spec: SpecRecord,
    snapshots: Sequence[Snapshot],
    asked: Asked,
    pieces: Iterable[bytes],
    memory_bytes: int,
    installed: Installed,
) -> TrainingSetRecord:
    """Joins features to an Arrow stream of labels and stores the result; the record has neither creator nor time yet.

    snapshots     one per lookup, all of one moment
    memory_bytes  about what the rows of one join may take; a lookup that needs more is done in buckets

    Raises ArrowInvalid, LookupKeyMissing, SchemaMismatch, TimestampInvalid, FunctionUnknown, FunctionFailed, and
    FIELD_INVALID for no rows.
    """
    sources = Sources.of(spec, snapshots, installed)
    incoming, batches = arrowstream.read(pieces)
    columns = label_columns(incoming, sources.needed, asked)
    kept = tuple(column for column in columns if column.name not in asked.exclude)
    whole = (*kept, *sources.features)
    check_names(f"the training set of {spec_name(spec.id)}", (column.name for column in whole))
    label_digest = FrameDigest(columns)
    made = new_id()
    key, labels_key = f"training_sets/{made}.parquet", f"training_sets/{made}.labels.parquet"
    with history.draft(arrow_schema(columns)) as labels, history.draft(arrow_schema(whole)) as result:
        for batch in conformed(columns, batches, asked.timestamp_column):
            label_digest.add(batch)
            labels.add(batch)
        if not labels.rows:
            raise InvalidArgument.at("arrow", f"has no rows for the {FRAME}; it must have at least one")
        asking = labels.columns(_needed(sources.plan, asked.timestamp_column))
        digest = FrameDigest(whole)
        for batch in results(history, sources, asking, asked.timestamp_column, labels.batches(), kept, memory_bytes):
            digest.add(batch)
            result.add(batch)
        labels.keep(labels_key)
        result.keep(key)
    return TrainingSetRecord(
        id=made,
        spec=spec.id,
        timestamp_column=asked.timestamp_column,
        labels=asked.labels,
        exclude=asked.exclude,
        versions={one.table.id: one.version for one in snapshots},
        rows=result.rows,
        columns=whole,
        label_digest=label_digest.hexdigest(),
        digest=digest.hexdigest(),
        key=key,
        creator="",
        created=spec.created,
        labels_key=labels_key,
        label_columns=columns,
    )


def results(
    history: History,
    sources: Sources,
    asking: pl.DataFrame,
    time: str,
    labels: Iterable[pa.RecordBatch],
    kept: Sequence[Column],
    memory_bytes: int,
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the result, in the order of the labels.

    asking  of all labels, in order: the key columns of the plan and `time`
    labels  the label frame again, in pieces
    kept    its columns that are part of the result
    """
    target = arrow_schema((*kept, *sources.features))
    names = [column.name for column in kept]
    with ExitStack() as stack:
        found = [
            stack.enter_context(_features(history, sources, index, asking, time, memory_bytes))
            for index in range(len(sources.snapshots))
        ]
        first = 0
        for batch in labels:
            for offset in range(0, batch.num_rows, _ROWS):
                part = batch.slice(offset, _ROWS).select(names)
                arrays = list(part.columns)
                for one in found:
                    rows = one.rows(first, part.num_rows).to_arrow(compat_level=pl.CompatLevel.oldest())
                    arrays += [column.combine_chunks() for column in rows.columns]
                if sources.program is not None:
                    labelled = batch.slice(offset, _ROWS)
                    arrays += _made(sources, sources.program, labelled, arrays[len(names) :])
                first += part.num_rows
                yield pa.record_batch([_as(a, f.type) for a, f in zip(arrays, target, strict=True)], target)


def _made(sources: Sources, program: Program, labels: pa.RecordBatch, features: Sequence[pa.Array]) -> list[pa.Array]:
    """Returns what the functions make of some labels and their features. Raises FunctionFailed."""
    cells = {
        column.name: to_cells(column.kind, labels.column(column.name)) for column in (*program.inputs, *program.keys)
    }
    for place in program.taken:
        feature = sources.plan.features[place]
        cells[feature.name] = to_cells(feature.kind, _as(features[place], ARROW[feature.kind]))
    made = program.run(cells, labels.num_rows)
    return [to_arrow(column.kind, one) for column, one in zip(program.results, made, strict=True)]


def read(history: History, record: TrainingSetRecord) -> Iterator[bytes]:
    """Yields the rows of a training set as an Arrow stream in pieces, in the order of its labels."""
    return arrowstream.write(arrow_schema(record.columns), history.batches(record.key))


@contextmanager
def _features(
    history: History, sources: Sources, index: int, asking: pl.DataFrame, time: str, memory_bytes: int
) -> Iterator[Found]:
    """Gives the features of one lookup for the labels."""
    lookup, snapshot = sources.plan.lookups[index], sources.snapshots[index]
    schema = snapshot.table.schema
    labels = asking.select(
        *(pl.col(column.name).alias(key) for key, column in zip(schema.primary_keys, lookup.keys, strict=True)),
        pl.col(time).to_physical().cast(pl.Int64).alias(TIME),
    )
    kinds = schema.kinds
    sizes = [Column(name, kinds[name]) for name in (*schema.identity, *(one.source for one in lookup.features))]
    steps = -(-(bytes_of(snapshot, sizes)) // memory_bytes)
    if steps > 1:
        with bucketed(history, snapshot, lookup, labels, steps) as found:
            yield found
    else:
        names = list(dict.fromkeys(column.name for column in sizes))
        yield Found(joined(frames.rows_of(history, snapshot, names), schema, lookup, labels))


def _needed(plan: Plan, time: str) -> list[str]:
    return list(dict.fromkeys((*(key.name for key in plan.keys), time)))


def _as(array: pa.Array | pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    plain = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return plain if plain.type == wanted else plain.cast(wanted)
