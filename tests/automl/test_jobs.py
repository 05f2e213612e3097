"""Jobs on real Ray: what a search does, records and survives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold.models import sklearn as flavor
from fivefold.tracking.v1 import tracking_pb2
from fivefold_automl.dataset import Source, material_of
from fivefold_automl.learners import LEARNERS
from fivefold_automl.metrics import evaluate_classes
from fivefold_automl.spec import JobSpec, Problem
from tests.automl.conftest import Service, refusal, table

TRIALS = 12

pytestmark = pytest.mark.timeout(240)  # The first test waits for Ray, and every job for a worker.


@dataclass(frozen=True)
class Watched:
    """A job that has ended, and what a watcher saw of its trials' states, by number."""

    job: pb.Job
    states: dict[int, list[int]]


def in_order(service: Service, job: pb.Job) -> list[pb.Trial]:
    return sorted(service.trials(job), key=lambda trial: trial.number)


@pytest.fixture(scope="module")
def training_set(service: Service) -> str:
    return service.peers.features.put(table(), labels=["y", "amount"])


@pytest.fixture(scope="module")
def finished(service: Service, training_set: str) -> pb.Job:
    """A job that tried every learner's guesses and then some."""
    return service.ended(service.job(training_set, max_trials=TRIALS, seed=7, experiment="flights"))


@pytest.fixture(scope="module")
def hindered(service: Service) -> Watched:
    """A regression that began while features were down, and whose trials ended while tracking was down."""
    features, tracking = service.peers.features, service.peers.tracking
    training_set = features.put(table().append_column("version", [["v1"] * 300]))
    job = service.job(
        training_set,
        problem_type=pb.PROBLEM_TYPE_REGRESSION,
        target="amount",
        exclude_columns=["y"],
        max_trials=4,
        learners=("linear", "decision_tree"),
    )
    features.down.set()
    tracking.down.set()
    code, reason, facts = refusal(service.job, training_set)
    assert (code, reason, facts["service"]) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "features")
    features.down.clear()
    states: dict[int, list[int]] = {}
    for message in service.stub.WatchJob(pb.WatchJobRequest(name=job.name), timeout=110):
        job = message.job
        for trial in message.trials:
            states.setdefault(trial.number, []).append(trial.state)
        if job.trials_finished == 4:
            tracking.down.clear()
    return Watched(job, states)


def test_a_job_ends_well_with_as_many_trials_as_it_may_have(finished: pb.Job) -> None:
    assert finished.state == pb.JOB_STATE_SUCCEEDED
    assert (finished.trials_finished, finished.trials_failed, finished.trials_running) == (TRIALS, 0, 0)
    assert finished.effective_metric == pb.METRIC_TYPE_ROC_AUC
    assert finished.feature_spec == "specs/things"
    assert finished.HasField("start_time") and finished.HasField("end_time")


def test_the_same_seed_gives_the_same_trials_on_one_worker(
    service: Service, training_set: str, finished: pb.Job
) -> None:
    again = service.ended(service.job(training_set, max_trials=TRIALS, seed=7))

    def facts(job: pb.Job) -> list[Any]:
        return [(trial.learner, dict(trial.params), trial.score) for trial in in_order(service, job)]

    assert facts(again) == facts(finished)
    assert {learner for learner, _, _ in facts(finished)} == set(LEARNERS)


def test_the_leaderboard_has_the_greatest_area_first(service: Service, finished: pb.Job) -> None:
    trials = service.trials(finished)
    scores = [trial.score for trial in trials]
    assert scores == sorted(scores, reverse=True)
    assert (finished.best_trial, finished.best_score) == (trials[0].name, trials[0].score)


def test_the_leaderboard_of_an_error_has_the_least_first(service: Service, hindered: Watched) -> None:
    scores = [trial.score for trial in service.trials(hindered.job)]
    assert hindered.job.effective_metric == pb.METRIC_TYPE_RMSE
    assert scores == sorted(scores)
    assert hindered.job.best_score == scores[0] < scores[-1]


def test_watching_tells_every_change_up_to_the_end(hindered: Watched) -> None:
    assert hindered.job.state == pb.JOB_STATE_SUCCEEDED
    assert sorted(hindered.states) == [1, 2, 3, 4]
    assert all(seen[-1] == pb.TRIAL_STATE_FINISHED for seen in hindered.states.values())
    assert any(pb.TRIAL_STATE_RUNNING in seen for seen in hindered.states.values())


def test_trials_reach_tracking_once_it_is_back(service: Service, hindered: Watched) -> None:
    runs = service.peers.tracking.nested(hindered.job.run)
    assert [run.name for run in runs] == [trial.run for trial in in_order(service, hindered.job)]
    assert len({run.name for run in runs}) == 4


