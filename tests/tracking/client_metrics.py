"""The promises of a MetricStore kept by a gRPC client."""

from __future__ import annotations

import itertools
from typing import Any

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_tracking import wire
from fivefold_tracking.lifecycle import RunStatus
from fivefold_tracking.metrics import Series
from fivefold_tracking.store.records import Curve, Fresh, History
from tests.tracking.remote import more, token, typed

_STATUS: dict[int, RunStatus] = {number: status for status, number in wire.STATUS_OF.items()}


class ClientMetrics:
    """A MetricStore."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def points(self, run_id, key, after, limit, lowest=None, highest=None):
        asked = pb.ListMetricPointsRequest(
            run=f"runs/{run_id}", key=key, page_size=limit, page_token=token(after), min_step=lowest, max_step=highest
        )
        with typed():
            answer = self._stub.ListMetricPoints(asked)
        return History(series(answer.points), answer.points.total_points, more(answer))

    def sample(self, runs, keys, most, lowest=None, highest=None):
        asked = pb.SampleMetricsRequest(
            runs=[f"runs/{run}" for run in runs], keys=keys, max_points=most, min_step=lowest, max_step=highest
        )
        with typed():
            answer = self._stub.SampleMetrics(asked)
        return tuple(Curve(one.run.removeprefix("runs/"), series(one), one.total_points) for one in answer.series)

    def counts(self, run_id):
        with typed():
            watch = self._stub.WatchMetrics(pb.WatchMetricsRequest(run=f"runs/{run_id}", only_new=True))
            first = next(watch)
        watch.cancel()
        return dict(first.seen)

    def since(self, run_id, keys, seen, most):
        with typed():
            watch = self._stub.WatchMetrics(pb.WatchMetricsRequest(run=f"runs/{run_id}", keys=keys, seen=seen))
            first = next(watch)
        watch.cancel()
        return Fresh(tuple(map(series, first.series)), dict(first.seen), _STATUS[first.status])

    def acknowledged(self, run_id, stream):
        with typed():
            return next(self._stub.LogMetrics(iter([header(run_id, stream)]))).acknowledged

    def append(self, run_id, stream, parts):
        messages = (
            pb.LogMetricsRequest(
                points=pb.LogMetricsRequest.Points(
                    sequence=part.sequence,
                    series=[
                        pb.MetricSeries(key=one.key, values=one.values, steps=one.steps, times_us=one.times)
                        for one in part.series
                    ],
                )
            )
            for part in parts
        )
        with typed():
            answers = list(self._stub.LogMetrics(itertools.chain([header(run_id, stream)], messages)))
        return answers[-1].acknowledged


def header(run_id: str, stream: str) -> pb.LogMetricsRequest:
    return pb.LogMetricsRequest(header=pb.LogMetricsRequest.Header(run=f"runs/{run_id}", stream=stream))


def series(got: pb.MetricSeries) -> Series:
    return Series(got.key, list(got.values), list(got.steps), list(got.times_us))
