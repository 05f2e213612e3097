"""The history of all tables: what an offline store promises. `parquet.py` keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Part:
    """What one write left: an object, and the number of the version that it made."""

    key: str
    version: int


class Draft(Protocol):
    """A file in the making; nobody sees it before `keep`."""

    rows: int

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows, in the schema that the draft was begun with."""
        ...

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Returns some columns of all rows; none can be added after that."""
        ...

    def keep(self, key: str) -> int:
        """Stores the file, whole and durable, under a key that was never used; returns its size in bytes."""
        ...


class History(Protocol):
    """Immutable files of rows. It knows no versions: the metadata store says which files a version has, so a file
    that no version names is not there, and one transaction makes a write visible."""

    def draft(self, schema: pa.Schema) -> AbstractContextManager[Draft]:
        """Begins a file; what was not kept by the end of the block is gone."""
        ...

    def reading(self, parts: Sequence[Part], columns: dict[str, pl.DataType]) -> AbstractContextManager[pl.LazyFrame]:
        """Gives these columns of all parts and pointintime.VERSION; collect within the block.

        A column that a part lacks is null there. Raises NotFound when a part is gone.
        """
        ...

    def batches(self, key: str) -> Iterator[pa.RecordBatch]:
        """Yields the rows of one file in order, a few MB at a time. Raises NotFound."""
        ...
