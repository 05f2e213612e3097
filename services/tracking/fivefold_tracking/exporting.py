"""Runs as one table in the Arrow IPC stream format, made page by page: its size does not matter to the memory it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fivefold_runtime.errors import InvalidArgument
from fivefold_tracking.store.records import RunKeys, RunRecord

if TYPE_CHECKING:
    import pyarrow as pa

MOST_KEYS = 10_000
_CHUNK = 1024 * 1024  # bytes of one message
_CELLS = 250_000  # of one record batch
_MOST_ROWS = 1000  # of one record batch, which is a page of the search


def check_keys(keys: RunKeys) -> None:
    """Raises InvalidArgument when a table would have more columns than anyone can read."""
    if len(keys) > MOST_KEYS:
        raise InvalidArgument.at(
            "filter", f"chooses runs that have more than {MOST_KEYS} different keys together", limit=MOST_KEYS
        )


def rows_at_once(keys: RunKeys) -> int:
    """Returns how many runs one record batch has: fewer where they have many keys."""
    return max(1, min(_MOST_ROWS, _CELLS // (len(keys) + 20)))


def table(keys: RunKeys, pages: Iterable[Sequence[RunRecord]]) -> Iterator[bytes]:
    """Yields the table of runs in pieces of at most 1 MiB.

    keys   decide the columns: metrics.KEY double, params.KEY and tags.KEY text, null where a run has none; keys that
           runs have got since are left out
    pages  the runs, a record batch each
    """
    import pyarrow as pa  # Here, as it takes more memory than all else that an idle server has loaded.

    sink = _Sink()
    schema = pa.schema([(name, kind) for name, kind, _ in _columns(pa, keys, ())])
    with pa.ipc.new_stream(sink, schema) as writer:
        for runs in pages:
            arrays = [pa.array(values, kind) for _, kind, values in _columns(pa, keys, runs)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            yield from sink.taken(whole=False)
    yield from sink.taken(whole=True)


def _columns(pa: Any, keys: RunKeys, runs: Sequence[RunRecord]) -> Iterator[tuple[str, pa.DataType, list[Any]]]:
    """Yields the columns of a table: name, type and values."""
    text, time = pa.string(), pa.timestamp("us", tz="UTC")
    yield "run_id", text, [run.id for run in runs]
    yield "run_name", text, [run.display_name for run in runs]
    yield "experiment_id", text, [str(run.experiment) for run in runs]
    yield "status", text, [str(run.status) for run in runs]
    yield "user", text, [run.user for run in runs]
    yield "start_time", time, [run.started for run in runs]
    yield "end_time", time, [run.ended for run in runs]
    yield "parent_run_id", text, [run.parent or None for run in runs]
    yield "source_type", text, [run.source.type or None for run in runs]
    yield "source_name", text, [run.source.name or None for run in runs]
    yield "git_commit", text, [run.source.git_commit or None for run in runs]
    points = [{point.key: point.value for point in run.metrics} for run in runs]
    for key in keys.metrics:
        yield f"metrics.{key}", pa.float64(), [each.get(key) for each in points]
    for key in keys.params:
        yield f"params.{key}", text, [run.params.get(key) for run in runs]
    for key in keys.tags:
        yield f"tags.{key}", text, [run.tags.get(key) for run in runs]


class _Sink:
    """A file to write to, from whose end pieces are taken."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.closed = False

    def write(self, data: Any) -> int:
        self._kept += data
        return len(data)

    def flush(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def taken(self, *, whole: bool) -> Iterator[bytes]:
        """Takes full pieces away; with `whole` also the rest."""
        while len(self._kept) >= _CHUNK or (whole and self._kept):
            yield bytes(self._kept[:_CHUNK])
            del self._kept[:_CHUNK]
