"""One Parquet file being written on the local disk.

LZ4, and dictionaries for texts alone: for numbers both cost more time than they save. Rows that are to be put in order
wait in memory as long as the room that all drafts share lasts; the others are written as row groups fill.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold_runtime.objects import CHUNK, Objects

ROWS = 131_072  # rows of one row group, and of what is handed on at a time
_BYTES = 64 * 1024 * 1024  # bytes after which a row group is closed earlier


class Room:
    """Bytes of memory that many drafts share. Safe for use by many threads."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Takes some, if so much is left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self._left += size


class ParquetDraft:
    """A `Draft`. With `room` it holds rows in memory, to put them in order, as long as there is room."""

    def __init__(self, objects: Objects, path: Path, schema: pa.Schema, room: Room | None) -> None:
        self.rows = 0
        self._objects = objects
        self._path = path
        self._schema = schema
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
        self._writer = pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=texts)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._room = room
        self._taken = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._room is not None:
            if self._room.take(batch.nbytes):
                self._taken += batch.nbytes
                return
            self._leave_room()
        if self._waiting_rows >= ROWS or self._waiting_bytes >= _BYTES:
            self._write()

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        if self._holds_all:
            return _frame(self._table().select(list(names)))
        self.close()
        return pl.read_parquet(self._path, columns=list(names))

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.close()
        return batches_of(self._path, None)

    def order_by(self, names: Sequence[str]) -> bool:
        if not self._holds_all:
            return False
        ordered = _frame(self._table()).sort(*names)
        self._waiting = ordered.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema).to_batches()
        return True

    def keep(self, key: str) -> int:
        self.close()
        return self._objects.put(key, _chunks(self._path)).size

    def close(self) -> None:
        """Writes what waits and the file's end."""
        if self._writer.is_open:
            self._write()
            self._writer.close()
            self._leave_room()

    def drop(self) -> None:
        """Lets go of the file as it is."""
        self._waiting.clear()
        self._leave_room()
        self._writer.close()

    @property
    def _holds_all(self) -> bool:
        return self._room is not None and self._writer.is_open

    def _table(self) -> pa.Table:
        return pa.Table.from_batches(self._waiting, self._schema)

    def _leave_room(self) -> None:
        if self._room is not None:
            self._room.give(self._taken)
            self._room, self._taken = None, 0

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(self._table(), row_group_size=ROWS)
            self._waiting.clear()
            self._waiting_rows = self._waiting_bytes = 0


def batches_of(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a Parquet file; of `columns` those that it has."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        present = None if columns is None else [name for name in file.schema_arrow.names if name in set(columns)]
        yield from file.iter_batches(batch_size=ROWS, columns=present)


def _frame(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
