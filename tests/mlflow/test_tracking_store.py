"""Experiments, runs and what they log, beside MLflow's own store: a claim with `either` is true of both."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from fivefold_mlflow.tracking import TrackingStore
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    SourceType,
    ViewType,
)
from mlflow.exceptions import MlflowException

NOBODY = "f" * 32  # a run that is not there


@pytest.fixture
def experiment(either: Any, name: str) -> str:
    made: str = either.create_experiment(name)
    return made


@pytest.fixture
def run(either: Any, experiment: str) -> str:
    return start(either, experiment)


def start(store: Any, experiment: str, run_name: str | None = None, **tags: str) -> str:
    pairs = [RunTag(key.replace("__", "."), value) for key, value in tags.items()]
    made: str = store.create_run(experiment, "ada", now(), pairs, run_name).info.run_id
    return made


def now() -> int:
    return int(time.time() * 1000)


def refused(call: Callable[[], Any], message: str, code: str) -> None:
    with pytest.raises(MlflowException, match=message) as raised:
        call()
    assert raised.value.error_code == code


# Experiments


def test_an_experiment_is_found_as_it_was_created(either: Any, name: str) -> None:
    number = either.create_experiment(name, tags=[ExperimentTag("k", "v"), ExperimentTag("a.b/c", "d e")])
    found = either.get_experiment(number)
    assert (found.experiment_id, found.name, found.tags) == (number, name, {"k": "v", "a.b/c": "d e"})
    assert (found.lifecycle_stage, found.creation_time) == ("active", found.last_update_time)
    assert either.get_experiment_by_name(name).experiment_id == number
    assert abs(found.creation_time - now()) < 60_000


def test_the_default_experiment_is_there_and_is_number_0(either: Any) -> None:
    found = either.get_experiment("0")
    assert (found.experiment_id, found.name, found.lifecycle_stage) == ("0", "Default", "active")
    assert either.get_experiment_by_name("Default").experiment_id == "0"
    assert "0" in [each.experiment_id for each in either.search_experiments()]
    run = either.create_run("0", "ada", now(), [], None)
    assert run.info.experiment_id == "0"
    assert run.info.run_id in [each.info.run_id for each in either.search_runs(["0"], "", ViewType.ACTIVE_ONLY)]
    refused(lambda: either.create_experiment("Default"), "already exists", "RESOURCE_ALREADY_EXISTS")


def test_a_name_that_is_taken_is_refused(either: Any, experiment: str, name: str) -> None:
    message = rf"Experiment\(name={name}\) already exists"
    refused(lambda: either.create_experiment(name), message, "RESOURCE_ALREADY_EXISTS")


@pytest.mark.parametrize("bad", ["", None, 7])
def test_a_name_is_text(either: Any, bad: Any) -> None:
    refused(lambda: either.create_experiment(bad), "Invalid experiment name", "INVALID_PARAMETER_VALUE")


def test_an_experiment_that_is_not_there_is_said_to_be_missing(either: Any) -> None:
    for call in (
        lambda: either.get_experiment("987654321"),
        lambda: either.delete_experiment("987654321"),
        lambda: either.rename_experiment("987654321", "x"),
        lambda: either.set_experiment_tag("987654321", ExperimentTag("k", "v")),
        lambda: either.create_run("987654321", "ada", 0, [], None),
    ):
        refused(call, "No Experiment with id=987654321 exists", "RESOURCE_DOES_NOT_EXIST")
    refused(lambda: either.get_experiment("x"), "Invalid experiment ID 'x'", "INVALID_PARAMETER_VALUE")
    assert either.get_experiment_by_name("no such experiment") is None


def test_an_experiment_is_deleted_with_its_runs_and_restored(either: Any, experiment: str, name: str) -> None:
    run = start(either, experiment)
    either.delete_experiment(experiment)
    assert either.get_experiment(experiment).lifecycle_stage == "deleted"
    assert either.get_experiment_by_name(name).lifecycle_stage == "deleted"
    assert either.get_run(run).info.lifecycle_stage == "deleted"
    refused(lambda: either.delete_experiment(experiment), "No Experiment with id=", "RESOURCE_DOES_NOT_EXIST")
    refused(lambda: either.rename_experiment(experiment, "x"), "Cannot rename a non-active", "INVALID_STATE")
    gone = f"The experiment {experiment} must be in the 'active' state. Current state is deleted."
    refused(lambda: start(either, experiment), gone, "INVALID_PARAMETER_VALUE")
    refused(lambda: either.set_experiment_tag(experiment, ExperimentTag("k", "v")), gone, "INVALID_PARAMETER_VALUE")
    refused(lambda: either.delete_experiment_tag(experiment, "k"), gone, "INVALID_PARAMETER_VALUE")
    either.restore_experiment(experiment)
    assert either.get_experiment(experiment).lifecycle_stage == "active"
    assert either.get_run(run).info.lifecycle_stage == "active"


def test_names_and_tags_of_an_experiment_change(either: Any, experiment: str, name: str) -> None:
    either.rename_experiment(experiment, f"{name} renamed")
    either.set_experiment_tag(experiment, ExperimentTag("mlflow.note.content", "a\nb"))
    either.set_experiment_tag(experiment, ExperimentTag("k", "1"))
    either.set_experiment_tag(experiment, ExperimentTag("k", "2"))
    found = either.get_experiment(experiment)
    assert (found.name, found.tags) == (f"{name} renamed", {"mlflow.note.content": "a\nb", "k": "2"})
    either.delete_experiment_tag(experiment, "k")
    assert either.get_experiment(experiment).tags == {"mlflow.note.content": "a\nb"}
    refused(lambda: either.delete_experiment_tag(experiment, "k"), "No tag with name: k", "RESOURCE_DOES_NOT_EXIST")
    refused(lambda: either.rename_experiment(experiment, ""), "Invalid experiment name", "INVALID_PARAMETER_VALUE")


def test_experiments_are_found_by_view_name_tags_and_order(either: Any, name: str) -> None:
    numbers = {}
    for suffix in ("a", "b", "c"):
        numbers[suffix] = either.create_experiment(f"{name}{suffix}", tags=[ExperimentTag("t", suffix * 2)])
        time.sleep(0.002)
    either.delete_experiment(numbers["b"])

    def found(view: int = ViewType.ACTIVE_ONLY, more: str = "", **rest: Any) -> list[str]:
        text = f"name LIKE '{name}%'{more}"
        return [each.name[-1] for each in either.search_experiments(view, filter_string=text, **rest)]

    assert found() == ["c", "a"]
    assert found(ViewType.DELETED_ONLY) == ["b"]
    assert found(ViewType.ALL) == ["c", "b", "a"]
    assert found(ViewType.ALL, order_by=["name ASC"]) == ["a", "b", "c"]
    assert found(ViewType.ALL, order_by=["experiment_id DESC"]) == ["c", "b", "a"]
    assert found(ViewType.ALL, order_by=["last_update_time DESC"]) == ["b", "c", "a"]
    assert found(ViewType.ALL, " AND tags.t = 'bb'") == ["b"]
    assert found(ViewType.ALL, " AND tag.t ILIKE 'A%'") == ["a"]
    assert found(ViewType.ALL, " AND attribute.creation_time > 0") == ["c", "b", "a"]
    times = {each.name[-1]: each.creation_time for each in map(either.get_experiment, numbers.values())}
    assert found(ViewType.ALL, f" AND creation_time >= {times['b']}") == ["c", "b"]
    assert found(ViewType.ALL, f" AND creation_time < {times['b']}") == ["a"]
    first = either.search_experiments(ViewType.ALL, 2, f"name LIKE '{name}%'")
    second = either.search_experiments(ViewType.ALL, 2, f"name LIKE '{name}%'", page_token=first.token)
    assert ([each.name[-1] for each in [*first, *second]], second.token) == (["c", "b", "a"], None)


@pytest.mark.parametrize("most", [None, 0, -1, 1_000_000])
def test_a_number_of_results_is_between_one_and_fifty_thousand(either: Any, most: Any) -> None:
    message = f"Invalid value {most} for parameter 'max_results' supplied"
    refused(lambda: either.search_experiments(max_results=most), message, "INVALID_PARAMETER_VALUE")


# Runs


def test_a_run_is_found_as_it_was_created(either: Any, experiment: str) -> None:
    made = either.create_run(experiment, "ada", 1_700_000_000_123, [RunTag("k", "v"), RunTag("n", "")], "first")
    assert re.fullmatch("[0-9a-f]{32}", made.info.run_id)
    assert (made.info.run_name, made.info.user_id, made.info.status) == ("first", "ada", "RUNNING")
    assert (made.info.start_time, made.info.end_time) == (1_700_000_000_123, None)
    assert made.data.tags == {"k": "v", "n": "", "mlflow.runName": "first"}
    location = either.get_experiment(experiment).artifact_location
    assert made.info.artifact_uri == f"{location}/{made.info.run_id}/artifacts"
    found = either.get_run(made.info.run_id)
    assert dict(found.info) == dict(made.info)
    assert (found.data.tags, found.data.params, found.data.metrics) == (made.data.tags, {}, {})
    assert found.inputs.dataset_inputs == found.outputs.model_outputs == []


def test_a_run_has_a_name(either: Any, experiment: str) -> None:
    unnamed = either.create_run(experiment, "ada", now(), [], None)
    assert unnamed.info.run_name == unnamed.data.tags["mlflow.runName"] != ""
    tagged = either.create_run(experiment, "ada", now(), [RunTag("mlflow.runName", "by tag")], None)
    assert tagged.info.run_name == "by tag"
    refused(
        lambda: either.create_run(experiment, "ada", now(), [RunTag("mlflow.runName", "a")], "b"),
        r"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values",
        "INVALID_PARAMETER_VALUE",
    )


def test_a_run_that_is_not_there_is_said_to_be_missing(either: Any) -> None:
    for missing in (NOBODY, "nonsense"):
        for call in (
            lambda missing=missing: either.get_run(missing),
            lambda missing=missing: either.update_run_info(missing, RunStatus.FINISHED, 1, "x"),
            lambda missing=missing: either.delete_run(missing),
            lambda missing=missing: either.restore_run(missing),
            lambda missing=missing: either.log_metric(missing, Metric("m", 1.0, 1, 0)),
            lambda missing=missing: either.log_param(missing, Param("p", "1")),
            lambda missing=missing: either.set_tag(missing, RunTag("t", "1")),
            lambda missing=missing: either.delete_tag(missing, "t"),
            lambda missing=missing: either.log_batch(missing, [Metric("m", 1.0, 1, 0)], [], []),
            lambda missing=missing: either.log_inputs(missing, [dataset()]),
        ):
            refused(call, f"Run with id={missing} not found", "RESOURCE_DOES_NOT_EXIST")


def test_a_run_ends_and_gets_another_name(either: Any, run: str) -> None:
    ended = either.update_run_info(run, RunStatus.FINISHED, 1_700_000_000_999, "renamed")
    assert (ended.status, ended.end_time, ended.run_name) == ("FINISHED", 1_700_000_000_999, "renamed")
    found = either.get_run(run)
    assert (found.info.end_time, found.data.tags["mlflow.runName"]) == (1_700_000_000_999, "renamed")
    either.set_tag(run, RunTag("mlflow.runName", "by tag"))
    assert either.get_run(run).info.run_name == "by tag"
    either.log_batch(run, [], [], [RunTag("mlflow.runName", "by batch"), RunTag("k", "v")])
    found = either.get_run(run)
    assert (found.info.run_name, found.data.tags["mlflow.runName"], found.data.tags["k"]) == (
        "by batch",
        "by batch",
        "v",
    )
    assert (found.info.status, found.info.end_time) == ("FINISHED", 1_700_000_000_999)
    assert either.update_run_info(run, RunStatus.FAILED, None, None).status == "FAILED"


def test_a_run_that_ended_takes_everything_still(either: Any, run: str) -> None:
    either.update_run_info(run, RunStatus.FINISHED, now(), None)
    either.log_metric(run, Metric("m", 1.0, now(), 0))
    either.log_batch(run, [Metric("n", 2.0, now(), 0)], [Param("p", "1")], [RunTag("t", "1")])
    found = either.get_run(run).data
    assert (found.metrics, found.params, found.tags["t"]) == ({"m": 1.0, "n": 2.0}, {"p": "1"}, "1")


def test_a_deleted_run_takes_nothing_and_comes_back(either: Any, run: str) -> None:
    either.delete_run(run)
    either.delete_run(run)
    assert either.get_run(run).info.lifecycle_stage == "deleted"
    gone = f"The run {run} must be in the 'active' state. Current state is deleted."
    for call in (
        lambda: either.log_metric(run, Metric("m", 1.0, 1, 0)),
        lambda: either.log_param(run, Param("p", "1")),
        lambda: either.set_tag(run, RunTag("t", "1")),
        lambda: either.log_batch(run, [], [], [RunTag("t", "1")]),
        lambda: either.update_run_info(run, RunStatus.FINISHED, 1, None),
        lambda: either.log_inputs(run, [dataset()]),
        lambda: either.delete_tag(run, "mlflow.runName"),
    ):
        refused(call, gone, "INVALID_PARAMETER_VALUE")
    either.restore_run(run)
    either.restore_run(run)
    either.set_tag(run, RunTag("t", "1"))
    assert either.get_run(run).info.lifecycle_stage == "active"


def test_the_tags_of_mlflow_are_kept_and_are_fields_of_a_run_of_ours(store: TrackingStore, name: str) -> None:
    from fivefold.tracking.v1 import tracking_pb2 as pb

    experiment = store.create_experiment(name)
    parent = start(store, experiment)
    tags = {
        "mlflow.user": "ada",
        "mlflow.source.name": "train.py",
        "mlflow.source.type": SourceType.to_string(SourceType.LOCAL),
        "mlflow.source.git.commit": "a" * 40,
        "mlflow.source.git.repoURL": "git@example:repo",
        "mlflow.project.entryPoint": "main",
        "mlflow.parentRunId": parent,
        "mlflow.note.content": "a *note*",
    }
    made = store.create_run(experiment, "ada", now(), [RunTag(*pair) for pair in tags.items()], "child")
    assert made.data.tags == tags | {"mlflow.runName": "child"}
    ours: pb.Run = store._tracking.ask("GetRun", pb.GetRunRequest(name=f"runs/{made.info.run_id}"))
    assert (ours.display_name, ours.user, ours.parent_run) == ("child", "ada", f"runs/{parent}")
    assert (ours.source.name, ours.source.type) == ("train.py", pb.SOURCE_TYPE_LOCAL)
    assert (ours.source.git_commit, ours.source.git_repo, ours.source.entry_point) == (
        "a" * 40,
        "git@example:repo",
        "main",
    )
    filters = [f"tags.mlflow.parentRunId = '{parent}'", "tags.`mlflow.source.name` = 'train.py'"]
    for text in filters:
        assert len(store.search_runs([experiment], text, ViewType.ACTIVE_ONLY)) == 1


def test_a_run_of_ours_has_the_tags_of_mlflow(store: TrackingStore, name: str) -> None:
    from fivefold.tracking.v1 import tracking_pb2 as pb

    experiment = store.create_experiment(name)
    source = pb.Source(type=pb.SOURCE_TYPE_JOB, name="jobs/1", git_commit="abc")
    new = pb.Run(experiment=f"experiments/{experiment}", display_name="ours", user="bob", source=source)
    made = store._tracking.change("CreateRun", pb.CreateRunRequest(run=new))
    found = store.get_run(made.name.removeprefix("runs/"))
    assert found.data.tags == {
        "mlflow.runName": "ours",
        "mlflow.user": "bob",
        "mlflow.source.type": "JOB",
        "mlflow.source.name": "jobs/1",
        "mlflow.source.git.commit": "abc",
    }


def test_a_parent_that_is_not_there_is_a_tag_only(either: Any, experiment: str) -> None:
    for parent in (NOBODY, "nonsense"):
        run = start(either, experiment, mlflow__parentRunId=parent)
        assert either.get_run(run).data.tags["mlflow.parentRunId"] == parent


# What runs log


def test_the_latest_value_of_a_metric_is_told_and_its_history_kept(either: Any, run: str) -> None:
    points = [(1.0, 1000, 0), (3.0, 2000, 2), (2.0, 2000, 1), (-0.5, 3000, 2)]
    for value, at, step in points:
        either.log_metric(run, Metric("loss/val", value, at, step))
    assert either.get_run(run).data.metrics == {"loss/val": -0.5}
    history = either.get_metric_history(run, "loss/val")
    assert sorted((each.value, each.timestamp, each.step) for each in history) == sorted(points)
    assert {each.key for each in history} == {"loss/val"}
    assert list(either.get_metric_history(run, "nothing")) == []


def test_metrics_may_be_no_numbers(either: Any, run: str) -> None:
    either.log_batch(run, [Metric("nan", math.nan, 1, 0), Metric("inf", math.inf, 1, 0)], [], [])
    either.log_metric(run, Metric("low", -math.inf, 1, 0))
    found = either.get_run(run).data.metrics
    assert math.isnan(found["nan"])
    assert found["inf"] >= 1.7976931348623157e308
    assert found["low"] <= -1.7976931348623157e308
    assert math.isnan(either.get_metric_history(run, "nan")[0].value)


def test_a_point_that_comes_twice_is_one_point(either: Any, run: str) -> None:
    point, nan = Metric("m", 1.0, 1000, 1), Metric("m", math.nan, 1000, 1)
    either.log_batch(run, [point, point, nan], [], [])
    either.log_batch(run, [point, Metric("m", 2.0, 1000, 1), nan], [], [])
    either.log_metric(run, point)
    values = [each.value for each in either.get_metric_history(run, "m")]
    assert sorted(value for value in values if not math.isnan(value)) == [1.0, 2.0]
    assert len(values) == 3


def test_histories_come_page_by_page(either: Any, run: str) -> None:
    either.log_batch(run, [Metric("m", float(i), 1000 + i, i) for i in range(25)], [], [])
    seen, token = [], None
    while True:
        page = either.get_metric_history(run, "m", max_results=10, page_token=token)
        seen.append([each.step for each in page])
        token = page.token
        if not token:
            break
    assert seen == [list(range(10)), list(range(10, 20)), list(range(20, 25))]
    assert len(either.get_metric_history(run, "m")) == 25
    assert list(either.get_metric_history(run, "m", max_results=0)) == []
    with pytest.raises(MlflowException, match="Invalid page token"):
        either.get_metric_history(run, "m", page_token="invalid_token")


def test_curves_of_several_runs_are_thinned_out(either: Any, experiment: str) -> None:
    runs = [start(either, experiment) for _ in range(2)]
    for run in runs:
        either.log_batch(run, [Metric("m", float(i), 1000 + i, i) for i in range(500)], [], [])
    found = either.get_metric_history_bulk_interval(runs, "m", 20, None, None)
    for run in runs:
        steps = [each.step for each in found if each.run_id == run]
        assert 10 <= len(steps) <= 20
        assert (steps[0], steps[-1], steps) == (0, 499, sorted(steps))
    ten = either.get_metric_history_bulk_interval(runs[:1], "m", 10, None, None)
    assert len(ten) == 10
    one = either.get_metric_history_bulk_interval(runs[:1], "m", 1, None, None)
    assert [each.step for each in one] == [499]
    window = either.get_metric_history_bulk_interval(runs[:1], "m", 320, 100, 110)
    assert [each.step for each in window] == list(range(100, 111))
    at = either.get_metric_history_bulk_interval_from_steps(runs[0], "m", [3, 400, 7], 10)
    assert [(each.step, each.value) for each in at] == [(3, 3.0), (7, 7.0), (400, 400.0)]
    assert either.get_max_step_for_metric(runs[0], "m") == 499
    bulk = either.get_metric_history_bulk(runs, "m", 700)
    assert [sum(each.run_id == run for each in bulk) for run in sorted(runs)] == [500, 200]
    refused(
        lambda: either.get_metric_history_bulk_interval(runs, "m", 5, 1, None),
        "Both start_step and end_step must be specified together",
        "INVALID_PARAMETER_VALUE",
    )


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Metric(None, 1.0, 1, 0), "Metric name cannot be None. A key name must be provided."),
        (Metric("a?", 1.0, 1, 0), "Names may only contain alphanumerics"),
        (Metric("a//b", 1.0, 1, 0), "Names may be treated as files in certain cases"),
        (Metric("../a", 1.0, 1, 0), "Names may be treated as files in certain cases"),
        (Metric("m", None, 1, 0), "Missing value for required parameter 'value'"),
        (Metric("m", "x", 1, 0), "Please specify value as a valid double"),
        (Metric("m", True, 1, 0), "Please specify value as a valid double"),
        (Metric("m", 1.0, -1, 0), "Timestamp must be a nonnegative long"),
        (Metric("m", 1.0, None, 0), "Timestamp must be a nonnegative long"),
        (Metric("m", 1.0, 1, "x"), "Step must be a valid long"),
        (Metric("m" * 251, 1.0, 1, 0), "'Metric name' exceeds the maximum length of 250 characters"),
    ],
)
def test_a_metric_that_makes_no_sense_is_refused(either: Any, run: str, metric: Metric, message: str) -> None:
    refused(lambda: either.log_metric(run, metric), re.escape(message), "INVALID_PARAMETER_VALUE")
    refused(
        lambda: either.log_batch(run, [Metric("ok", 1.0, 1, 0), metric], [], []),
        re.escape(message.replace("parameter 'value'", "parameter 'metrics[1].value'")),
        "INVALID_PARAMETER_VALUE",
    )
    assert either.get_run(run).data.metrics == {}


def test_a_param_is_written_once(either: Any, run: str) -> None:
    either.log_param(run, Param("depth", "4"))
    either.log_param(run, Param("depth", "4"))
    refused(
        lambda: either.log_param(run, Param("depth", "5")),
        r"Changing param values is not allowed. Param with key='depth' was already logged with value='4' "
        rf"for run ID='{run}'. Attempted logging new value '5'",
        "INVALID_PARAMETER_VALUE",
    )
    refused(
        lambda: either.log_batch(run, [], [Param("new", "1"), Param("depth", "6")], []),
        "Changing param values is not allowed. Params were already logged="
        + re.escape("'[{'key': 'depth', 'old_value': '4', 'new_value': '6'}]'"),
        "INVALID_PARAMETER_VALUE",
    )
    assert either.get_run(run).data.params == {"depth": "4"}


def test_params_and_tags_have_limits(either: Any, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    for call, message in (
        (lambda: either.log_param(run, Param("p" * 251, "1")), "exceeds the maximum length of 250"),
        (lambda: either.log_param(run, Param("p", "1" * 6001)), "exceeds the maximum length of 6000"),
        (lambda: either.log_param(run, Param("a\\b", "1")), "Names may only contain alphanumerics"),
        (lambda: either.set_tag(run, RunTag("t", "1" * 8001)), "exceeds the maximum length of 8000"),
        (lambda: either.set_tag(run, RunTag("/t", "1")), "Names may be treated as files"),
        (
            lambda: either.log_batch(run, [], [Param("p", "1"), Param("p", "2")], []),
            r"Duplicate parameter keys have been submitted: \['p'\]",
        ),
        (
            lambda: either.log_batch(run, [], [Param(f"p{i}", "1") for i in range(101)], []),
            "A batch logging request can contain at most 100 params. Got 101 params.",
        ),
        (
            lambda: either.log_batch(run, [Metric(f"m{i}", 1.0, 1, 0) for i in range(1001)], [], []),
            "A batch logging request can contain at most 1000 metrics. Got 1001 metrics.",
        ),
        (
            lambda: either.log_batch(run, [Metric(f"m{i}", 1.0, 1, 0) for i in range(1000)], [Param("p", "1")], []),
            "A batch logging request can contain at most 1000 metrics, params, and tags. Got 1001",
        ),
    ):
        refused(call, message, "INVALID_PARAMETER_VALUE")
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "true")
    either.log_param(run, Param("p", "1" * 6001))
    either.set_tag(run, RunTag("t", "1" * 8001))
    found = either.get_run(run).data
    assert (len(found.params["p"]), len(found.tags["t"])) == (6000, 8000)


def test_a_batch_is_written_whole(either: Any, run: str) -> None:
    metrics = [Metric(f"m{i}", float(i), 1000 + i, i) for i in range(200)]
    params = [Param(f"p{i}", str(i)) for i in range(100)]
    tags = [RunTag(f"t{i}", str(i)) for i in range(99)] + [RunTag("t0", "again")]
    either.log_batch(run, metrics, params, tags)
    found = either.get_run(run).data
    assert found.metrics == {each.key: each.value for each in metrics}
    assert found.params == {each.key: each.value for each in params}
    assert {key: found.tags[key] for key in ("t0", "t98")} == {"t0": "again", "t98": "98"}
    either.log_batch(run, [], [], [])


def test_tags_are_overwritten_and_deleted(either: Any, run: str) -> None:
    either.set_tag(run, RunTag("k", "1"))
    either.set_tag(run, RunTag("k", "2"))
    assert either.get_run(run).data.tags["k"] == "2"
    either.delete_tag(run, "k")
    assert "k" not in either.get_run(run).data.tags
    refused(lambda: either.delete_tag(run, "k"), f"No tag with name: k in run with id {run}", "RESOURCE_DOES_NOT_EXIST")


def dataset(name: str = "train", digest: str = "d1", **tags: str) -> DatasetInput:
    what = Dataset(name, digest, "local", '{"uri": "a.csv"}', schema='{"x": "long"}', profile='{"rows": 3}')
    return DatasetInput(what, [InputTag(key.replace("__", "."), value) for key, value in tags.items()])


def test_datasets_are_inputs_of_a_run(either: Any, experiment: str) -> None:
    run = start(either, experiment)
    either.log_inputs(run, [dataset(mlflow__data__context="training"), dataset("test", "d2")])
    used = sorted(either.get_run(run).inputs.dataset_inputs, key=lambda each: each.dataset.name)
    assert [each.dataset.name for each in used] == ["test", "train"]
    train = used[1]
    assert dict(train.dataset) == dict(dataset().dataset)
    assert [(tag.key, tag.value) for tag in train.tags] == [("mlflow.data.context", "training")]

    def found(text: str) -> list[str]:
        return [each.info.run_id for each in either.search_runs([experiment], text, ViewType.ACTIVE_ONLY)]

    assert found("dataset.name = 'train'") == found("datasets.digest = 'd2'") == [run]
    assert found("dataset.context = 'training'") == [run]
    assert found("dataset.name = 'other'") == []
    summary = either._search_datasets([experiment])
    assert sorted((each.name, each.digest, each.context) for each in summary) == [
        ("test", "d2", None),
        ("train", "d1", "training"),
    ]


def test_a_dataset_without_a_name_is_refused(either: Any, run: str) -> None:
    with pytest.raises(TypeError, match="should be a list"):
        either.log_inputs(run, dataset())
    refused(lambda: either.log_inputs(run, [dataset(None)]), "Dataset name cannot be None", "INVALID_PARAMETER_VALUE")


# Searches


@pytest.fixture
def grid(either: Any, experiment: str) -> tuple[str, dict[str, str]]:
    """Four runs that differ: name, and their ids by name."""
    runs = {}
    for place, (label, loss, depth, team) in enumerate(
        [("a", 0.5, "4", "x"), ("b", 0.25, "10", "y"), ("c", math.nan, "7", "x"), ("d", None, None, None)]
    ):
        tags = [RunTag("team", team)] if team else []
        run = either.create_run(experiment, "ada", 1_700_000_000_000 + place, tags, label).info.run_id
        metrics = [] if loss is None else [Metric("loss", loss, 1, 0), Metric("val/auc", 1 - (loss or 0), 1, 0)]
        either.log_batch(run, metrics, [Param("depth", depth)] if depth else [], [])
        runs[label] = run
    either.update_run_info(runs["b"], RunStatus.FAILED, 1_700_000_009_000, None)
    return experiment, runs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "dcba"),
        ("metrics.loss < 0.4", "b"),
        ("metric.loss >= 0.25", "ba"),
        ("metrics.`val/auc` > 0.6", "b"),
        ('metrics."val/auc" = 0.5', "a"),
        ("params.depth = '10'", "b"),
        ("param.depth != '10'", "ca"),
        ("params.depth LIKE '1%'", "b"),
        ("parameters.depth ILIKE '%'", "cba"),
        ("params.depth IS NULL", "d"),
        ("params.depth IS NOT NULL", "cba"),
        ("tags.team = 'x'", "ca"),
        ("tag.team != 'x'", "b"),
        ("tags.team IS NULL", "d"),
        ("tags.team = 'x' AND params.depth = '7'", "c"),
        ("attributes.status = 'FAILED'", "b"),
        ("status != 'FAILED'", "dca"),
        ("attributes.start_time > 1700000000001", "dc"),
        ("attribute.end_time = 1700000009000", "b"),
        ("run_name = 'a'", "a"),
        ("attributes.`run name` = 'a'", "a"),
        ("run.run_name LIKE '%'", "dcba"),
        ("tags.mlflow.runName = 'b'", "b"),
        ("attributes.user_id = 'ada'", "dcba"),
        ("created > 1700000000002", "d"),
    ],
)
def test_runs_are_found_by_what_they_logged(either: Any, grid: Any, text: str, expected: str) -> None:
    experiment, _ = grid
    found = either.search_runs([experiment], text, ViewType.ACTIVE_ONLY)
    assert "".join(each.info.run_name for each in found) == expected


def test_runs_are_found_by_lists_of_ids(either: Any, grid: Any) -> None:
    experiment, runs = grid
    wanted = f"attributes.run_id IN ('{runs['a']}', '{runs['c']}')"
    assert "".join(each.info.run_name for each in either.search_runs([experiment], wanted, ViewType.ALL)) == "ca"
    wanted = wanted.replace("IN", "NOT IN")
    assert "".join(each.info.run_name for each in either.search_runs([experiment], wanted, ViewType.ALL)) == "db"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (["metrics.loss"], "bacd"),
        (["metrics.loss DESC"], "abcd"),
        (["metrics.`val/auc` DESC", "start_time"], "bacd"),
        (["params.depth"], "bacd"),
        (["params.depth DESC"], "cabd"),
        (["tags.team DESC", "attributes.start_time ASC"], "bacd"),
        (["start_time"], "abcd"),
        (["attributes.start_time DESC"], "dcba"),
        (["attribute.run_name DESC"], "dcba"),
        (["status", "start_time"], "bacd"),
        (["Created"], "abcd"),
    ],
)
def test_runs_come_in_the_order_asked_for(either: Any, grid: Any, order: list[str], expected: str) -> None:
    experiment, _ = grid
    found = either.search_runs([experiment], "", ViewType.ACTIVE_ONLY, order_by=order)
    assert "".join(each.info.run_name for each in found) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss < 'x'",
        "metrics.loss LIKE 'x'",
        "params.depth",
        "nothing.x = 'y'",
        "attributes.nothing = 'y'",
        "metrics.loss >",
        "params.depth = '4",
        "attributes.start_time LIKE 'x'",
        "dataset.nothing = 'x'",
    ],
)
def test_a_filter_with_a_mistake_is_refused(either: Any, grid: Any, text: str) -> None:
    refused(lambda: either.search_runs([grid[0]], text, ViewType.ACTIVE_ONLY), "", "INVALID_PARAMETER_VALUE")


def test_a_page_token_of_elsewhere_is_refused(either: Any, grid: Any) -> None:
    refused(
        lambda: either.search_runs([grid[0]], "", ViewType.ALL, 3, page_token="evilhax"),
        "Invalid page token, could not base64-decode",
        "INVALID_PARAMETER_VALUE",
    )


def test_runs_that_started_at_once_come_by_id(either: Any, experiment: str) -> None:
    runs = sorted(either.create_run(experiment, "ada", 10, [], None).info.run_id for _ in range(8))
    found = either.search_runs([experiment], None, ViewType.ALL, max_results=None)
    assert ([each.info.run_id for each in found], found.token) == (runs, None)


@pytest.mark.parametrize("order", ["metrics.loss down", "nothing.x", "attributes.nothing", "datasets.name"])
def test_an_order_with_a_mistake_is_refused(either: Any, grid: Any, order: str) -> None:
    with pytest.raises(MlflowException, match="Invalid"):
        either.search_runs([grid[0]], "", ViewType.ACTIVE_ONLY, order_by=[order])


def test_ours_alone_knows_or_not_parentheses_and_numbers_in_params(store: TrackingStore, name: str) -> None:
    experiment = store.create_experiment(name)
    for depth in ("4", "10", "x"):
        store.log_param(start(store, experiment, depth), Param("depth", depth))
    text = "(params.depth > 5 OR params.depth = 'x') AND NOT attributes.run_name = 'y'"
    found = store.search_runs([experiment], text, ViewType.ACTIVE_ONLY, order_by=["start_time"])
    assert sorted(each.info.run_name for each in found) == ["10", "x"]


def test_runs_come_page_by_page_and_by_view(either: Any, grid: Any) -> None:
    experiment, runs = grid
    first = either.search_runs([experiment], "", ViewType.ACTIVE_ONLY, 3)
    second = either.search_runs([experiment], "", ViewType.ACTIVE_ONLY, 30, page_token=first.token)
    assert ["".join(each.info.run_name for each in page) for page in (first, second)] == ["dcb", "a"]
    assert second.token is None
    either.delete_run(runs["c"])
    views = {}
    for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL):
        views[view] = "".join(each.info.run_name for each in either.search_runs([experiment], "", view))
    assert list(views.values()) == ["dba", "c", "dcba"]
    assert list(either.search_runs([], "", ViewType.ALL)) == []
    assert list(either.search_runs(["987654321"], "", ViewType.ALL)) == []


def test_a_page_may_have_more_runs_than_a_page_of_ours(store: TrackingStore, name: str) -> None:
    from fivefold_mlflow import base

    experiment = store.create_experiment(name)
    runs = [start(store, experiment) for _ in range(7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PAGE", 2)
        first = store.search_runs([experiment], "", ViewType.ALL, 5)
        second = store.search_runs([experiment], "", ViewType.ALL, 5, page_token=first.token)
    assert (len(first), len(second), second.token) == (5, 2, None)
    assert {each.info.run_id for each in [*first, *second]} == set(runs)
