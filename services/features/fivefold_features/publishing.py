"""Putting the newest rows online. Imports Polars: load it when first needed.

The online store holds nothing of its own: what was lost there, or not yet written when a server died, is offered
again by the next publish. `online_version` in the metadata says how far that has come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from fivefold_features import frames
from fivefold_features.errors import NotPublished
from fivefold_features.names import table_name
from fivefold_features.offline import History
from fivefold_features.online import OnlineStore, Published, Rows
from fivefold_features.packing import TEXTS, Ranks, layout_of, pack_keys
from fivefold_features.pointintime import EVENT, KNOWLEDGE, VERSION, latest
from fivefold_features.schema import Kind
from fivefold_features.store import MetadataStore, Snapshot, TableRecord


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes tables of one store."""

    store: MetadataStore
    history: History
    online: OnlineStore

    def publish(self, table: str, *, moment: int | None, reset: bool) -> tuple[int, Published]:
        """Offers per key the newest row that was true and known at `moment` (microseconds; None: the newest of all).

        Returns the version that was read and what was written. With `reset` exactly that snapshot is online afterwards,
        and whatever a table that publishes on write was given meanwhile. Raises NotPublished for a table without a
        version.
        """
        (snapshot,) = self.store.snapshot([table])
        if not snapshot.version:
            raise NotPublished(f"{table_name(table)} has no version yet; write rows first", table=table_name(table))
        done = self._offer(snapshot, moment=moment, reset=reset)
        self.store.offered_online(snapshot.table, snapshot.version if moment is None else 0)
        if snapshot.table.publish_on_write:
            # A reset may have taken the place of rows that a write put online after the snapshot was read.
            self._catch_up(snapshot.table, snapshot.version)
        return snapshot.version, done

    def catch_up(self, table: str) -> None:
        """Offers all versions that are not online yet; the last step of a write to a table that publishes on write."""
        record = self.store.table(table)
        # After the online store was lost, the newest versions alone would leave all other keys missing.
        lost = self.online.read(record.uid, []) is None
        self._catch_up(record, 0 if lost else record.online_version)

    def _catch_up(self, table: TableRecord, offered: int) -> None:
        """Offers the versions after a number. A table that was made anew under the name has numbers of its own."""
        (snapshot,) = self.store.snapshot([table.id], after=offered)
        if snapshot.table.uid == table.uid and snapshot.version > offered:
            self._offer(snapshot, moment=None, reset=False)
            self.store.offered_online(snapshot.table, snapshot.version)

    def _offer(self, snapshot: Snapshot, *, moment: int | None, reset: bool) -> Published:
        rows = packed_rows(self.history, snapshot, moment=moment)
        return self.online.write(snapshot.table.uid, snapshot.base, rows, replace=reset)


def packed_rows(history: History, snapshot: Snapshot, *, moment: int | None) -> Rows:
    """Returns the newest row per key, packed, of the snapshot's parts."""
    schema = snapshot.table.schema
    rows = frames.rows_of(history, snapshot, [column.name for column in schema.columns])
    newest = latest(frames.with_times(rows, schema), keys=schema.primary_keys, moment=moment)
    keys = pack_keys(
        [schema.kinds[name] for name in schema.primary_keys],
        [newest.get_column(name).to_physical().to_list() for name in schema.primary_keys],
    )
    layout = layout_of(tuple(column.kind for column in schema.values))
    packed = layout.pack(
        Ranks(*(newest.get_column(name).to_numpy() for name in (EVENT, VERSION, KNOWLEDGE))),
        [_plain(newest.get_column(column.name), column.kind) for column in schema.values],
        [newest.get_column(column.name).is_null().to_numpy() for column in schema.values],
    )
    return [(key, row) for key, row in zip(keys, packed, strict=True) if key is not None]


def _plain(values: pl.Series, kind: Kind) -> np.ndarray | list[bytes]:
    """The values of a column as packing takes them: zero, NaN or no bytes where null."""
    if kind in TEXTS:
        return values.cast(pl.Binary).fill_null(b"").to_list()
    if kind is Kind.BOOL:
        return values.cast(pl.UInt8).fill_null(0).to_numpy()
    missing = float("nan") if kind in (Kind.FLOAT, Kind.DOUBLE) else 0
    return values.to_physical().fill_null(missing).to_numpy()
