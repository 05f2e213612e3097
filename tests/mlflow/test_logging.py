"""What runs log, beside MLflow's own store: a claim with `either` is true of both."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

from tests.mlflow.acting import dataset, refused, start


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
