"""What every MetricStore promises; test_metrics.py supplies `stores`: SQLite, PostgreSQL, and a gRPC client."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fivefold_tracking.lifecycle import RunStatus
from fivefold_tracking.metrics import Point, Series
from fivefold_tracking.store.records import Batch, Part, RunChange
from tests.tracking.contract import NOW, UNKNOWN, Contract, latest, new_run, points, refused

NAN, INF = math.nan, math.inf


def series(key: str, *values: float, step: int = 0, time: int = NOW) -> Series:
    """Points of one metric at steps from `step` on."""
    return Series(key, list(values), list(range(step, step + len(values))), [time] * len(values))


def rows(one: Series) -> list[tuple[int, int, str]]:
    """The points of a series as (step, time, value); the value as text, so that NaN equals itself."""
    return [(step, time, repr(value)) for step, time, value in zip(one.steps, one.times, one.values, strict=True)]


class MetricContract(Contract):
    """Histories: what is logged, paged, thinned out and followed."""

    def whole(self, stores: Any, run: str, key: str, limit: int = 1000, **steps: Any) -> list[tuple[int, int, str]]:
        """Reads a history page by page."""
        found, after = [], None
        while True:
            page = stores.metrics.points(run, key, after, limit, **steps)
            assert len(page.series) <= limit
            found += rows(page.series)
            after = page.more
            if after is None:
                return found
            assert len(page.series), "a page without points has no next one"

    def test_the_latest_point_is_the_greatest_by_step_then_time_then_value(self, stores, run):
        history = [Point("m", 1.0, NOW, 5), Point("m", 9.0, NOW + 1, 4), Point("m", 3.0, NOW + 1, 5)]
        stores.runs.log(run, Batch(tuple(history)))
        stores.runs.log(run, Batch((Point("m", 2.0, NOW + 1, 5), Point("m", 8.0, NOW, 5), Point("m", 7.0, NOW, -1))))

        assert stores.runs.get(run).metrics == (Point("m", 3.0, NOW + 1, 5),)

    def test_nan_is_latest_only_where_no_number_is(self, stores, run):
        stores.runs.log(
            run, Batch((Point("tie", NAN, NOW, 1), Point("tie", -1e308, NOW, 1), Point("late", 1.0, NOW, 1)))
        )
        stores.runs.log(run, Batch((Point("tie", NAN, NOW, 1), Point("late", NAN, NOW, 2))))

        assert [str(value) for value in latest(stores.runs.get(run)).values()] == ["nan", "-1e+308"]

    def test_every_double_and_step_survives_a_batch_and_a_stream(self, stores, run):
        values = [NAN, INF, -INF, 5e-324, 1.7976931348623157e308, -0.1, 0.1 + 0.2, 1e22, 3.0]
        steps = [-(2**63), 2**63 - 1, -1, 0, 1, 2, 3, 4, 5]
        given = Series("m", values, steps, list(range(len(values))))
        stores.runs.log(run, Batch(tuple(given.point(index) for index in range(len(values)))))
        stores.metrics.append(run, "s", [Part(1, (Series("n", values, steps, given.times),))])

        assert self.whole(stores, run, "m") == self.whole(stores, run, "n") == sorted(rows(given))
        assert {point.step for point in stores.runs.get(run).metrics} == {2**63 - 1}

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_a_history_is_ordered_by_step_time_and_order_of_logging(self, stores, run, limit):
        stores.runs.log(run, Batch((Point("m", 4.0, NOW, 1), Point("m", 1.0, NOW + 1, 0), Point("other", 0.0, NOW, 0))))
        stores.runs.log(run, Batch((Point("m", 2.0, NOW, 1), Point("m", 3.0, NOW, 0), Point("m", 2.0, NOW, 1))))

        assert [value for _, _, value in self.whole(stores, run, "m", limit)] == ["3.0", "1.0", "4.0", "2.0", "2.0"]
        assert stores.metrics.points(run, "m", None, limit).total == 5

    @pytest.mark.parametrize("limit", [2, 100])
    @pytest.mark.parametrize(("lowest", "highest"), [(None, 3), (-2, None), (-2, 3), (3, 3), (4, 3), (50, None)])
    def test_a_history_is_cut_by_steps_at_both_ends_inclusive(self, stores, run, limit, lowest, highest):
        stores.runs.log(run, Batch(tuple(Point("m", step, NOW, step) for step in range(-5, 10))))

        found = [step for step, _, _ in self.whole(stores, run, "m", limit, lowest=lowest, highest=highest)]

        low, high = (-99 if lowest is None else lowest), (99 if highest is None else highest)
        assert found == [step for step in range(-5, 10) if low <= step <= high]

    def test_a_metric_that_was_never_logged_has_no_history(self, stores, run):
        page = stores.metrics.points(run, "m", None, 10)

        assert (len(page.series), page.total, page.more) == (0, 0, None)
        assert stores.metrics.sample([run], ["m"], 10) == ()

    def test_a_run_that_is_not_there_has_no_histories(self, stores, run):
        for call in (
            lambda: stores.metrics.points(UNKNOWN, "m", None, 10),
            lambda: stores.metrics.sample([run, UNKNOWN], ["m"], 10),
            lambda: stores.metrics.counts(UNKNOWN),
            lambda: stores.metrics.since(UNKNOWN, [], {}, 10),
            lambda: stores.metrics.acknowledged(UNKNOWN, "s"),
            lambda: stores.metrics.append(UNKNOWN, "s", [Part(1, (series("m", 1.0),))]),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()

    @pytest.mark.parametrize("ended", [RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED])
    def test_an_ended_run_takes_metrics_only_when_the_call_says_so(self, stores, run, ended):
        stores.runs.update(run, RunChange(status=ended), "", NOW)

        with refused("RUN_ENDED"):
            stores.runs.log(run, Batch(points("m", 1.0), tags={"a": "1"}))
        with refused("RUN_ENDED"):
            stores.metrics.append(run, "s", [Part(1, (series("m", 1.0),))])
        assert stores.runs.get(run).tags == {}
        stores.runs.log(run, Batch(params={"p": "1"}, tags={"a": "1"}))
        stores.runs.log(run, Batch(points("m", 1.0)), allow_ended=True)

        now = stores.runs.get(run)
        assert (now.params, now.tags, latest(now)) == ({"p": "1"}, {"a": "1"}, {"m": 1.0})

    def test_a_stream_goes_on_after_what_is_on_disk(self, stores, run):
        assert stores.metrics.acknowledged(run, "s") == 0

        first = [Part(number, (series("m", float(number), step=number),)) for number in (1, 2, 3)]
        assert stores.metrics.append(run, "s", first[:2]) == 2
        assert stores.metrics.append(run, "s", first) == 3, "what is on disk is skipped"
        assert stores.metrics.append(run, "s", first[1:2]) == 3, "and changes nothing"

        assert stores.metrics.acknowledged(run, "s") == 3
        assert [step for step, _, _ in self.whole(stores, run, "m")] == [1, 2, 3]

    def test_a_message_that_comes_twice_in_one_write_is_written_once(self, stores, run):
        one, two = (Part(number, (series("m", float(number), step=number),)) for number in (1, 2))

        assert stores.metrics.append(run, "s", [one, one, two, one, two]) == 2

        assert [step for step, _, _ in self.whole(stores, run, "m")] == [1, 2]

    def test_streams_count_by_themselves(self, stores, experiment, run):
        other = stores.runs.create(new_run(experiment), NOW).id
        stores.metrics.append(run, "a", [Part(1, (series("m", 1.0),)), Part(2, (series("m", 2.0),))])
        stores.metrics.append(run, "b", [Part(1, (series("m", 3.0),))])
        stores.metrics.append(other, "a", [Part(1, (series("m", 4.0),))])

        assert [stores.metrics.acknowledged(run, name) for name in "abc"] == [2, 1, 0]
        assert stores.metrics.acknowledged(other, "a") == 1
        assert stores.metrics.counts(run) == {"m": 3}

    def test_a_gap_in_a_stream_is_refused_and_what_came_before_it_stays(self, stores, run):
        stores.metrics.append(run, "s", [Part(1, (series("m", 1.0),))])

        with refused("STREAM_ORDER"):
            stores.metrics.append(run, "s", [Part(3, (series("m", 3.0),))])

        assert stores.metrics.acknowledged(run, "s") == 1
        assert stores.metrics.counts(run) == {"m": 1}

    def test_a_message_without_points_counts_in_its_stream(self, stores, run):
        assert (
            stores.metrics.append(run, "s", [Part(1, ()), Part(2, (series("m"),)), Part(3, (series("m", 1.0),))]) == 3
        )
        assert stores.metrics.counts(run) == {"m": 1}

    def test_points_of_one_metric_in_several_series_keep_their_order(self, stores, run):
        parts = [Part(1, (series("m", 1.0, 2.0), series("n", 0.0), series("m", 3.0))), Part(2, (series("m", 4.0),))]
        stores.metrics.append(run, "s", parts)

        (found,) = stores.metrics.since(run, ["m"], {}, 10).series
        assert list(found.values) == [1.0, 2.0, 3.0, 4.0]

    def test_a_deleted_run_takes_no_stream(self, stores, run):
        stores.runs.delete(run, NOW)

        with refused("RUN_DELETED"):
            stores.metrics.append(run, "s", [Part(1, (series("m", 1.0),))])

    def test_a_watcher_gets_what_it_has_not_seen_in_the_order_of_logging(self, stores, run):
        stores.runs.log(run, Batch((Point("m", 1.0, NOW, 9), Point("m", 2.0, NOW, 3), Point("n", 5.0, NOW, 0))))
        every = stores.metrics.since(run, [], {}, 100)
        stores.runs.log(run, Batch((Point("m", 3.0, NOW, 6),)))
        rest = stores.metrics.since(run, [], every.seen, 100)

        assert {one.key: list(one.steps) for one in every.series} == {"m": [9, 3], "n": [0]}
        assert (every.seen, every.status) == ({"m": 2, "n": 1}, RunStatus.RUNNING)
        assert ([list(one.steps) for one in rest.series], rest.seen) == ([[6]], {"m": 3})
        assert stores.metrics.counts(run) == {"m": 3, "n": 1}

    def test_a_watcher_of_some_metrics_gets_no_others(self, stores, run):
        stores.runs.log(run, Batch(points("m", 1.0) + points("n", 2.0) + points("o", 3.0)))

        got = stores.metrics.since(run, ["o", "m", "none"], {}, 100)

        assert {one.key for one in got.series} == {"m", "o"}

    def test_short_histories_are_not_thinned_out(self, stores, run):
        stores.runs.log(run, Batch(points("m", 3.0, NAN, 1.0, -INF, 2.0)))

        (curve,) = stores.metrics.sample([run], ["m"], 5)

        assert (rows(curve.series), curve.total) == (self.whole(stores, run, "m"), 5)

    def test_curves_come_by_run_and_metric_in_the_order_asked_for(self, stores, experiment, run):
        other = stores.runs.create(new_run(experiment), NOW).id
        stores.runs.log(run, Batch(points("a", 1.0) + points("b", 2.0)))
        stores.runs.log(other, Batch(points("b", 3.0)))

        curves = stores.metrics.sample([other, run], ["b", "none", "a"], 10)

        assert [(one.run, one.series.key) for one in curves] == [(other, "b"), (run, "b"), (run, "a")]

    @pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 9, 10, 50, 333])
    def test_a_curve_keeps_ends_and_peaks_and_one_nan_within_its_bound(self, stores, run, most):
        values = [math.sin(n / 17) * (n % 13) + 0.25 for n in range(1000)]
        values[500:520] = [NAN] * 20
        stores.metrics.append(run, "s", [Part(1, (series("m", *values, step=-300),))])

        (curve,) = stores.metrics.sample([run], ["m"], most)

        kept = rows(curve.series)
        assert len(kept) <= most and kept == sorted(kept) and set(kept) <= set(rows(series("m", *values, step=-300)))
        assert (curve.total, kept[-1][0]) == (1000, 699)
        if most >= 5:
            numbers = [value for value in curve.series.values if not math.isnan(value)]
            real = [value for value in values if not math.isnan(value)]
            assert (min(numbers), max(numbers), kept[0][0]) == (min(real), max(real), -300)
            assert any(map(math.isnan, curve.series.values))

    def test_a_curve_of_some_steps_has_no_others(self, stores, run):
        stores.metrics.append(run, "s", [Part(1, (series("m", *range(1000)),))])

        (curve,) = stores.metrics.sample([run], ["m"], 50, 100, 299)
        few = stores.metrics.sample([run], ["m"], 50, 100, 120)

        assert (curve.series.steps[0], curve.series.steps[-1], curve.total) == (100, 299, 1000)
        assert list(few[0].series.steps) == list(range(100, 121))
        assert stores.metrics.sample([run], ["m"], 50, 2000) == ()

    def test_points_of_one_step_are_thinned_out_by_time(self, stores, run):
        times = list(range(NOW, NOW + 1000))
        stores.metrics.append(run, "s", [Part(1, (Series("m", list(range(1000)), [7] * 1000, times),))])

        (curve,) = stores.metrics.sample([run], ["m"], 100)

        assert 20 <= len(curve.series) <= 100
        assert (curve.series.times[0], curve.series.times[-1]) == (NOW, NOW + 999)
