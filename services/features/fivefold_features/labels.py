"""The label frame of a training set, checked batch by batch: all refusals name column and row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features.arrowtypes import arrow_schema, conform, kind_of
from fivefold_features.errors import LookupKeyMissing, SchemaMismatch, TimestampInvalid
from fivefold_features.schema import Column, Kind, check_names, takes

FRAME = "label frame"  # what messages call the data that comes in


@dataclass(frozen=True, slots=True)
class Asked:
    """What a training set is to be, as the caller says it."""

    timestamp_column: str
    labels: tuple[str, ...]
    exclude: tuple[str, ...]


def label_columns(incoming: pa.Schema, needed: Sequence[Column], asked: Asked) -> tuple[Column, ...]:
    """Returns the columns of the label frame; all that the spec and the request name are there, of the right type.

    needed  what the spec needs: keys, and inputs of its functions
    """
    check_names(FRAME, incoming.names)
    for name in (asked.timestamp_column, *(column.name for column in needed)):
        if name not in incoming.names:
            raise LookupKeyMissing(f"the {FRAME} lacks the column {name!r}, which the training set needs", column=name)
    for name in (*asked.labels, *asked.exclude):
        if name not in incoming.names:
            raise SchemaMismatch(f"the {FRAME} has no column {name!r}, which the request names", column=name)
    for name in asked.labels:
        if name in asked.exclude:
            raise SchemaMismatch(f"column {name!r} is named as a label and to be left out", column=name)
    expected = {column.name: column.kind for column in needed}
    columns = []
    for field in incoming:
        kind = kind_of(FRAME, field)
        wanted = expected.get(field.name, Kind.TIMESTAMP if field.name == asked.timestamp_column else None)
        if wanted is not None and not takes(wanted, kind):
            raise SchemaMismatch(
                f"{FRAME}: column {field.name!r} must be {wanted} here, but {kind} came",
                table=FRAME,
                column=field.name,
                expected=wanted,
                actual=kind,
            )
        columns.append(Column(field.name, wanted or kind or Kind.STRING))
    return tuple(columns)


def conformed(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], time: str) -> Iterator[pa.RecordBatch]:
    """Yields the label frame in the Arrow types of this service. Raises TimestampInvalid for a null time."""
    target, row = arrow_schema(columns), 0
    for batch in batches:
        arrays = [
            conform(FRAME, column.name, array, column.kind, row)
            for column, array in zip(columns, batch.columns, strict=True)
        ]
        times = arrays[target.get_field_index(time)]
        if times.null_count:
            at = row + pc.index(times.is_null(), True).as_py()
            raise TimestampInvalid(
                f"{FRAME}: column {time!r}, row {at}: the time at which a label asks must not be null",
                table=FRAME,
                column=time,
                row=at,
            )
        yield pa.record_batch(arrays, target)
        row += batch.num_rows