def test_a_job_carries_its_warnings_and_leaves_the_columns_out(service: Service, hindered: Watched) -> None:
    assert list(hindered.job.warnings) == ["column 'version' is constant and is left out"]
    described = service.peers.tracking.package(service.trials(hindered.job)[0].run)["MLmodel"].decode()
    assert "name: number" in described
    assert "name: version" not in described and "name: y" not in described


def test_every_trial_ran_on_a_worker_of_the_cluster(service: Service, finished: pb.Job) -> None:
    cluster = service.stub.GetCluster(pb.GetClusterRequest())
    assert (cluster.state, cluster.embedded) == (pb.CLUSTER_STATE_READY, True)
    trials = service.trials(finished)
    assert {trial.ray_node for trial in trials} == {node.id for node in cluster.nodes}
    assert len({trial.ray_worker for trial in trials}) == 1


def test_every_trial_is_a_nested_run_with_all_that_is_known_of_it(service: Service, finished: pb.Job) -> None:
    runs = service.peers.tracking.nested(finished.run)
    for trial, run in zip(in_order(service, finished), runs, strict=True):
        assert run.name == trial.run
        assert run.status == tracking_pb2.RUN_STATUS_FINISHED
        assert dict(run.params) == {"learner": trial.learner, **trial.params}
        assert {metric.key: metric.value for metric in run.metrics} == dict(trial.metrics)
        assert run.tags["fivefold.ray_node"] == trial.ray_node
        assert run.tags["fivefold.ray_worker"] == trial.ray_worker
        described = service.peers.features.sets[finished.training_set]
        assert [(each.source, each.digest) for each in run.inputs] == [(described.name, described.digest)]
        assert "MLmodel" in service.peers.tracking.package(run.name)


@pytest.mark.timeout(60)
def test_the_parent_run_tells_the_jobs_settings_and_its_best_score(service: Service, finished: pb.Job) -> None:
    tracking = service.peers.tracking
    run = tracking.runs[finished.run]
    while run.status != tracking_pb2.RUN_STATUS_FINISHED:  # It is ended after the job, in the background.
        service.stub.GetJob(pb.GetJobRequest(name=finished.name))
    assert run.experiment == tracking.experiments["flights"]
    assert (run.params["target"], run.params["seed"]) == ("y", "7")
    assert {metric.key: metric.value for metric in run.metrics}["roc_auc"] == finished.best_score
    assert run.tags["fivefold.best_trial"] == finished.best_trial.rpartition("/")[2]


def test_an_uploaded_package_reaches_its_trials_score_on_raw_rows(
    service: Service, finished: pb.Job, tmp_path: Path
) -> None:
    data = service.peers.features.tables[finished.training_set]
    spec = JobSpec(problem=Problem.CLASSIFICATION, training_set=finished.training_set, target="y", seed=7)
    made = material_of(data, spec, Source("t", ("y", "amount"), None), finished.name)
    raw = data.to_pandas().iloc[made.dataset.valid]
    for trial in service.trials(finished)[:3]:
        folder = tmp_path / str(trial.number)
        folder.mkdir()
        for path, content in service.peers.tracking.package(trial.run).items():
            (folder / path).write_bytes(content)
        scores = evaluate_classes(made.dataset.target[made.dataset.valid], flavor.load(folder).predict_proba(raw))
        assert scores.items() <= dict(trial.metrics).items()


def test_registering_takes_the_best_model_with_its_lineage(service: Service, finished: pb.Job) -> None:
    request = pb.RegisterTrialRequest(job=finished.name, model="models/delays", description="d", request_id="once")
    answer = service.stub.RegisterTrial(request)
    assert service.stub.RegisterTrial(request) == answer
    assert answer.trial.name == finished.best_trial
    (version,) = service.peers.registry.versions["models/delays"]
    assert answer.model_version == version.name
    assert version.source == f"{answer.trial.run}/artifacts/model"
    assert version.description == "d"
    assert version.lineage.run == answer.trial.run
    assert version.lineage.training_set == finished.training_set
    assert version.lineage.job == finished.name
    assert list(version.lineage.table_versions) == ["tables/things/versions/3"]


def test_registering_another_trial_takes_that_one(service: Service, finished: pb.Job) -> None:
    other = service.trials(finished)[-1]
    request = pb.RegisterTrialRequest(job=finished.name, model="models/others", trial=other.name)
    assert service.stub.RegisterTrial(request).trial.name == other.name


def test_registering_while_the_registry_is_down_says_so(service: Service, finished: pb.Job) -> None:
    service.peers.registry.down.set()
    try:
        request = pb.RegisterTrialRequest(job=finished.name, model="models/unlucky")
        code, reason, facts = refusal(service.stub.RegisterTrial, request)
        assert (code, reason, facts["service"]) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "registry")
    finally:
        service.peers.registry.down.clear()


def test_a_job_that_has_ended_cannot_be_cancelled(service: Service, finished: pb.Job) -> None:
    code, reason, _ = refusal(service.stub.CancelJob, pb.CancelJobRequest(name=finished.name))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED")


