"""Watching a run: every point once and in order, whoever writes meanwhile, through breaks, and where the run stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import errors
from fivefold_runtime.testing import Running, serve
from fivefold_tracking.__main__ import Config, build
from tests.tracking.client import Tracking
from tests.tracking.test_streams import header, message

WRITERS, POINTS = 6, 60


@pytest.fixture
def run(tracking: Tracking) -> str:
    return tracking.run(tracking.experiment().name).name


def watch(tracking: Tracking, run: str, **more: Any) -> Any:
    return tracking.stub.WatchMetrics(pb.WatchMetricsRequest(run=run, **more), timeout=120)


def write(tracking: Tracking, run: str) -> list[threading.Thread]:
    """Starts writers of the metrics a and b: by batches, each by a writer of its own, and by streams."""

    def batches(writer: int) -> None:
        for turn in range(POINTS):
            value = writer * POINTS + turn
            keys = "ab" if writer % 2 else "ba"
            tracking.log(run, [pb.Metric(key=key, value=value, step=-turn) for key in keys])

    def streams(writer: int) -> None:
        def messages() -> Iterator[pb.LogMetricsRequest]:
            yield header(run, str(writer))
            for turn in range(POINTS):
                value = writer * POINTS + turn
                yield message(turn + 1, *(pb.MetricSeries(key=key, values=[value], steps=[-turn]) for key in "ab"))

        list(tracking.stub.LogMetrics(messages()))

    threads = [
        threading.Thread(target=streams if writer >= WRITERS // 2 else batches, args=[writer])
        for writer in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    return threads


def follow(tracking: Tracking, run: str, breaks: int) -> dict[str, list[float]]:
    """Watches until all points have come; goes away and resumes after every few messages."""
    found: dict[str, list[float]] = {"a": [], "b": []}
    seen: dict[str, int] = {}
    while sum(map(len, found.values())) < 2 * WRITERS * POINTS:
        call = watch(tracking, run, seen=seen)
        for count, answer in enumerate(call):
            for series in answer.series:
                found[series.key] += series.values
            assert set(answer.seen) == {series.key for series in answer.series}
            seen.update(answer.seen)
            assert all(seen[key] == len(found[key]) for key in seen)
            if (breaks and count >= breaks) or sum(map(len, found.values())) >= 2 * WRITERS * POINTS:
                break
        call.cancel()
    return found


@pytest.mark.parametrize("breaks", [0, 1, 3])
def test_a_watcher_sees_every_point_once_while_many_write(on_both: Tracking, breaks: int) -> None:
    run = on_both.run(on_both.experiment().name).name
    results: list[dict[str, list[float]]] = []
    watchers = [
        threading.Thread(target=lambda: results.append(follow(on_both, run, breaks)), daemon=True) for _ in range(3)
    ]
    for watcher in watchers:
        watcher.start()
    for thread in write(on_both, run):
        thread.join()
    for watcher in watchers:
        watcher.join(120)

    assert len(results) == 3
    for found in results:
        for values in found.values():
            assert sorted(values) == list(range(WRITERS * POINTS))
            for writer in range(WRITERS):
                own = [value for value in values if writer * POINTS <= value < (writer + 1) * POINTS]
                assert own == sorted(own), "one writer's points keep their order"
    assert results[0] == results[1] == results[2], "all see one order, that of the commits"


def test_a_watcher_of_another_replica_sees_the_points_too(tmp_path: Any, postgres_url: str) -> None:
    with (
        serve(build, Config(data=str(tmp_path / "one"), store_url=postgres_url)) as one,
        serve(build, Config(data=str(tmp_path / "two"), store_url=postgres_url)) as two,
    ):
        here, there = Tracking(one.channel), Tracking(two.channel)
        run = here.run(here.experiment().name).name
        call = watch(there, run)
        assert list(next(call).series) == []

        here.log(run, [pb.Metric(key="m", value=1)])

        assert [list(series.values) for series in next(call).series] == [[1.0]]
        call.cancel()


def test_the_first_message_comes_at_once_and_tells_the_status(tracking: Tracking, run: str) -> None:
    call = watch(tracking, run)

    first = next(call)

    assert (first.status, len(first.series)) == (pb.RUN_STATUS_RUNNING, 0)
    tracking.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=run, status=pb.RUN_STATUS_FAILED)))
    assert next(call).status == pb.RUN_STATUS_FAILED
    call.cancel()


def test_a_watcher_of_only_new_points_can_resume_without_the_old_ones(tracking: Tracking, run: str) -> None:
    tracking.log(run, [pb.Metric(key="old", value=1), pb.Metric(key="m", value=1)])
    call = watch(tracking, run, only_new=True)
    first = next(call)
    assert (dict(first.seen), len(first.series)) == ({"old": 1, "m": 1}, 0)
    call.cancel()

    tracking.log(run, [pb.Metric(key="m", value=2), pb.Metric(key="late", value=3)])

    resumed = watch(tracking, run, seen=first.seen)
    assert {series.key: list(series.values) for series in next(resumed).series} == {"m": [2], "late": [3]}
    resumed.cancel()


def test_a_watcher_of_some_metrics_sees_no_others(tracking: Tracking, run: str) -> None:
    tracking.log(run, [pb.Metric(key=key, value=1) for key in "abc"])
    call = watch(tracking, run, keys=["b", "not there"])
    assert [series.key for series in next(call).series] == ["b"]
    tracking.log(run, [pb.Metric(key=key, value=2) for key in "cb"])

    assert [(series.key, list(series.values)) for series in next(call).series] == [("b", [2])]
    call.cancel()


@pytest.mark.parametrize("seen", [{"m": -5}, {"other": 7}, {"m": 0}])
def test_counts_that_were_made_up_cost_only_their_watcher(tracking: Tracking, run: str, seen: dict[str, int]) -> None:
    tracking.log(run, [pb.Metric(key="m", value=1)])

    call = watch(tracking, run, seen=seen)

    assert [list(series.values) for series in next(call).series] == [[1.0]]
    call.cancel()


def test_a_watcher_gets_signs_of_life(tracking: Tracking, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivefold_tracking.watching._SIGN_OF_LIFE", 0.2)
    call = watch(tracking, run)

    assert [len(next(call).series) for _ in range(3)] == [0, 0, 0]
    call.cancel()


def test_a_server_that_stops_tells_its_watchers_and_streams(service: Running, tracking: Tracking, run: str) -> None:
    call = watch(tracking, run)
    next(call)
    stream = tracking.stub.LogMetrics(_open(header(run)))
    next(stream)

    drained = threading.Thread(target=service.server.drain)
    drained.start()

    for open_call in (call, stream):
        with pytest.raises(grpc.RpcError) as caught:
            list(open_call)
        assert errors.parse(caught.value)[0] == "SHUTTING_DOWN"
    drained.join()


def _open(first: pb.LogMetricsRequest) -> Iterator[pb.LogMetricsRequest]:
    yield first
    threading.Event().wait(120)


def test_a_run_that_is_not_there_cannot_be_watched(tracking: Tracking) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(tracking, "runs/" + "0" * 32))

    assert errors.parse(caught.value)[0] == "RESOURCE_NOT_FOUND"


def test_a_long_history_comes_in_parts(tracking: Tracking, run: str) -> None:
    for sequence in (1, 2):
        series = pb.MetricSeries(key="m", values=range(25_000), steps=range(25_000))
        list(tracking.stub.LogMetrics(iter([header(run, str(sequence)), message(1, series)])))

    sizes, values = [], []
    call = watch(tracking, run)
    for answer in call:
        sizes.append(sum(len(series.values) for series in answer.series))
        values += [value for series in answer.series for value in series.values]
        if len(values) == 50_000:
            break
    call.cancel()

    assert values == [*range(25_000), *range(25_000)]
    assert max(sizes) <= 20_000
