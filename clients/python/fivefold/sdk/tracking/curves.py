"""Histories of metrics: whole, thinned out to curves, and live."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fivefold.sdk.extras import need
from fivefold.sdk.names import full, short
from fivefold.sdk.records import Record, enum_names
from fivefold.sdk.tracking.runs import ENDED
from fivefold.sdk.transport import FOREVER, Transport
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = 50_000  # points of a page


@dataclass(frozen=True, repr=False)
class MetricPoint(Record):
    """One point of a metric's history."""

    key: str
    value: float
    time: datetime | None
    step: int


@dataclass(frozen=True, repr=False, eq=False)
class Curve:
    """Points of one metric of one run, by step, time and order of logging.

    values    float64, NaN and the infinities too; steps  int64; times_us  microseconds since 1970 in UTC
    total     points that the history has, of which these are some or all
    """

    run: str
    key: str
    values: array[float] = field(default_factory=lambda: array("d"))
    steps: array[int] = field(default_factory=lambda: array("q"))
    times_us: array[int] = field(default_factory=lambda: array("q"))
    total: int = 0

    def to_numpy(self) -> tuple[Any, Any]:
        """Returns (steps, values) as numpy arrays of int64 and float64, without a copy."""
        numpy = need("numpy", "to_numpy()")
        return numpy.frombuffer(self.steps, numpy.int64), numpy.frombuffer(self.values, numpy.float64)

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame with a row for each point: step, time (UTC), value."""
        pandas = need("pandas", "to_pandas()")
        steps, values = self.to_numpy()
        times = pandas.to_datetime(pandas.Series(self.times_us, dtype="int64"), unit="us", utc=True)
        return pandas.DataFrame({"step": steps, "time": times, "value": values})

    def points(self) -> Iterator[MetricPoint]:
        """Yields the points one by one."""
        for value, step, time_us in zip(self.values, self.steps, self.times_us, strict=True):
            yield MetricPoint(self.key, value, _EPOCH + timedelta(microseconds=time_us), step)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        some = f"{len(self)} of {self.total} points" if self.total > len(self) else f"{len(self)} points"
        ends = f", steps {self.steps[0]} to {self.steps[-1]}, last value {self.values[-1]:g}" if len(self) else ""
        return f"Curve({self.key!r} of {self.run}, {some}{ends})"


class Curves(list[Curve]):
    """Curves of several runs and metrics."""

    def to_pandas(self) -> Any:
        """Returns one pandas.DataFrame of all points: run, key, step, time, value."""
        pandas = need("pandas", "to_pandas()")
        if not self:
            return pandas.DataFrame({name: [] for name in ("run", "key", "step", "time", "value")})
        parts = [curve.to_pandas().assign(run=curve.run, key=curve.key) for curve in self]
        return pandas.concat(parts, ignore_index=True)[["run", "key", "step", "time", "value"]]


class Histories:
    """What runs measured."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)

    def whole(self, run: str, key: str, min_step: int | None = None, max_step: int | None = None) -> Curve:
        """Returns every point of one metric within a range of steps."""
        request = pb.ListMetricPointsRequest(
            run=full("runs", run), key=key, min_step=min_step, max_step=max_step, page_size=_PAGE
        )
        curve = Curve(full("runs", run), key)
        while True:
            page = self._transport.call(self._stub.ListMetricPoints, request)
            _extend(curve, page.points)
            if not page.next_page_token:
                return Curve(curve.run, key, curve.values, curve.steps, curve.times_us, len(curve))
            request.page_token = page.next_page_token

    def sampled(
        self, runs: Sequence[str], keys: Sequence[str], points: int, min_step: int | None, max_step: int | None
    ) -> Curves:
        """Returns a thinned-out curve for each run and metric that has points."""
        request = pb.SampleMetricsRequest(
            runs=[full("runs", run) for run in runs],
            keys=keys,
            max_points=points,
            min_step=min_step,
            max_step=max_step,
        )
        curves = Curves()
        for series in self._transport.call(self._stub.SampleMetrics, request, bulk=True).series:
            curve = Curve(series.run, series.key, total=series.total_points)
            _extend(curve, series)
            curves.append(curve)
        return curves

    def watched(self, run: str, keys: Sequence[str], only_new: bool, forever: bool) -> Iterator[MetricPoint]:
        """Yields points as they are logged; opened again after a break, without losing or repeating one."""
        seen: dict[str, int] = {}
        first = True

        def again() -> Iterator[pb.WatchMetricsResponse]:
            request = pb.WatchMetricsRequest(run=full("runs", run), keys=keys, seen=seen, only_new=only_new and first)
            return self._transport.receive(self._stub.WatchMetrics, request, timeout=FOREVER)

        statuses = enum_names(pb.RunStatus.DESCRIPTOR)
        while True:
            for answer in self._transport.follow(again):
                first = False
                for series in answer.series:
                    curve = Curve(run, series.key)
                    _extend(curve, series)
                    yield from curve.points()
                seen.update(answer.seen)
                if statuses.get(answer.status) in ENDED and not forever:
                    if not answer.series:
                        return
                    break  # Opened again, it says at once whether that was all.


def _extend(curve: Curve, series: pb.MetricSeries) -> None:
    curve.values.extend(series.values)
    curve.steps.extend(series.steps or [0] * len(series.values))
    curve.times_us.extend(series.times_us or [0] * len(series.values))


def label(run: str, display_name: str) -> str:
    """Returns what a column of a run is called: its display name and the end of its id; the start is the time."""
    return f"{display_name} (…{short(full('runs', run))[-6:]})"
