"""Messages of the contract to domain values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold_automl.metrics import METRICS
from fivefold_automl.names import TRAINING_SET, TrialName, job_name
from fivefold_automl.ray_cluster import ClusterState, RayCluster
from fivefold_automl.recorder import text_of
from fivefold_automl.spec import (
    DEFAULT_BUDGET_SECONDS,
    DEFAULT_VALIDATION_SHARE,
    LONGEST_BUDGET_SECONDS,
    JobSpec,
    Problem,
)
from fivefold_automl.store.records import JobRecord, JobState, TrialRecord, TrialState
from fivefold_runtime.validation import FieldInvalid

PROBLEM = {
    pb.PROBLEM_TYPE_CLASSIFICATION: Problem.CLASSIFICATION,
    pb.PROBLEM_TYPE_REGRESSION: Problem.REGRESSION,
}
METRIC = {
    pb.METRIC_TYPE_UNSPECIFIED: "",
    pb.METRIC_TYPE_ROC_AUC: "roc_auc",
    pb.METRIC_TYPE_LOG_LOSS: "log_loss",
    pb.METRIC_TYPE_ACCURACY: "accuracy",
    pb.METRIC_TYPE_F1: "f1",
    pb.METRIC_TYPE_RMSE: "rmse",
    pb.METRIC_TYPE_MAE: "mae",
    pb.METRIC_TYPE_R2: "r2",
}
JOB_STATE = {
    JobState.PENDING: pb.JOB_STATE_PENDING,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: pb.JOB_STATE_SUCCEEDED,
    JobState.FAILED: pb.JOB_STATE_FAILED,
    JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
}
TRIAL_STATE = {
    TrialState.RUNNING: pb.TRIAL_STATE_RUNNING,
    TrialState.FINISHED: pb.TRIAL_STATE_FINISHED,
    TrialState.FAILED: pb.TRIAL_STATE_FAILED,
    TrialState.STOPPED: pb.TRIAL_STATE_STOPPED,
}
CLUSTER_STATE = {
    ClusterState.STARTING: pb.CLUSTER_STATE_STARTING,
    ClusterState.READY: pb.CLUSTER_STATE_READY,
    ClusterState.UNAVAILABLE: pb.CLUSTER_STATE_UNAVAILABLE,
}
_PROBLEM_TO_WIRE = {problem: number for number, problem in PROBLEM.items()}
_METRIC_TO_WIRE = {metric: number for number, metric in METRIC.items()}


def spec_of(job: pb.Job, learners: Mapping[str, object]) -> JobSpec:
    """Returns what a job asks for, defaults filled in. Raises FieldInvalid, NameInvalid."""
    TRAINING_SET.parse(job.training_set, "job.training_set")
    problem = PROBLEM[job.problem_type]
    metric = METRIC[job.metric]
    if metric and METRICS[metric].problem is not problem:
        raise FieldInvalid.at("job.metric", f"is {metric}, which is no metric of {problem.value}", value=metric)
    if job.positive_class and problem is Problem.REGRESSION:
        raise FieldInvalid.at("job.positive_class", "is set, but a regression has no classes")
    for index, name in enumerate(job.exclude_learners):
        if name not in learners:
            known = ", ".join(sorted(learners))
            raise FieldInvalid.at(
                f"job.exclude_learners[{index}]", f"is {name!r}; the learners are {known}", value=name
            )
    if set(job.exclude_learners) >= set(learners):
        raise FieldInvalid.at("job.exclude_learners", "leaves no learner")
    return JobSpec(
        problem=problem,
        training_set=job.training_set,
        target=job.target,
        positive_class=job.positive_class,
        metric=metric,
        time_column=job.time_column,
        validation_share=job.validation_share or DEFAULT_VALIDATION_SHARE,
        exclude_columns=tuple(job.exclude_columns),
        exclude_learners=tuple(job.exclude_learners),
        budget_seconds=_budget(job),
        max_trials=job.max_trials,
        seed=job.seed,
        experiment=job.experiment,
    )


def job_to_wire(job: JobRecord) -> pb.Job:
    spec, counts = job.spec, job.counts
    message = pb.Job(
        name=job_name(job.id),
        problem_type=_PROBLEM_TO_WIRE[spec.problem],
        training_set=spec.training_set,
        target=spec.target,
        positive_class=spec.positive_class,
        metric=_METRIC_TO_WIRE[spec.metric],
        time_column=spec.time_column,
        validation_share=spec.validation_share,
        exclude_columns=spec.exclude_columns,
        exclude_learners=spec.exclude_learners,
        max_trials=spec.max_trials,
        seed=spec.seed,
        experiment=spec.experiment,
        state=JOB_STATE[job.state],
        error=job.error,
        error_reason=job.error_reason,
        warnings=job.warnings,
        run=job.run,
        best_trial=str(TrialName(job.id, job.best_trial)) if job.best_trial else "",
        best_score=job.best_score,
        trials_finished=counts.get(TrialState.FINISHED, 0),
        trials_failed=counts.get(TrialState.FAILED, 0) + counts.get(TrialState.STOPPED, 0),
        trials_running=counts.get(TrialState.RUNNING, 0),
        creator=job.creator,
        feature_spec=job.feature_spec,
        effective_metric=_METRIC_TO_WIRE[job.metric],
    )
    message.budget.FromNanoseconds(round(spec.budget_seconds * 1e9))
    _set(message.create_time, job.created)
    if job.started:
        _set(message.start_time, job.started)
    if job.ended:
        _set(message.end_time, job.ended)
    return message


def trial_to_wire(trial: TrialRecord) -> pb.Trial:
    message = pb.Trial(
        name=str(TrialName(trial.job, trial.number)),
        number=trial.number,
        state=TRIAL_STATE[trial.state],
        learner=trial.learner,
        params={param: text_of(value) for param, value in trial.params.items()},
        metrics=trial.metrics,
        score=trial.score or 0.0,
        run=trial.run if trial.logged else "",
        error=trial.error,
        ray_node=trial.ray_node,
        ray_worker=trial.ray_worker,
    )
    _set(message.start_time, trial.started)
    if trial.ended:
        _set(message.end_time, trial.ended)
    return message


def cluster_to_wire(cluster: RayCluster) -> pb.Cluster:
    message = pb.Cluster(state=CLUSTER_STATE[cluster.state], embedded=cluster.embedded, message=cluster.message)
    for node in cluster.nodes():
        message.nodes.add(id=node.id, cpus=node.cpus, alive=node.alive)
    return message


def _budget(job: pb.Job) -> float:
    if not job.HasField("budget"):
        return DEFAULT_BUDGET_SECONDS
    seconds = job.budget.seconds + job.budget.nanos / 1e9
    if not 1 <= seconds <= LONGEST_BUDGET_SECONDS:
        raise FieldInvalid.at(
            "job.budget", f"is {seconds:g} seconds; it must be from 1 to {LONGEST_BUDGET_SECONDS:g}", value=seconds
        )
    return seconds


def _set(field: Timestamp, moment: datetime) -> None:
    field.FromDatetime(moment)
