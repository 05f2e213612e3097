"""The features of one lookup for labels when the table's rows do not fit into memory.

Rows are dealt into files by a hash of their keys, in one pass; then each bucket is joined with the labels whose keys
have that hash, and its features are kept in a file in the order of the labels. To read the features of a stretch of
labels, each of these files gives its next rows. Memory holds one bucket and one batch of each file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from fivefold_features import frames, pointintime
from fivefold_features.joining import Found, joined
from fivefold_features.lookups import Resolved
from fivefold_features.offline import History
from fivefold_features.schema import Kind
from fivefold_features.store import Snapshot

_BUCKET, _PLACE = "\x01bucket", "\x01place"
_ROWS = 16_384  # of a bucket's result that are read at a time
_DEALT = 32_768  # rows that are dealt at a time
_MOST = 512  # buckets, each of which is an open file


@contextmanager
def bucketed(
    history: History, snapshot: Snapshot, lookup: Resolved, labels: pl.DataFrame, count: int
) -> Iterator[Found]:
    """Gives the features of a lookup, to be read once from the first label to the last.

    labels  the table's primary keys and joining.TIME
    count   into how many buckets; at most 512 are made
    """
    schema = snapshot.table.schema
    count = min(count, _MOST)
    asking = labels.with_row_index(_PLACE).with_columns(_bucket(schema.primary_keys, count))
    with history.scratch() as folder, ExitStack() as stack:
        _deal(history, snapshot, _columns(snapshot, lookup), folder, count)
        for number in range(count):
            rows = pl.read_ipc(_rows_file(folder, number))
            mine = asking.filter(pl.col(_BUCKET) == number)
            features = joined(rows, schema, lookup, mine.drop(_BUCKET, _PLACE))
            _rows_file(folder, number).unlink()
            features.insert_column(0, mine.get_column(_PLACE)).write_ipc(
                _result_file(folder, number), record_batch_size=_ROWS, compat_level=pl.CompatLevel.oldest()
            )
        cursors = [_Cursor(stack.enter_context(_opened(_result_file(folder, number)))) for number in range(count)]
        yield _Merged(pl.DataFrame(), cursors)


@dataclass(slots=True)
class _Cursor:
    """A bucket's result, read forwards."""

    file: pa.ipc.RecordBatchFileReader
    next: int = 0
    rest: pl.DataFrame | None = None

    def until(self, place: int) -> list[pl.DataFrame]:
        """Returns the rows of labels before a place that were not returned yet."""
        taken: list[pl.DataFrame] = []
        while True:
            if self.rest is None or not self.rest.height:
                if self.next == self.file.num_record_batches:
                    return taken
                self.rest = _frame(self.file.get_batch(self.next))
                self.next += 1
            places = self.rest.get_column(_PLACE)
            count = int(places.search_sorted(place, side="left"))
            taken.append(self.rest.head(count))
            if count < self.rest.height:
                self.rest = self.rest.slice(count)
                return taken
            self.rest = None


@dataclass(frozen=True, slots=True)
class _Merged(Found):
    """Rows of all buckets in the order of the labels."""

    cursors: Sequence[_Cursor] = field(default_factory=list)

    def rows(self, first: int, count: int) -> pl.DataFrame:
        parts = [part for cursor in self.cursors for part in cursor.until(first + count)]
        return pl.concat(parts).sort(_PLACE).drop(_PLACE)


def _deal(history: History, snapshot: Snapshot, columns: dict[str, pl.DataType], folder: Path, count: int) -> None:
    """Writes the rows of all parts into a file for each bucket."""
    keys = snapshot.table.schema.primary_keys
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchFileWriter] = []
        template = pl.DataFrame(schema=columns | {pointintime.VERSION: pl.Int64()})
        schema = template.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        for number in range(count):
            sink = stack.enter_context(pa.OSFile(str(_rows_file(folder, number)), "wb"))
            writers.append(stack.enter_context(pa.ipc.new_file(sink, schema)))
        for part in snapshot.parts:
            wanted = [*columns, pointintime.VERSION] if part.compacted else list(columns)
            for batch in _small(history.batches(part.key, wanted)):
                rows = _frame(batch)
                if not part.compacted:
                    rows = rows.with_columns(pl.lit(part.version, pl.Int64).alias(pointintime.VERSION))
                missing = [pl.lit(None, of).alias(name) for name, of in columns.items() if name not in rows.columns]
                rows = rows.with_columns(*missing, _bucket(keys, count)).select(*template.columns, _BUCKET)
                for (number,), mine in rows.partition_by(_BUCKET, as_dict=True, include_key=False).items():
                    writers[int(number)].write_table(mine.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema))


def _small(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for first in range(0, batch.num_rows, _DEALT):
            yield batch.slice(first, _DEALT)


def _bucket(keys: Sequence[str], count: int) -> pl.Expr:
    return (pl.struct(keys).hash(seed=0) % count).cast(pl.Int32).alias(_BUCKET)


def _columns(snapshot: Snapshot, lookup: Resolved) -> dict[str, pl.DataType]:
    schema = snapshot.table.schema
    kinds: dict[str, Kind] = schema.kinds
    names = dict.fromkeys((*schema.identity, *(feature.source for feature in lookup.features)))
    return {name: frames.POLARS[kinds[name]] for name in names}


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    found = pl.from_arrow(batch)
    assert isinstance(found, pl.DataFrame)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[pa.ipc.RecordBatchFileReader]:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
        yield reader


def _rows_file(folder: Path, number: int) -> Path:
    return folder / f"rows-{number}.arrow"


def _result_file(folder: Path, number: int) -> Path:
    return folder / f"result-{number}.arrow"
