"""A search over runs and a comparison of some, as things to look at, iterate over, and turn into frames and files."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.extras import need
from fivefold.sdk.frames import batches_of
from fivefold.sdk.records import Listing, Record
from fivefold.sdk.tracking.curves import label
from fivefold.sdk.tracking.runs import Run
from fivefold.sdk.transport import Transport
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 10  # runs in a repr
_PAGE = 1000


class RunSearch(Sequence[Run]):
    """The runs that a search found, in its order; fetched page by page as they are asked for.

    len() counts all of them. Frames and files come from the service as one Arrow stream: a column for each attribute,
    `metrics.KEY` (double), `params.KEY` and `tags.KEY` (text, null where a run has none).
    """

    def __init__(self, transport: Transport, request: pb.SearchRunsRequest, limit: int | None) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)
        self._request = request
        self._limit = limit
        self._asked = pb.SearchRunsRequest()
        self._asked.CopyFrom(request)
        self._runs: Listing[Run] = Listing()
        self.total = 0  # runs that match, whatever the limit; counted with the first page, unless the request skips it
        self._complete = False
        self._fetch()

    def __len__(self) -> int:
        if self._complete:
            return len(self._runs)
        return self.total if self._limit is None else min(self.total, self._limit)

    def __iter__(self) -> Iterator[Run]:
        place = 0
        while True:
            while place >= len(self._runs):
                if self._complete:
                    return
                self._fetch()
            yield self._runs[place]
            place += 1

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice) or place < 0:
            return self.all()[place]
        while place >= len(self._runs) and not self._complete:
            self._fetch()
        return self._runs[place]

    def all(self) -> Listing[Run]:
        """Returns all runs at once."""
        while not self._complete:
            self._fetch()
        return self._runs

    def to_arrow(self) -> pa.Table:
        """Returns a pyarrow.Table."""
        return self._reader().read_all()

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame."""
        need("pandas", "to_pandas()")
        return self.to_arrow().to_pandas()

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Writes a Parquet file, in one step when it is complete; returns its path."""
        parquet = need("pyarrow.parquet", "to_parquet()")
        return self._written(path, parquet.ParquetWriter)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes a CSV file with a header, in one step when it is complete; returns its path."""
        csv = need("pyarrow.csv", "to_csv()")
        return self._written(path, csv.CSVWriter)

    def to_ipc(self, path: str | os.PathLike[str]) -> Path:
        """Writes an Arrow IPC file (Feather), in one step when it is complete; returns its path."""
        pa = need("pyarrow", "to_ipc()")
        return self._written(path, pa.ipc.new_file)

    def __repr__(self) -> str:
        if not len(self):
            return "no runs match"
        shown = self._first(_SHOWN)
        keys = list(dict.fromkeys(key for run in shown for key in run.metrics))[:4]
        head = ["run", "name", "status", "started", *keys]
        rows = [
            [
                run.name.removeprefix("runs/"),
                run.display_name[:32],
                run.status,
                f"{run.start_time:%Y-%m-%d %H:%M}" if run.start_time else "",
                *(f"{run.metrics[key]:.6g}" if key in run.metrics else "" for key in keys),
            ]
            for run in shown
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (head, *rows)]
        return "\n".join(
            [
                f"{_count(len(self), 'run')} of {self.total}" if len(self) < self.total else _count(self.total, "run"),
                *lines,
                *(["…"] if len(self) > _SHOWN else []),
            ]
        )

    def _repr_html_(self) -> str:
        caption = (
            f"<p>{_count(len(self), 'run')}</p>"
            if len(self) <= _SHOWN
            else f"<p>first {_SHOWN} of {len(self)} runs</p>"
        )
        return caption + self._first(_SHOWN)._repr_html_()

    def _first(self, count: int) -> Listing[Run]:
        return Listing(run for run, _ in zip(self, range(count), strict=False))

    def _fetch(self) -> None:
        """Takes the next page in."""
        left = _PAGE if self._limit is None else self._limit - len(self._runs)
        self._asked.page_size = min(left, _PAGE)
        page = self._transport.call(self._stub.SearchRuns, self._asked)
        self._runs.extend(Run.of(run) for run in page.runs[:left])
        if not self._asked.skip_total_size:
            self.total, self._asked.skip_total_size = page.total_size, True
        self._asked.page_token = page.next_page_token
        self._complete = not page.next_page_token or (self._limit is not None and len(self._runs) >= self._limit)

    def _reader(self) -> pa.RecordBatchReader:
        asked = self._request
        request = pb.ExportRunsRequest(
            experiments=asked.experiments,
            filter=asked.filter,
            order_by=asked.order_by,
            view=asked.view,
            max_runs=self._limit or 0,
        )
        if asked.parent_run:
            nested = f"attributes.parent_run_id = '{asked.parent_run.removeprefix('runs/')}'"
            request.filter = f"({asked.filter}) AND {nested}" if asked.filter else nested
        answers = self._transport.receive(self._stub.ExportRuns, request)
        return batches_of(answer.data for answer in answers)

    def _written(self, path: str | os.PathLike[str], writer: Callable[[str, pa.Schema], Any]) -> Path:
        reader = self._reader()
        with _replaced(Path(path)) as part, writer(part, reader.schema) as file:
            for batch in reader:
                file.write_batch(batch)
        return Path(path)


