"""Between the contract's points and ours, one by one and in columns. Raises what is wrong with them, by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import paging
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.validation import FieldInvalid, TooManyItems
from fivefold_tracking import names
from fivefold_tracking.keys import check_key
from fivefold_tracking.metrics import Point, Series
from fivefold_tracking.sequence import StreamOrder
from fivefold_tracking.store.records import Batch, Curve, Fresh, Part
from fivefold_tracking.wire import STATUS_OF, texts_of

_MOST = 100_000  # points of one message of a stream
_LATEST = 253_402_300_800_000_000  # microseconds from 1970 to the year 10,000


def to_batch(request: pb.LogBatchRequest, now: int) -> Batch:
    """Returns what a call logs; points without a time get `now`."""
    return Batch(
        tuple(_to_points(request.metrics, now)), texts_of(request.params, "params"), texts_of(request.tags, "tags")
    )


def header_of(requests: Iterator[pb.LogMetricsRequest]) -> pb.LogMetricsRequest.Header:
    """Returns the header that a stream begins with. Raises StreamOrder."""
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "header":
        raise StreamOrder("the first message must be a header")
    return first.header


def to_part(request: pb.LogMetricsRequest, now: int) -> Part:
    """Returns a later message of a stream; points without a time get `now`. Raises StreamOrder for another header."""
    if request.WhichOneof("part") != "points":
        raise StreamOrder("every message after the first must be points")
    asked = request.points
    part = Part(
        asked.sequence, tuple(_to_series(one, f"points.series[{n}]", now) for n, one in enumerate(asked.series))
    )
    if part.size > _MOST:
        why = f"has {part.size} points; at most {_MOST} are allowed"
        raise TooManyItems.at("points.series", why, limit=_MOST, count=part.size)
    return part


def steps_of(request: Any) -> tuple[int | None, int | None]:
    """Returns the range of steps of a request, None where it has no end."""
    return (
        request.min_step if request.HasField("min_step") else None,
        request.max_step if request.HasField("max_step") else None,
    )


def curve_size(max_points: int) -> int:
    return paging.size(max_points, default=500, largest=10_000)


def of_series(series: Series, *, run: str = "", total: int = 0) -> pb.MetricSeries:
    return pb.MetricSeries(
        run=run,
        key=series.key,
        values=series.values,
        steps=series.steps,
        times_us=series.times,
        total_points=total,
    )


def of_curve(curve: Curve) -> pb.MetricSeries:
    return of_series(curve.series, run=names.run_name(curve.run), total=curve.total)


def of_fresh(fresh: Fresh) -> pb.WatchMetricsResponse:
    return pb.WatchMetricsResponse(series=map(of_series, fresh.series), seen=fresh.seen, status=STATUS_OF[fresh.status])


def _to_points(asked: Iterable[pb.Metric], now: int) -> Iterator[Point]:
    good: set[str] = set()  # keys that have been checked: a thousand points often have a few
    for index, one in enumerate(asked):
        key = one.key
        if key not in good:
            good.add(check_key(key, f"metrics[{index}].key"))
        time = now
        if one.HasField("time"):
            stamp = one.time
            time = stamp.seconds * 1_000_000 + stamp.nanos // 1000
            if time < 0:
                shown = stamp.ToJsonString()
                why = f"is {shown}; it must not be before 1970"
                raise InvalidArgument.at(f"metrics[{index}].time", why, value=shown)
        model = one.logged_model
        if model:
            model = names.logged_model_id(model, f"metrics[{index}].logged_model")
            yield Point(key, one.value, time, one.step, model, one.dataset, one.dataset_digest)
        else:
            yield Point(key, one.value, time, one.step)


def _to_series(asked: pb.MetricSeries, field: str, now: int) -> Series:
    values = list(asked.values)
    steps, times = list(asked.steps), list(asked.times_us)
    for name, column in (("steps", steps), ("times_us", times)):
        if column and len(column) != len(values):
            why = f"has {len(column)} items; it must have as many as values, {len(values)}, or none"
            raise FieldInvalid.at(f"{field}.{name}", why, count=len(column), expected=len(values))
    if times and not (min(times) >= 0 and max(times) < _LATEST):
        wrong = next(time for time in times if not 0 <= time < _LATEST)
        why = f"has {wrong}; a time must be from 1970 to 9999, in microseconds"
        raise FieldInvalid.at(f"{field}.times_us", why, value=wrong)
    return Series(
        check_key(asked.key, f"{field}.key"), values, steps or [0] * len(values), times or [now] * len(values)
    )
