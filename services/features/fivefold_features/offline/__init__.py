"""The history of all tables: what an offline store promises. `parquet.py` keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Part:
    """What one write left: an object, and the number of the version that it made.

    compacted  instead: all rows of that version; the file itself has the column pointintime.VERSION
    ordered    its rows are ordered by identity, each once
    rows       how many it has
    """

    key: str
    version: int
    compacted: bool = False
    ordered: bool = field(default=False, compare=False)
    rows: int = field(default=0, compare=False)


class Draft(Protocol):
    """A file in the making; nobody sees it before `keep`."""

    rows: int

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows, in the schema that the draft was begun with."""
        ...

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Returns some columns of all rows; none can be added after that."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields all rows in order, a few MB at a time; none can be added after that."""
        ...

    def order_by(self, names: Sequence[str]) -> bool:
        """Orders the rows when all are held in memory; says whether it did."""
        ...

    def keep(self, key: str) -> int:
        """Stores the file, whole and durable, under a key that was never used; returns its size in bytes."""
        ...


class History(Protocol):
    """Immutable files of rows. It knows no versions: the metadata store says which files a version has, so a file
    that no version names is not there, and one transaction makes a write visible."""

    def draft(self, schema: pa.Schema, *, hold: bool = False) -> AbstractContextManager[Draft]:
        """Begins a file; what was not kept by the end of the block is gone.

        hold  keeps rows in memory while there is room, so that they can be put in order
        """
        ...

    def reading(self, parts: Sequence[Part], columns: dict[str, pl.DataType]) -> AbstractContextManager[pl.LazyFrame]:
        """Gives these columns of all parts and pointintime.VERSION; collect within the block.

        A column that a part lacks is null there. Raises NotFound when a part is gone.
        """
        ...

    def batches(self, key: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yields the rows of one file in order, a few MB at a time; of `columns` those that it has, in the file's order.

        Raises NotFound.
        """
        ...

    def discard(self, key: str) -> None:
        """Deletes a file that nothing names."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Gives a local folder that is gone after the block."""
        ...