def test_watching_a_job_that_has_ended_gives_all_of_it_once(service: Service, finished: pb.Job) -> None:
    (only,) = service.stub.WatchJob(pb.WatchJobRequest(name=finished.name))
    assert only.job.state == pb.JOB_STATE_SUCCEEDED
    assert [trial.number for trial in only.trials] == list(range(1, TRIALS + 1))


def test_a_failing_learner_fails_its_trials_only(service: Service, training_set: str) -> None:
    job = service.ended(service.job(training_set, max_trials=6, learners=("failing", "decision_tree")))
    trials = service.trials(job)
    failed = [trial for trial in trials if trial.state == pb.TRIAL_STATE_FAILED]
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert 1 <= len(failed) <= 3
    assert {trial.learner for trial in failed} == {"failing"}
    assert {trial.error for trial in failed} == {"failing raised ValueError"}
    assert trials[-len(failed) :] == failed
    assert (job.trials_finished, job.trials_failed) == (6 - len(failed), len(failed))
    runs = {run.name: run for run in service.peers.tracking.nested(job.run)}
    assert {runs[trial.run].status for trial in failed} == {tracking_pb2.RUN_STATUS_FAILED}


def test_a_job_without_any_result_fails_and_has_nothing_to_register(service: Service, training_set: str) -> None:
    job = service.ended(service.job(training_set, learners=("failing",)))
    assert (job.state, job.error_reason, job.best_trial) == (pb.JOB_STATE_FAILED, "NO_TRIAL", "")
    for trial in ("", f"{job.name}/trials/1"):
        request = pb.RegisterTrialRequest(job=job.name, model="models/none", trial=trial)
        code, reason, _ = refusal(service.stub.RegisterTrial, request)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_TRIAL")


def test_a_killed_worker_loses_its_running_trial_only(service: Service, training_set: str) -> None:
    job = service.ended(service.job(training_set, max_trials=4, learners=("killer", "decision_tree")))
    trials = in_order(service, job)
    (lost,) = [trial for trial in trials if trial.state == pb.TRIAL_STATE_STOPPED]
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert (lost.learner, lost.error, lost.score) == ("killer", "its worker was lost", 0.0)
    assert job.trials_finished == 4
    again = next(trial for trial in trials if trial.number == lost.number + 1)
    assert (again.learner, dict(again.params)) == (lost.learner, dict(lost.params))
    assert again.state == pb.TRIAL_STATE_FINISHED
    assert again.ray_worker != lost.ray_worker


def test_cancelling_keeps_the_best_so_far(service: Service, training_set: str) -> None:
    job = service.job(training_set, learners=("decision_tree", "slow"))
    last = pb.Job()
    asked = False
    for message in service.stub.WatchJob(pb.WatchJobRequest(name=job.name), timeout=100):
        last = message.job
        slow = [t for t in message.trials if t.learner == "slow" and t.state == pb.TRIAL_STATE_RUNNING]
        if slow and not asked:
            service.stub.CancelJob(pb.CancelJobRequest(name=job.name))
            asked = True
    assert last.state == pb.JOB_STATE_CANCELLED
    assert last.best_trial == f"{job.name}/trials/1"
    (stopped,) = [trial for trial in service.trials(last) if trial.state == pb.TRIAL_STATE_STOPPED]
    assert (stopped.learner, stopped.error) == ("slow", "cancelled")
    assert service.stub.RegisterTrial(pb.RegisterTrialRequest(job=job.name, model="models/early")).model_version


def test_cancelling_a_job_that_only_waits_for_tracking_still_cancels_it(service: Service, training_set: str) -> None:
    job = service.job(training_set, max_trials=1, learners=("decision_tree",))
    service.peers.tracking.down.set()
    try:
        for message in service.stub.WatchJob(pb.WatchJobRequest(name=job.name), timeout=100):
            if message.job.trials_finished == 1:
                break
        service.stub.CancelJob(pb.CancelJobRequest(name=job.name))
    finally:
        service.peers.tracking.down.clear()
    ended = service.ended(job)
    assert (ended.state, ended.best_trial) == (pb.JOB_STATE_CANCELLED, f"{job.name}/trials/1")


@pytest.mark.parametrize(
    ("column", "values", "reason", "words"),
    [
        ("y", ["same"] * 300, "TARGET_INVALID", "1 class"),
        ("y", [None] * 299 + ["a"], "DATA_INVALID", "1 rows have a target"),
    ],
)
def test_what_the_rows_tell_against_a_job_makes_it_fail_with_the_reason(
    service: Service, column: str, values: list[Any], reason: str, words: str
) -> None:
    data = table().drop_columns([column]).append_column(column, [values])
    job = service.ended(service.job(service.peers.features.put(data)))
    assert (job.state, job.error_reason) == (pb.JOB_STATE_FAILED, reason)
    assert words in job.error
    assert job.warnings == [] and job.trials_finished == 0
