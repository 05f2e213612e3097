"""Putting a version into one file without the rows that later writes replaced. Imports Polars: load when needed.

Readers see the files from before or the one after, and the same rows in both: a file counts from the transaction on
that names it. A table that does not fit into memory is done by ranges of its first key, one after the other, so that
the file is ordered all the same.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from fivefold_features import frames, pointintime
from fivefold_features.arrowtypes import arrow_schema
from fivefold_features.offline import History
from fivefold_features.pointintime import VERSION
from fivefold_features.sizes import bytes_of
from fivefold_features.store import Compacted, Compaction, MetadataStore, Snapshot
from fivefold_runtime.ids import new_id

log = logging.getLogger(__name__)

_SAMPLE = 100_000  # keys that ranges are chosen by


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
            for rows in self._steps(snapshot):
                for batch in rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches():
                    draft.add(batch)
            after = draft.rows
            made = Compacted(key, after, draft.keep(key))
        if not self.store.add_compaction(snapshot, made):
            self.history.discard(key)
        else:
            log.info("table compacted", extra={"table": table, "files": len(snapshot.parts), "rows": after})
        return Compaction(snapshot.version, len(snapshot.parts), before, after)

    def _steps(self, snapshot: Snapshot) -> Iterator[pl.DataFrame]:
        """Yields the rows that count, ordered by identity, each time as many as memory holds."""
        schema = snapshot.table.schema
        columns = {column.name: frames.POLARS[column.kind] for column in schema.columns}
        first = schema.primary_keys[0]
        with self.history.reading(snapshot.parts, columns) as frame:
            steps = -(-bytes_of(snapshot, schema.columns) // self.memory_bytes)
            for condition in _ranges(frame, first, steps):
                rows = frame.filter(condition).collect()
                yield pointintime.current(rows, identity=schema.identity).select(*columns, VERSION)


def _ranges(frame: pl.LazyFrame, key: str, count: int) -> list[pl.Expr]:
    """Returns conditions that cut the values of a key column into about equal ranges, in order."""
    if count < 2:
        return [pl.lit(value=True)]
    every = frame.select(pl.col(key)).collect().get_column(key)
    sample = every.gather_every(max(1, len(every) // _SAMPLE)).sort()
    cuts = sample.gather([len(sample) * step // count for step in range(1, count)]).unique().sort()
    column = pl.col(key)
    middle = [
        (column >= pl.lit(low, dtype=cuts.dtype)) & (column < pl.lit(high, dtype=cuts.dtype))
        for low, high in itertools.pairwise(cuts)
    ]
    return [column < pl.lit(cuts[0], dtype=cuts.dtype), *middle, column >= pl.lit(cuts[-1], dtype=cuts.dtype)]
