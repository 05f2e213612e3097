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

from fivefold_features.offline import Part
from fivefold_features.offline.draft import ParquetDraft, Room, batches_of
from fivefold_features.pointintime import VERSION
from fivefold_runtime import faults
from fivefold_runtime.objects import Objects


class ParquetHistory:
    """A `History` over an object store. Files pass through `spool`, a local folder of nothing else."""

    def __init__(self, objects: Objects, spool: Path, folder: Path | None, room: Room | None = None) -> None:
        """Takes `folder`, where `objects` keeps them, to read files in place; None when they are in a bucket; and the
        room in memory that all rows have together that wait to be put in order."""
        self._room = room or Room(0)
        self._objects = objects
        self._spool = spool
        self._folder = folder

    @contextmanager
    def draft(self, schema: pa.Schema, *, hold: bool = False) -> Iterator[ParquetDraft]:
        with self._workplace() as folder, faults.mapped():
            draft = ParquetDraft(self._objects, folder / "draft.parquet", schema, self._room if hold else None)
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
            yield from batches_of(self._local(key, folder), columns)

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
