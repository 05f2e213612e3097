"""Experiments beside MLflow's own store: a claim with `either` is true of both."""

from __future__ import annotations

import time
from typing import Any

import pytest
from mlflow.entities import ExperimentTag, ViewType

from tests.mlflow.acting import now, refused, start


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
