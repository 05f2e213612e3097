"""Online values in a SQLite file of their own, read through prepared statements on the driver itself.

The file holds nothing that the history could not give again. It is written by one server, the owner of the data folder.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache

from fivefold_features.online import Published, Rows
from fivefold_features.packing import RANK_BYTES
from fivefold_runtime import faults

_SCHEMA = """
CREATE TABLE IF NOT EXISTS published (slot INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, base INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS online (slot INTEGER NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (slot, key))
WITHOUT ROWID;
"""
_BUSY_SECONDS = 10.0
_MAPPED_BYTES = 1 << 28  # of the file, read without a copy into a cache of each thread
_UPSERT = (
    "INSERT INTO online (slot, key, row) VALUES (?, ?, ?) ON CONFLICT (slot, key) DO UPDATE SET row = excluded.row"
    f" WHERE substr(excluded.row, 1, {RANK_BYTES}) >= substr(online.row, 1, {RANK_BYTES})"
)
_ASKED = 512  # keys of one question


@lru_cache
def _question(keys: int) -> str:
    return (
        f"SELECT row FROM (VALUES {','.join(['(?)'] * keys)}) LEFT JOIN online"
        " ON slot = (SELECT slot FROM published WHERE uid = ?) AND key = column1"
    )


def _rows(connection: sqlite3.Connection, table: str, keys: Sequence[bytes | None]) -> list[bytes | None]:
    """Asks for the rows of some keys at once. SQLite keeps the order of the left side of a LEFT JOIN.

    The keys are filled up with nulls, which find nothing, to a power of two: few statements stay prepared.
    """
    count = len(keys)
    size = 1 << (count - 1).bit_length()
    answers = connection.execute(_question(size), (*keys, *[None] * (size - count), table)).fetchall()
    return [row for (row,) in answers[:count]]


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
            connection = self._reader()
            if 0 < len(keys) <= _ASKED:
                rows = _rows(connection, table, keys)
                if any(row is not None for row in rows):
                    return rows
            # Several questions, so a transaction around them: all answers are of one snapshot.
            connection.execute("BEGIN")
            try:
                if connection.execute("SELECT 1 FROM published WHERE uid = ?", (table,)).fetchone() is None:
                    return None
                found: list[bytes | None] = []
                for start in range(0, len(keys), _ASKED):
                    found += _rows(connection, table, keys[start : start + _ASKED])
                return found
            finally:
                connection.execute("COMMIT")

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
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
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
