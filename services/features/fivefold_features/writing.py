"""Writing and reading the rows of a table. Imports Arrow and Polars: load it when first needed.

A write is checked while it streams to a local file; only a whole and right one becomes an object, and only the
transaction that makes it a version lets anyone see it. What a crash leaves between the two is an object without a
name; see sweeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fivefold_features import arrowstream, frames, pointintime
from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.digest import FrameDigest
from fivefold_features.errors import SchemaMismatch
from fivefold_features.ingest import check_duplicates, conformed
from fivefold_features.names import table_name
from fivefold_features.offline import History
from fivefold_features.schema import Column
from fivefold_features.store import Mode, Snapshot, TableRecord, Written
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.ids import new_id


def stage(history: History, table: TableRecord, mode: Mode, pieces: Iterable[bytes]) -> Written:
    """Stores the rows of an Arrow stream as a file that no version names yet.

    Raises ArrowInvalid, SchemaMismatch, KeyNull, KeyDuplicate, TimestampInvalid and FIELD_INVALID for no rows; then
    nothing is stored.
    """
    name, schema = table_name(table.id), table.schema
    incoming, batches = arrowstream.read(pieces)
    digest = FrameDigest(schema.columns)
    with history.draft(arrow_schema(schema.columns)) as draft:
        for batch in conformed(name, schema, incoming, batches):
            digest.add(batch)
            draft.add(batch)
        if not draft.rows:
            raise InvalidArgument.at("arrow", f"has no rows for {name}; it must have at least one", table=name)
        check_duplicates(name, schema, draft.columns(schema.identity))
        key = f"tables/{table.uid}/{new_id()}.parquet"
        size = draft.keep(key)
        return Written(mode, draft.rows, digest.hexdigest(), key, size)


def read(history: History, snapshot: Snapshot, wanted: Sequence[str]) -> Iterator[bytes]:
    """Yields the rows of a version as an Arrow stream in pieces, ordered by key and times. Raises SchemaMismatch."""
    name, schema = table_name(snapshot.table.id), snapshot.table.schema
    kinds = schema.kinds
    for column in wanted:
        if column not in kinds:
            raise SchemaMismatch(f"{name} has no column {column!r}", table=name, column=column)
    columns = tuple(Column(column, kinds[column]) for column in wanted) or schema.columns
    needed = dict.fromkeys((*schema.identity, *(column.name for column in columns)))
    rows = pointintime.current(frames.rows_of(history, snapshot, list(needed)), identity=schema.identity)
    table = frames.to_arrow(rows, columns)
    return arrowstream.write(table.schema, table.to_batches(max_chunksize=65_536))
