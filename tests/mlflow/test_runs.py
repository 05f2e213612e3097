"""Runs, from their start to their end, beside MLflow's own store: a claim with `either` is true of both."""

from __future__ import annotations

import re
from typing import Any

from mlflow.entities import Metric, Param, RunStatus, RunTag, SourceType, ViewType

from fivefold_mlflow.tracking import TrackingStore
from tests.mlflow.acting import NOBODY, dataset, now, refused, start


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
