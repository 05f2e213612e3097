"""Rows of a table's version as Polars frames: what reading, training sets and publishing begin with."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.offline import History
from fivefold_features.pointintime import ALWAYS, EVENT, KNOWLEDGE
from fivefold_features.schema import Column, Kind, Schema
from fivefold_features.store import Snapshot

POLARS: dict[Kind, pl.DataType] = {
    Kind.BOOL: pl.Boolean(),
    Kind.INT32: pl.Int32(),
    Kind.INT64: pl.Int64(),
    Kind.FLOAT: pl.Float32(),
    Kind.DOUBLE: pl.Float64(),
    Kind.STRING: pl.String(),
    Kind.BYTES: pl.Binary(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
}


def rows_of(history: History, snapshot: Snapshot, columns: Sequence[str]) -> pl.DataFrame:
    """Returns some columns of all rows of the snapshot's parts, replaced ones too, with VERSION."""
    kinds = snapshot.table.schema.kinds
    with history.reading(snapshot.parts, {name: POLARS[kinds[name]] for name in columns}) as frame:
        return frame.collect()


def with_times(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Adds EVENT and KNOWLEDGE in microseconds; ALWAYS where the table declares none."""
    return rows.with_columns(
        pl.col(name).to_physical().cast(pl.Int64).alias(alias) if name else pl.lit(ALWAYS, pl.Int64).alias(alias)
        for name, alias in ((schema.timestamp_key, EVENT), (schema.knowledge_key, KNOWLEDGE))
    )


def to_arrow(frame: pl.DataFrame, columns: Sequence[Column]) -> pa.Table:
    """Returns these columns of a frame in the Arrow types of this service."""
    return frame.select(column.name for column in columns).to_arrow().cast(arrow_schema(columns))


def in_polars(table: pa.Table) -> pl.DataFrame:
    """Returns an Arrow table of this service's types as a Polars frame."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
