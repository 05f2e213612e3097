"""Building and reading training sets. Imports Arrow and Polars: load it when first needed.

Labels are read whole; of each table only the columns that the spec names. Everything that went in (table versions,
spec, label digest) and the digest of what came out is recorded, so that the same can be built again and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features import arrowstream, frames, pointintime
from fivefold_features.arrowtypes import arrow_schema, conform, kind_of
from fivefold_features.digest import digest_of
from fivefold_features.errors import LookupKeyMissing, SchemaMismatch, TimestampInvalid
from fivefold_features.lookups import Feature, Plan, Resolved, resolve
from fivefold_features.names import spec_name
from fivefold_features.offline import History
from fivefold_features.schema import Column, Kind, check_names, takes
from fivefold_features.store import Snapshot, SpecRecord, TrainingSetRecord
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.ids import new_id

_MICROSECOND = timedelta(microseconds=1)
_FRAME = "label frame"  # what messages call the data that comes in
_TIME = "\x01time"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a training set is to be, as the caller says it."""

    timestamp_column: str
    labels: tuple[str, ...]
    exclude: tuple[str, ...]


def build(
    history: History, spec: SpecRecord, snapshots: Sequence[Snapshot], asked: Asked, pieces: Iterable[bytes]
) -> TrainingSetRecord:
    """Joins features to an Arrow stream of labels and stores the result; the record has neither creator nor time yet.

    snapshots  one per lookup, all of one moment

    Raises ArrowInvalid, LookupKeyMissing, SchemaMismatch, TimestampInvalid, and FIELD_INVALID for no rows.
    """
    plan = resolve(spec.lookups, {one.table.id: one.table.schema for one in snapshots})
    incoming, batches = arrowstream.read(pieces)
    columns = _label_columns(incoming, plan, asked)
    labels = _labels(columns, batches, asked.timestamp_column)
    kept = tuple(column for column in columns if column.name not in asked.exclude)
    check_names(f"the training set of {spec_name(spec.id)}", (column.name for column in (*kept, *plan.features)))
    frame = frames.in_polars(labels)
    joined = [frame.select(column.name for column in kept)]
    joined += [
        joined_features(history, snapshot, lookup, frame, asked.timestamp_column)
        for lookup, snapshot in zip(plan.lookups, snapshots, strict=True)
    ]
    whole = (*kept, *plan.features)
    result = frames.to_arrow(pl.concat(joined, how="horizontal"), whole)
    made = new_id()
    key = f"training_sets/{made}.parquet"
    with history.draft(result.schema) as draft:
        for batch in result.to_batches():
            draft.add(batch)
        draft.keep(key)
    return TrainingSetRecord(
        id=made,
        spec=spec.id,
        timestamp_column=asked.timestamp_column,
        labels=asked.labels,
        exclude=asked.exclude,
        versions={one.table.id: one.version for one in snapshots},
        rows=result.num_rows,
        columns=whole,
        label_digest=digest_of(labels, columns),
        digest=digest_of(result, whole),
        key=key,
        creator="",
        created=spec.created,
    )


def joined_features(
    history: History, snapshot: Snapshot, lookup: Resolved, labels: pl.DataFrame, time: str
) -> pl.DataFrame:
    """Returns the features of one lookup, a row for each label, in order."""
    schema = snapshot.table.schema
    sources = [feature.source for feature in lookup.features]
    rows = frames.rows_of(history, snapshot, list(dict.fromkeys((*schema.identity, *sources))))
    asking = labels.select(
        *(pl.col(column.name).alias(key) for key, column in zip(schema.primary_keys, lookup.keys, strict=True)),
        pl.col(time).to_physical().cast(pl.Int64).alias(_TIME),
    )
    found = pointintime.as_of(
        asking,
        frames.with_times(rows, schema),
        keys=schema.primary_keys,
        time=_TIME,
        look_back=None if lookup.look_back is None else lookup.look_back // _MICROSECOND,
    )
    return rows.select(_value(feature, found) for feature in lookup.features)


def read(history: History, record: TrainingSetRecord) -> Iterator[bytes]:
    """Yields the rows of a training set as an Arrow stream in pieces, in the order of its labels."""
    return arrowstream.write(arrow_schema(record.columns), history.batches(record.key))


def _value(feature: Feature, found: pl.Series) -> pl.Expr:
    value = pl.col(feature.source).gather(found)
    if feature.default is not None:
        default = pl.lit(feature.default)
        value = value.fill_null(default.cast(frames.POLARS[feature.kind]))
    return value.alias(feature.name)


def _label_columns(incoming: pa.Schema, plan: Plan, asked: Asked) -> tuple[Column, ...]:
    """Returns the columns of the label frame; all that the spec and the request name are there, of the right type."""
    check_names(_FRAME, incoming.names)
    for name in (asked.timestamp_column, *(key.name for key in plan.keys)):
        if name not in incoming.names:
            raise LookupKeyMissing(f"the {_FRAME} lacks the column {name!r}, which the training set needs", column=name)
    for name in (*asked.labels, *asked.exclude):
        if name not in incoming.names:
            raise SchemaMismatch(f"the {_FRAME} has no column {name!r}, which the request names", column=name)
    for name in asked.labels:
        if name in asked.exclude:
            raise SchemaMismatch(f"column {name!r} is named as a label and to be left out", column=name)
    expected = {key.name: key.kind for key in plan.keys}
    columns = []
    for field in incoming:
        kind = kind_of(_FRAME, field)
        wanted = expected.get(field.name, Kind.TIMESTAMP if field.name == asked.timestamp_column else None)
        if wanted is not None and not takes(wanted, kind):
            raise SchemaMismatch(
                f"{_FRAME}: column {field.name!r} must be {wanted} here, but {kind} came",
                table=_FRAME,
                column=field.name,
                expected=wanted,
                actual=kind,
            )
        columns.append(Column(field.name, wanted or kind or Kind.STRING))
    return tuple(columns)


def _labels(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], time: str) -> pa.Table:
    """Returns the label frame in the Arrow types of this service. Raises TimestampInvalid for a null time."""
    target, row, read = arrow_schema(columns), 0, []
    for batch in batches:
        arrays = [
            conform(_FRAME, column.name, array, column.kind, row)
            for column, array in zip(columns, batch.columns, strict=True)
        ]
        times = arrays[target.get_field_index(time)]
        if times.null_count:
            at = row + pc.index(times.is_null(), True).as_py()
            raise TimestampInvalid(
                f"{_FRAME}: column {time!r}, row {at}: the time at which a label asks must not be null",
                table=_FRAME,
                column=time,
                row=at,
            )
        read.append(pa.record_batch(arrays, target))
        row += batch.num_rows
    if not row:
        raise InvalidArgument.at("arrow", f"has no rows for the {_FRAME}; it must have at least one")
    return pa.Table.from_batches(read, target)
