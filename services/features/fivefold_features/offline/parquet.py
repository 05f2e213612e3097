"""History as Parquet files whose versions stand in SQL.

Why not Delta tables: a Delta table has a log of its own, and two logs of one truth (its and the metadata store's) can
be apart after a crash. Here a write is one immutable file and one SQL transaction: versions are atomic, any version
is read by listing its files, an unfinished write is a file that nobody names, and all of it is the same on a folder
and on a bucket. What it gives up: engines that read Delta cannot open the folder by themselves; they read through
ReadTable.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold_features.offline import Part
from fivefold_features.pointintime import VERSION
from fivefold_runtime import faults
from fivefold_runtime.objects import CHUNK, Objects

_ROWS = 131_072  # rows of one row group, and of what is handed on at a time
_BYTES = 64 * 1024 * 1024  # bytes that wait in memory until they are written


class ParquetHistory:
    """A `History` over an object store. Files pass through `spool`, a local folder of nothing else."""

    def __init__(self, objects: Objects, spool: Path, folder: Path | None) -> None:
        """Takes `folder`, where `objects` keeps them, to read files in place; None when they are in a bucket."""
        self._objects = objects
        self._spool = spool
        self._folder = folder

    @contextmanager
    def draft(self, schema: pa.Schema) -> Iterator[_Draft]:
        with self._workplace() as folder, faults.mapped():
            draft = _Draft(self._objects, folder / "draft.parquet", schema)
            try:
                yield draft
            finally:
                draft.drop()

    @contextmanager
    def reading(self, parts: Sequence[Part], columns: dict[str, pl.DataType]) -> Iterator[pl.LazyFrame]:
        with self._workplace() as folder, faults.mapped():
            frames = [pl.DataFrame(schema=columns | {VERSION: pl.Int64()}).lazy()]
            for part in parts:
                frame = pl.scan_parquet(self._local(part.key, folder))
                present = frame.collect_schema().names()
                wanted = [pl.col(c) if c in present else pl.lit(None, t).alias(c) for c, t in columns.items()]
                version = pl.col(VERSION) if part.compacted else pl.lit(part.version, pl.Int64).alias(VERSION)
                frames.append(frame.select(*wanted, version))
            yield pl.concat(frames, how="vertical")

    def batches(self, key: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        with self._workplace() as folder, faults.mapped():
            yield from _batches(self._local(key, folder), columns)

    def discard(self, key: str) -> None:
        self._objects.delete(key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with self._workplace() as folder, faults.mapped():
            yield folder

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """A folder for the files of one call."""
        with faults.mapped():
            folder = Path(tempfile.mkdtemp(dir=self._spool))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _local(self, key: str, folder: Path) -> Path:
        """Returns where the bytes of an object can be read by path: in place, or copied from the bucket."""
        if self._folder is not None:
            self._objects.size(key)  # raises ObjectMissing
            return self._folder / key
        path = folder / Path(key).name
        with path.open("wb") as file:
            for chunk in self._objects.stream(key):
                file.write(chunk)
        return path


class _Draft:
    """One Parquet file being written on the local disk; rows are gathered into row groups of a good size."""

    def __init__(self, objects: Objects, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._objects = objects
        self._path = path
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._written = False

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= _BYTES:
            self._write()

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        if self._written:
            self.close()
            return pl.read_parquet(self._path, columns=list(names))
        found = pl.from_arrow(pa.Table.from_batches(self._waiting, self._schema).select(list(names)))
        assert isinstance(found, pl.DataFrame)
        return found

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.close()
        yield from _batches(self._path, None)

    def order_by(self, names: Sequence[str]) -> bool:
        if self._written or self._waiting_bytes > _BYTES:
            return False
        rows = pl.from_arrow(pa.Table.from_batches(self._waiting, self._schema))
        assert isinstance(rows, pl.DataFrame)
        ordered = rows.sort(*names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema)
        self._waiting = ordered.to_batches()
        return True

    def keep(self, key: str) -> int:
        self.close()
        return self._objects.put(key, _chunks(self._path)).size

    def close(self) -> None:
        """Writes what waits and the file's end."""
        if self._writer.is_open:
            self._write()
            self._writer.close()

    def drop(self) -> None:
        """Lets go of the file as it is."""
        self._waiting.clear()
        self._writer.close()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=_ROWS)
            self._waiting.clear()
            self._waiting_bytes, self._written = 0, True


def _batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, memory_map=True) as file:
        present = None if columns is None else [name for name in file.schema_arrow.names if name in set(columns)]
        yield from file.iter_batches(batch_size=_ROWS, columns=present)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
