"""Reading the rows of a version: all or some columns, all or some keys. Imports Arrow and Polars: load when needed.

What one ordered file holds is streamed from it; several files are put together and in order, as much as fits at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl
import pyarrow as pa

from fivefold_features import arrowstream, frames, pointintime
from fivefold_features.arrowtypes import ARROW, arrow_schema
from fivefold_features.errors import SchemaMismatch
from fivefold_features.names import table_name
from fivefold_features.offline import History
from fivefold_features.onlinefeatures import SENT_AS, KeyColumn
from fivefold_features.schema import Column
from fivefold_features.steps import in_steps
from fivefold_features.store import Snapshot
from fivefold_runtime.errors import InvalidArgument


def read(
    history: History,
    snapshot: Snapshot,
    wanted: Sequence[str],
    keys: Mapping[str, KeyColumn] | None = None,
    *,
    memory_bytes: int,
) -> Iterator[bytes]:
    """Yields the rows of a version as an Arrow stream in pieces, ordered by key and times.

    wanted  columns, in order; empty: all
    keys    only rows of these, by primary key; empty or None: all
    memory_bytes  about what the rows that are put in order at a time may take

    Raises SchemaMismatch, and FIELD_INVALID for keys of differing lengths or types.
    """
    columns = columns_of(snapshot, wanted)
    if not keys and len(snapshot.parts) == 1 and snapshot.parts[0].ordered:
        return arrowstream.write(arrow_schema(columns), _streamed(history, snapshot.parts[0].key, columns))
    found: Iterable[pl.DataFrame]
    if keys:
        found = [current_rows(history, snapshot, columns, among=_key_frame(snapshot, keys))]
    else:
        found = in_steps(history, snapshot, columns, memory_bytes)
    return arrowstream.write(arrow_schema(columns), _batches(found, columns))


def columns_of(snapshot: Snapshot, wanted: Sequence[str]) -> tuple[Column, ...]:
    """Returns the columns that a caller asks for, all when none is named. Raises SchemaMismatch."""
    name, kinds = table_name(snapshot.table.id), snapshot.table.schema.kinds
    for column in wanted:
        if column not in kinds:
            raise SchemaMismatch(f"{name} has no column {column!r}", table=name, column=column)
    return tuple(Column(column, kinds[column]) for column in dict.fromkeys(wanted)) or snapshot.table.schema.columns


def current_rows(
    history: History, snapshot: Snapshot, columns: Iterable[Column], *, among: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Returns the rows of a version that no later write replaced, ordered by identity: identity, columns, VERSION.

    among  some primary keys: only rows that match one
    """
    schema = snapshot.table.schema
    needed = list(dict.fromkeys((*schema.identity, *(column.name for column in columns))))
    with history.reading(snapshot.parts, {name: frames.POLARS[schema.kinds[name]] for name in needed}) as frame:
        if among is not None:
            frame = frame.join(among.lazy(), on=among.columns, how="semi")
        rows = frame.collect()
    if len(snapshot.parts) == 1 and snapshot.parts[0].ordered:
        return rows if among is None else rows.sort(schema.identity)
    return pointintime.current(rows, identity=schema.identity)


def _batches(found: Iterable[pl.DataFrame], columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    for rows in found:
        yield from frames.to_arrow(rows, columns).to_batches(max_chunksize=65_536)


def _streamed(history: History, key: str, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(columns)
    for batch in history.batches(key, [column.name for column in columns]):
        present = set(batch.schema.names)
        arrays = [
            batch.column(column.name) if column.name in present else pa.nulls(batch.num_rows, ARROW[column.kind])
            for column in columns
        ]
        yield pa.record_batch(arrays, schema)


def _key_frame(snapshot: Snapshot, keys: Mapping[str, KeyColumn]) -> pl.DataFrame:
    schema, name = snapshot.table.schema, table_name(snapshot.table.id)
    for column in keys:
        if column not in schema.primary_keys:
            raise SchemaMismatch(f"{name}: {column!r} in keys is not a primary key of it", table=name, column=column)
    lengths = {len(values.values) for values in keys.values()}
    for column, values in keys.items():
        kind = schema.kinds[column]
        if values.sent_as != SENT_AS[kind]:
            why = f"came as {values.sent_as or 'nothing'}; {kind} is sent as {SENT_AS[kind]}"
            raise InvalidArgument.at(f"keys[{column!r}]", why, column=column, expected=SENT_AS[kind])
        if len(lengths) > 1:
            raise InvalidArgument.at(
                f"keys[{column!r}]", "has not as many rows as the other key columns", column=column
            )
    frame = pl.DataFrame(
        [
            pl.Series(column, values.values, dtype=frames.POLARS[schema.kinds[column]], strict=False)
            for column, values in keys.items()
        ]
    )
    return frame.drop_nulls().unique()
