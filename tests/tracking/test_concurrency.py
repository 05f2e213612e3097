"""Many callers at once, on both databases: races end in the database, with one winner and whole results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import grpc

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import errors
from tests.tracking.client import Tracking

T = TypeVar("T")
CALLERS = 8


def at_once(work: Callable[[int], T], callers: int = CALLERS) -> list[T]:
    """Runs `work(0)`, `work(1)` … together; returns their results in order."""
    barrier = Barrier(callers)

    def one(index: int) -> T:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def outcome(call: Callable[[], object]) -> str:
    """Returns "" for success, else the reason."""
    try:
        call()
    except grpc.RpcError as error:
        return errors.parse(error)[0]
    return ""


def test_of_calls_that_ensure_one_experiment_one_makes_it_and_all_get_it(on_both: Tracking) -> None:
    for round_ in range(5):
        names = at_once(lambda _, name=f"round {round_}": on_both.experiment(name, allow_existing=True).name)
        assert len(set(names)) == 1, names

    every = on_both.stub.ListExperiments(pb.ListExperimentsRequest(view=pb.VIEW_ALL)).experiments
    assert len(every) == 5


def test_of_calls_that_create_one_display_name_one_wins(on_both: Tracking) -> None:
    for round_ in range(5):
        got = at_once(lambda _, name=f"round {round_}": outcome(lambda: on_both.experiment(name)))
        assert sorted(got) == [""] + ["RESOURCE_EXISTS"] * (CALLERS - 1)


def test_experiments_created_at_once_get_numbers_of_their_own(on_both: Tracking) -> None:
    names = at_once(lambda index: [on_both.experiment(f"{index} {turn}").name for turn in range(5)])

    assert len({name for each in names for name in each}) == CALLERS * 5


def test_of_renames_to_one_display_name_one_wins(on_both: Tracking) -> None:
    names = [on_both.experiment(f"before {index}").name for index in range(CALLERS)]

    def rename(index: int) -> str:
        asked = pb.Experiment(name=names[index], display_name="after")
        return outcome(lambda: on_both.stub.UpdateExperiment(pb.UpdateExperimentRequest(experiment=asked)))

    assert sorted(at_once(rename)) == [""] + ["RESOURCE_EXISTS"] * (CALLERS - 1)


def test_of_writers_with_one_etag_one_wins(on_both: Tracking) -> None:
    run = on_both.run(on_both.experiment().name)

    def update(index: int) -> str:
        asked = pb.Run(name=run.name, etag=run.etag, display_name=str(index))
        return outcome(lambda: on_both.stub.UpdateRun(pb.UpdateRunRequest(run=asked)))

    assert sorted(at_once(update)) == [""] + ["ETAG_MISMATCH"] * (CALLERS - 1)


def test_of_values_for_one_param_one_stands(on_both: Tracking) -> None:
    run = on_both.run(on_both.experiment().name).name

    got = at_once(
        lambda index: outcome(lambda: on_both.log(run, params={"depth": str(index)}, tags={"by": str(index)}))
    )

    assert sorted(got) == [""] + ["PARAM_CHANGED"] * (CALLERS - 1)
    now, winner = on_both.get(run), str(got.index(""))
    assert (now.params["depth"], now.tags["by"]) == (winner, winner)


def test_points_logged_at_once_are_all_kept_and_the_greatest_is_the_latest(on_both: Tracking) -> None:
    run = on_both.run(on_both.experiment().name).name

    def log(index: int) -> None:
        for step in range(10):
            keys = ["a", "b"] if index % 2 else ["b", "a"]
            on_both.log(run, [pb.Metric(key=key, value=index, step=step) for key in keys])

    at_once(log)

    assert [metric.step for metric in on_both.get(run).metrics] == [9, 9]
    for key in "ab":
        history = on_both.stub.ListMetricPoints(pb.ListMetricPointsRequest(run=run, key=key)).points
        assert len(history.values) == CALLERS * 10


def test_one_request_id_at_once_has_one_effect(on_both: Tracking) -> None:
    request = pb.CreateRunRequest(run=pb.Run(experiment=on_both.experiment().name), request_id="same")

    answers = at_once(lambda _: on_both.stub.CreateRun(request))

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert on_both.search("experiments/1").total_size == 1


def test_runs_that_log_the_same_datasets_at_once_all_have_them(on_both: Tracking) -> None:
    runs = [on_both.run(on_both.experiment(allow_existing=True).name).name for _ in range(CALLERS)]

    def log(index: int) -> None:
        inputs = [pb.DatasetInput(dataset=f"d{n}", digest="1", tags={"n": str(n)}) for n in range(5)]
        on_both.stub.LogInputs(pb.LogInputsRequest(run=runs[index], inputs=inputs if index % 2 else inputs[::-1]))

    at_once(log)

    assert all(len(on_both.get(run).inputs) == 5 for run in runs)


def test_equal_files_uploaded_at_once_are_all_there(on_both: Tracking) -> None:
    run = on_both.run(on_both.experiment().name).name
    data = b"the same bytes" * 1000

    at_once(lambda index: [on_both.upload(run, f"{index % 2}/{turn}", data) for turn in range(3)])

    assert on_both.artifacts(run, recursive=True) == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]
    assert all(on_both.download(run, path)[1] == data for path in on_both.artifacts(run, recursive=True))
