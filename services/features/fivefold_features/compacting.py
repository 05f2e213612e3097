"""Putting a version into one file without the rows that later writes replaced. Imports Polars: load when needed.

Readers see the files from before or the one after, and the same rows in both: a file counts from the transaction on
that names it. A table that does not fit into memory is done in steps, so that the file is ordered all the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.offline import History
from fivefold_features.pointintime import VERSION
from fivefold_features.steps import in_steps
from fivefold_features.store import Compacted, Compaction, MetadataStore
from fivefold_runtime.ids import new_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compactor:
    """Compacts tables of one store. `memory_bytes`: about what the rows of one step may take."""

    store: MetadataStore
    history: History
    memory_bytes: int

    def compact(self, table: str) -> Compaction:
        """Compacts the newest version of a table, unless it is one file already. Raises NotFound."""
        (snapshot,) = self.store.snapshot([table])
        before = sum(part.rows for part in snapshot.parts)
        if len(snapshot.parts) < 2:
            return Compaction(snapshot.version, len(snapshot.parts), before, before)
        key = f"tables/{snapshot.table.uid}/{new_id()}.parquet"
        schema = arrow_schema(snapshot.table.schema.columns).append(pa.field(VERSION, pa.int64()))
        with self.history.draft(schema) as draft:
            for rows in in_steps(self.history, snapshot, snapshot.table.schema.columns, self.memory_bytes):
                for batch in (
                    rows.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()
                ):
                    draft.add(batch)
            after = draft.rows
            made = Compacted(key, after, draft.keep(key))
        if not self.store.add_compaction(snapshot, made):
            self.history.discard(key)
        else:
            log.info("table compacted", extra={"table": table, "files": len(snapshot.parts), "rows": after})
        return Compaction(snapshot.version, len(snapshot.parts), before, after)
