"""Histories of metrics: whole, page by page, or thinned out by the service for curves."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import islice

from mlflow.entities import Metric
from mlflow.entities.metric import MetricWithRunId
from mlflow.store.entities.paged_list import PagedList

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.base import about_run, no_collection, run_name
from fivefold_mlflow.failures import Failure, invalid
from fivefold_mlflow.runs import Runs

_LARGEST_PAGE = 100_000
_MOST_RUNS = 100  # of one call for curves
_MOST_POINTS = 10_000  # of one curve
_MOST_IN_ALL = 200_000  # points of one call
_DENSER = 3  # times as many points are asked for, since the four of a bucket are often two or one


class Histories(Runs):
    """By step, time and order of logging."""

    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        """Returns all points, one RPC for each hundred thousand, or a page of them.

        A point that was logged twice comes once, as MLflow keeps it.
        """
        points: list[Metric] = []
        if max_results == 0:
            return PagedList(points, None)
        token = page_token or ""
        while True:
            left = _LARGEST_PAGE if max_results is None else min(_LARGEST_PAGE, max_results - len(points))
            page = self._points(run_id, metric_key, page_size=left, page_token=token)
            _add(points, metric_key, page.points)
            token = page.next_page_token
            if not token or (max_results is not None and len(points) >= max_results):
                return PagedList(points, token or None)

    def get_metric_history_bulk(
        self, run_ids: Sequence[str], metric_key: str, max_results: int
    ) -> list[MetricWithRunId]:
        """Returns at most so many points of several runs, run by run."""
        found: list[MetricWithRunId] = []
        for run_id in sorted(run_ids):
            if len(found) >= max_results:
                break
            points = self.get_metric_history(run_id, metric_key, max_results=max_results - len(found))
            found += [MetricWithRunId(point, run_id) for point in points]
        return found

    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: Sequence[int], max_results: int
    ) -> list[MetricWithRunId]:
        """Returns the points at some steps."""
        if not steps:
            return []
        wanted, points, token = set(steps), list[Metric](), ""
        while True:
            page = self._points(
                run_id,
                metric_key,
                page_size=_LARGEST_PAGE,
                page_token=token,
                min_step=min(wanted),
                max_step=max(wanted),
            )
            read: list[Metric] = []
            _add(read, metric_key, page.points)
            points += [point for point in read if point.step in wanted]
            token = page.next_page_token
            if not token or len(points) >= max_results:
                return [MetricWithRunId(point, run_id) for point in points[:max_results]]

    def get_metric_history_bulk_interval(
        self,
        run_ids: Sequence[str],
        metric_key: str,
        max_results: int,
        start_step: int | None,
        end_step: int | None,
    ) -> list[MetricWithRunId]:
        """Returns at most so many points of each run, thinned out where they were sent from."""
        if (start_step is None) != (end_step is None):
            raise invalid("Both start_step and end_step must be specified together, or neither may be specified.")
        most = max(1, max_results)
        asked = min(most * _DENSER, _MOST_POINTS)
        at_once = max(1, min(_MOST_RUNS, _MOST_IN_ALL // asked))
        found: list[MetricWithRunId] = []
        for start in range(0, len(run_ids), at_once):
            request = pb.SampleMetricsRequest(
                runs=[run_name(run_id) for run_id in run_ids[start : start + at_once]],
                keys=[metric_key],
                min_step=start_step,
                max_step=end_step,
                max_points=asked,
            )
            try:
                answer = self._tracking.ask("SampleMetrics", request)
            except Failure as error:
                if error.reason == "RESOURCE_NOT_FOUND":
                    missing = error.facts.get("name", "").removeprefix("runs/")
                    raise error.saying(f"Run with id={missing} not found") from error
                raise
            for series in answer.series:
                points: list[Metric] = []
                _add(points, metric_key, series)
                run_id = series.run.removeprefix("runs/")
                found += [MetricWithRunId(point, run_id) for point in thinned(points, most)]
        return found

    def get_max_step_for_metric(self, run_id: str, metric_key: str) -> int:
        """Returns the step of the latest point, which is the greatest; 0 when there is none."""
        with about_run(run_id):
            run = self._tracking.ask("GetRun", pb.GetRunRequest(name=run_name(run_id)))
        return next((metric.step for metric in run.metrics if metric.key == metric_key), 0)

    def _points(self, run_id: str, key: str, **more: object) -> pb.ListMetricPointsResponse:
        with about_run(run_id):
            request = pb.ListMetricPointsRequest(run=run_name(run_id), key=key, **more)  # type: ignore[arg-type]
            return self._tracking.ask("ListMetricPoints", request)


def thinned(points: list[Metric], most: int) -> list[Metric]:
    """Returns at most so many points, evenly: always the last one, with more the first, the least and the greatest."""
    if len(points) <= most:
        return points
    if most == 1:
        return points[-1:]
    kept = {0, len(points) - 1}
    if most >= 4:
        numbers = [place for place, point in enumerate(points) if not math.isnan(point.value)]
        kept |= {pick(numbers, key=lambda place: points[place].value) for pick in (min, max) if numbers}
    even = [round(place * (len(points) - 1) / (most - 1)) for place in range(most)]
    kept.update(sorted(set(even) - kept, key=even.index)[: most - len(kept)])
    return [points[place] for place in sorted(kept)]


def _add(points: list[Metric], key: str, series: pb.MetricSeries) -> None:
    values, times, steps = list(series.values), list(series.times_us), list(series.steps)
    if any(map(operator.eq, times, islice(times, 1, None))):
        values, times, steps = _once(values, times, steps)
    with no_collection(len(values)):
        points += [
            Metric(key, value, time // 1000, step) for value, time, step in zip(values, times, steps, strict=True)
        ]


def _once(values: list[float], times: list[int], steps: list[int]) -> tuple[list[float], list[int], list[int]]:
    """Returns the points without those that were there before; one NaN is like another."""
    seen: set[tuple[float | None, int, int]] = set()
    kept = []
    for place, (value, time, step) in enumerate(zip(values, times, steps, strict=True)):
        point = (None if math.isnan(value) else value, time, step)
        if point not in seen:
            seen.add(point)
            kept.append(place)
    return [values[place] for place in kept], [times[place] for place in kept], [steps[place] for place in kept]
