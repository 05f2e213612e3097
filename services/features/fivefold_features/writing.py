"""Writing the rows of a table. Imports Arrow and Polars: load it when first needed.

A write is checked while it streams to a local file; only a whole and right one becomes an object, and only the
transaction that makes it a version lets anyone see it. What a crash leaves between the two is an object without a
name; see sweeping.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from fivefold_features import arrowstream, pointintime
from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.digest import FrameDigest
from fivefold_features.ingest import check_duplicates, conformed
from fivefold_features.names import table_name
from fivefold_features.offline import History
from fivefold_features.schema import Schema
from fivefold_features.store import Mode, TableRecord, Written
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.ids import new_id


def stage(history: History, table: TableRecord, mode: Mode, pieces: Iterable[bytes], *, producer: str = "") -> Written:
    """Stores the rows of an Arrow stream as a file that no version names yet.

    Raises ArrowInvalid, SchemaMismatch, KeyNull, KeyDuplicate, TimestampInvalid and FIELD_INVALID for no rows; then
    nothing is stored.
    """
    name, schema = table_name(table.id), table.schema
    incoming, batches = arrowstream.read(pieces)
    digest = FrameDigest(schema.columns)
    with history.draft(arrow_schema(schema.columns), hold=True) as draft:
        for batch in conformed(name, schema, incoming, batches):
            digest.add(batch)
            draft.add(batch)
        if not draft.rows:
            raise InvalidArgument.at("arrow", f"has no rows for {name}; it must have at least one", table=name)
        identities = draft.columns(schema.identity)
        ordered = pointintime.is_ordered(identities, identity=schema.identity)
        if not ordered:
            check_duplicates(name, schema, identities)
            ordered = draft.order_by(schema.identity)
        key = f"tables/{table.uid}/{new_id()}.parquet"
        size = draft.keep(key)
        return Written(
            mode,
            draft.rows,
            digest.hexdigest(),
            key,
            size,
            newest_event=_newest(schema, identities),
            ordered=ordered,
            producer=producer,
        )


def _newest(schema: Schema, identities: pl.DataFrame) -> int | None:
    if not schema.timestamp_key:
        return None
    newest = identities.get_column(schema.timestamp_key).dt.timestamp("us").max()
    assert isinstance(newest, int)
    return newest
