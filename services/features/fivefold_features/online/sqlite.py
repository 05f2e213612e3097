"""Online values in a SQLite file of their own, read through prepared statements on the driver itself.

The file holds nothing that the history could not give again. It is written by one server, the owner of the data folder.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

from fivefold_features.online import Published, Rows
from fivefold_features.packing import RANK_BYTES
from fivefold_runtime import faults

_SCHEMA = """
CREATE TABLE IF NOT EXISTS published (slot INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, base INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS online (slot INTEGER NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (slot, key))
WITHOUT ROWID;
"""
_BUSY_SECONDS = 10.0
_UPSERT = (
    "INSERT INTO online (slot, key, row) VALUES (?, ?, ?) ON CONFLICT (slot, key) DO UPDATE SET row = excluded.row"
    f" WHERE substr(excluded.row, 1, {RANK_BYTES}) >= substr(online.row, 1, {RANK_BYTES})"
)


class SqliteOnline:
    """An `OnlineStore` in one file: a connection per reading thread, one for writing."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._writer = self._connect()
        with faults.mapped():
            self._writer.executescript(_SCHEMA)

    def read(self, table: str, keys: Sequence[bytes | None]) -> list[bytes | None] | None:
        with faults.mapped():
            execute = self._reader().execute
            execute("BEGIN")  # The slot and the rows are of one snapshot.
            try:
                found = execute("SELECT slot FROM published WHERE uid = ?", (table,)).fetchone()
                if found is None:
                    return None
                (slot,) = found
                rows: list[bytes | None] = []
                for key in keys:
                    one = execute("SELECT row FROM online WHERE slot = ? AND key = ?", (slot, key)).fetchone()
                    rows.append(one[0] if one else None)
                return rows
            finally:
                execute("COMMIT")

    def write(self, table: str, base: int, rows: Rows, *, replace: bool) -> Published:
        with faults.mapped(), self._lock:
            tx = self._writer
            tx.execute("BEGIN IMMEDIATE")
            try:
                found = tx.execute("SELECT slot, base FROM published WHERE uid = ?", (table,)).fetchone()
                if found is None:
                    made = tx.execute("INSERT INTO published (uid, base) VALUES (?, ?)", (table, base))
                    slot, online_base = made.lastrowid, base
                else:
                    slot, online_base = found
                written = 0
                if base >= online_base:
                    if replace or base > online_base:
                        tx.execute("DELETE FROM online WHERE slot = ?", (slot,))
                        tx.execute("UPDATE published SET base = ? WHERE slot = ?", (base, slot))
                    before = tx.total_changes
                    tx.executemany(_UPSERT, ((slot, key, row) for key, row in rows))
                    written = tx.total_changes - before
                (total,) = tx.execute("SELECT count(*) FROM online WHERE slot = ?", (slot,)).fetchone()
                tx.execute("COMMIT")
            except BaseException:
                if tx.in_transaction:
                    tx.execute("ROLLBACK")
                raise
            return Published(written, total)

    def drop(self, table: str) -> None:
        with faults.mapped(), self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._writer.execute(
                    "DELETE FROM online WHERE slot IN (SELECT slot FROM published WHERE uid = ?)", (table,)
                )
                self._writer.execute("DELETE FROM published WHERE uid = ?", (table,))
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            for connection in (*self._readers, self._writer):
                connection.close()

    def _reader(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            with self._lock:
                self._readers.append(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        with faults.mapped():
            connection = sqlite3.connect(
                self._file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "journal_size_limit=67108864"):
                connection.execute(f"PRAGMA {pragma}")
            return connection
