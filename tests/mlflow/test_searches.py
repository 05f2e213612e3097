"""Searches of runs, beside MLflow's own store: a claim with `either` is true of both."""

from __future__ import annotations

import math
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException

from fivefold_mlflow.tracking import TrackingStore
from tests.mlflow.acting import refused, start


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