@dataclass(frozen=True, repr=False)
class ComparisonRow(Record):
    """One thing in which runs were compared: of kind PARAM, METRIC, TAG or ATTRIBUTE; a value for each run, or None."""

    kind: str
    key: str
    differs: bool
    values: tuple[float | str | None, ...]


class Comparison(Listing[ComparisonRow]):
    """Runs side by side: what differs first, each row's values in the order of `runs`."""

    runs: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def made(cls, runs: Sequence[str], answer: pb.CompareRunsResponse) -> Comparison:
        """Makes it from the answer to a request about `runs`."""
        kinds = pb.CompareRunsResponse.Kind
        rows = cls(
            ComparisonRow(
                kinds.Name(row.kind).removeprefix("KIND_"),
                row.key,
                row.differs,
                tuple(_side(value) for value in row.values),
            )
            for row in answer.rows
        )
        rows.runs, rows.names = tuple(runs), tuple(answer.display_names)
        return rows

    @property
    def labels(self) -> list[str]:
        """What the runs are called: display names, with the end of the id where two have the same."""
        once = len(set(self.names)) == len(self.names)
        return list(self.names) if once else [label(*pair) for pair in zip(self.runs, self.names, strict=True)]

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame: a row for each thing (index: kind, key), a column for each run."""
        pandas = need("pandas", "to_pandas()")
        index = pandas.MultiIndex.from_tuples([(row.kind, row.key) for row in self], names=["kind", "key"])
        return pandas.DataFrame([row.values for row in self], index=index, columns=self.labels)

    def coordinates(self) -> dict[str, list[float | str | None]]:
        """Returns what a parallel-coordinates plot takes: an axis for each param and metric that differs, with a value
        for each run."""
        return {
            f"{row.kind.lower()}s.{row.key}": list(row.values)
            for row in self
            if row.differs and row.kind in ("PARAM", "METRIC")
        }

    def __repr__(self) -> str:
        if not self:
            return f"{len(self.runs)} runs that do not differ"
        rows = [[row.kind.lower(), row.key, *map(_cell, row.values)] for row in self]
        head = ["", "", *(_cell(label) for label in self.labels)]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (head, *rows))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("kind", "key", *self.labels))
        rows = ((row.kind.lower(), row.key, *map(_cell, row.values)) for row in self)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><tr>{head}</tr>{body}</table>"


def _side(value: pb.CompareRunsResponse.Value) -> float | str | None:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def _cell(value: float | str | None) -> str:
    if isinstance(value, str):
        return value if len(value) <= 40 else f"{value[:39]}…"
    return "" if value is None else f"{value:.6g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def _replaced(path: Path) -> Iterator[str]:
    """Yields the path of a new file beside `path` that takes its place when the block ends well."""
    if not path.parent.is_dir():
        raise InvalidArgument(f"{path.parent} is no folder", reason="FIELD_INVALID", facts={"path": str(path)})
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
