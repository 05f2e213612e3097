"""Rows that come in for a table, checked batch by batch against its schema: all refusals name table, column and row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features.arrowtypes import ARROW, arrow_schema, conform, kind_of
from fivefold_features.errors import KeyDuplicate, KeyNull, SchemaMismatch
from fivefold_features.schema import Kind, Schema, check_names, takes


def conformed(
    table: str, schema: Schema, incoming: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yields the batches with exactly the table's columns, in its order and Arrow types; columns that lack are null.

    Raises SchemaMismatch before the first, KeyNull or TimestampInvalid at the batch that is wrong.
    """
    _check_columns(table, schema, incoming)
    target = arrow_schema(schema.columns)
    row = 0
    for batch in batches:
        yield pa.record_batch(
            [_column(table, schema, batch, name, kind, row) for name, kind in schema.kinds.items()], target
        )
        row += batch.num_rows


def check_duplicates(table: str, schema: Schema, identities: pl.DataFrame) -> None:
    """Raises KeyDuplicate when two rows of one write are the same row; `identities` has the identity columns of all."""
    first = identities.select(pl.struct(pl.all()).is_first_distinct().alias("first")).get_column("first")
    if not first.all():
        row = (~first).arg_max()
        shown = ", ".join(schema.identity)
        raise KeyDuplicate(
            f"{table}, row {row}: its {shown} occurred before in the same write; each may occur once",
            table=table,
            column=schema.primary_keys[0],
            row=row,
        )


def _check_columns(table: str, schema: Schema, incoming: pa.Schema) -> None:
    check_names(table, incoming.names)
    kinds = schema.kinds
    for field in incoming:
        expected = kinds.get(field.name)
        if expected is None:
            raise SchemaMismatch(f"{table} has no column {field.name!r}", table=table, column=field.name)
        actual = kind_of(table, field)
        if not takes(expected, actual):
            raise SchemaMismatch(
                f"{table}: column {field.name!r} is {expected}, but {actual} came",
                table=table,
                column=field.name,
                expected=expected,
                actual=actual,
            )
    for name in schema.identity:
        if name not in incoming.names:
            raise SchemaMismatch(
                f"{table}: column {name!r} is a key or time of the table, but the data lacks it",
                table=table,
                column=name,
            )


def _column(table: str, schema: Schema, batch: pa.RecordBatch, name: str, kind: Kind, first_row: int) -> pa.Array:
    position = batch.schema.get_field_index(name)
    if position < 0:
        return pa.nulls(batch.num_rows, ARROW[kind])
    array = conform(table, name, batch.column(position), kind, first_row)
    if array.null_count and name in schema.identity:
        row = first_row + pc.index(array.is_null(), True).as_py()
        what = "a primary key" if name in schema.primary_keys else "a time of the row"
        raise KeyNull(
            f"{table}: column {name!r}, row {row}: {what} must not be null", table=table, column=name, row=row
        )
    return array
