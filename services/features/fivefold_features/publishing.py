"""Putting the newest rows online. Imports Polars: load it when first needed.

The online store holds nothing of its own: what was lost there, or not yet written when a server died, is offered
again by the next publish. `online_version` in the metadata says how far that has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import polars as pl

from fivefold_features import frames
from fivefold_features.errors import NotPublished
from fivefold_features.names import table_name
from fivefold_features.offline import History
from fivefold_features.online import OnlineStore, Published, Rows
from fivefold_features.packing import TEXTS, Ranks, layout_of, pack_keys
from fivefold_features.pointintime import EVENT, KNOWLEDGE, VERSION, latest
from fivefold_features.schema import Kind, Schema
from fivefold_features.store import MetadataStore, Snapshot, TableRecord

_PLACE = "\x01place"
_PACKED = 8192  # rows that are packed at a time


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
        snapshot = self._snapshot(table, 0)
        done = self._offer(snapshot, moment=moment, reset=reset)
        # A reset may bring older rows than what was offered before, and an older moment leaves newer rows out: neither
        # says that all versions are online.
        self.store.offered_online(snapshot.table, snapshot.version if moment is None else 0)
        if snapshot.table.publish_on_write:
            # A reset may have taken the place of rows that a write put online after the snapshot was read.
            self._catch_up(snapshot.table, snapshot.version)
        return snapshot.version, done

    def publish_new(self, table: str) -> tuple[int, Published]:
        """Offers the versions that were not offered before; all of them when the online values were lost.

        Returns the newest version and what was written. Raises NotPublished.
        """
        offered = self._offered(self.store.table(table))
        snapshot = self._snapshot(table, offered)
        if offered >= snapshot.version:
            done = self.online.write(snapshot.table.uid, snapshot.base, (), replace=False)
        else:
            done = self._offer(snapshot, moment=None, reset=False)
            self.store.offered_online(snapshot.table, snapshot.version)
        return snapshot.version, done

    def catch_up(self, table: str) -> None:
        """Offers all versions that are not online yet; the last step of a write to a table that publishes on write."""
        record = self.store.table(table)
        self._catch_up(record, self._offered(record))

    def _offered(self, table: TableRecord) -> int:
        # After the online store was lost, the newest versions alone would leave all other keys missing.
        return 0 if self.online.read(table.uid, []) is None else table.online_version

    def _snapshot(self, table: str, after: int) -> Snapshot:
        (snapshot,) = self.store.snapshot([table], after=after)
        if not snapshot.version:
            raise NotPublished(f"{table_name(table)} has no version yet; write rows first", table=table_name(table))
        return snapshot

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
    """Returns the newest row per key of the snapshot's parts, packed as they are asked for, in the order of keys."""
    schema = snapshot.table.schema
    rows = frames.with_times(frames.rows_of(history, snapshot, [column.name for column in schema.columns]), schema)
    ranks = rows.select(*schema.primary_keys, EVENT, VERSION, KNOWLEDGE).with_row_index(_PLACE)
    newest = latest(ranks, keys=schema.primary_keys, moment=moment).sort(schema.primary_keys)
    return _Packed(rows[newest.get_column(_PLACE)], schema)


class _Packed(Sequence[tuple[bytes, bytes]]):
    """Packed keys and rows of a frame; only what is asked for is packed."""

    def __init__(self, rows: pl.DataFrame, schema: Schema) -> None:
        self._rows = rows
        self._schema = schema

    def __len__(self) -> int:
        return self._rows.height

    @overload
    def __getitem__(self, place: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[bytes, bytes]]: ...
    def __getitem__(self, place: int | slice) -> tuple[bytes, bytes] | list[tuple[bytes, bytes]]:
        if isinstance(place, slice):
            return _packed(self._rows[place], self._schema)
        return _packed(self._rows[range(len(self))[place]], self._schema)[0]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(self), _PACKED):
            yield from self[start : start + _PACKED]


def _packed(rows: pl.DataFrame, schema: Schema) -> list[tuple[bytes, bytes]]:
    keys = pack_keys(
        [schema.kinds[name] for name in schema.primary_keys],
        [rows.get_column(name).to_physical().to_list() for name in schema.primary_keys],
    )
    layout = layout_of(tuple(column.kind for column in schema.values))
    packed = layout.pack(
        Ranks(*(rows.get_column(name).to_numpy() for name in (EVENT, VERSION, KNOWLEDGE))),
        [_plain(rows.get_column(column.name), column.kind) for column in schema.values],
        [rows.get_column(column.name).is_null().to_numpy() for column in schema.values],
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
