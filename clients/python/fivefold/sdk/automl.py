"""Searches for a good model: start a job, watch its trials, register the best.

job = client.automl.classify(training_set=training, target="late", minutes=5)
for state, trials in job.watch():
    ...
version = job.register("flight-late")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold.automl.v1.automl_pb2_grpc import AutoMLServiceStub
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.names import full
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.times import to_duration
from fivefold.sdk.transport import FOREVER, Transport, request_id

if TYPE_CHECKING:
    from fivefold.sdk.features import TrainingSet

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, repr=False)
class Trial(Record):
    """One model that was tried."""

    name: str
    number: int
    state: str
    learner: str
    params: dict[str, str]
    metrics: dict[str, float]
    score: float
    run: str
    error: str
    ray_node: str
    ray_worker: str
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True, repr=False)
class Node(Record):
    """One node of the Ray cluster."""

    id: str
    cpus: float
    alive: bool


@dataclass(frozen=True, repr=False)
class Cluster(Record):
    """The Ray cluster that trials run on: STARTING, READY or UNAVAILABLE."""

    state: str
    embedded: bool
    nodes: tuple[Node, ...]
    message: str


@dataclass(frozen=True, repr=False)
class Job(Record):
    """One search, as it was when it was read; `refresh` reads it again."""

    name: str
    problem_type: str
    training_set: str
    target: str
    positive_class: str
    metric: str
    effective_metric: str
    time_column: str
    exclude_columns: tuple[str, ...]
    exclude_learners: tuple[str, ...]
    budget: Any
    max_trials: int
    seed: int
    experiment: str
    state: str
    error: str
    warnings: tuple[str, ...]
    run: str
    best_trial: str
    trials_finished: int
    trials_failed: int
    trials_running: int
    feature_spec: str
    creator: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    _automl: AutoML = field(repr=False, compare=False)

    def refresh(self) -> Job:
        """Returns the job as it is now."""
        return self._automl.get_job(self.name)

    def watch(self) -> Iterator[tuple[Job, Listing[Trial]]]:
        """Yields (the job, trials that are new or changed), all trials first, until the job has ended.

        Goes on when the service is restarted meanwhile.
        """
        return self._automl.watch(self.name)

    def wait(self) -> Job:
        """Returns the job when it has ended, well or not: look at `state` and `error`."""
        last = self
        for state, _ in self.watch():
            last = state
        return last

    def trials(self) -> Listing[Trial]:
        """Lists all trials, best first."""
        return self._automl.trials(self.name)

    @property
    def best(self) -> Trial | None:
        """The best trial so far; None before the first has finished."""
        best = self.trials()[:1]
        return best[0] if best and best[0].state == "FINISHED" else None

    def cancel(self) -> Job:
        """Stops the job early; the best so far counts. Raises FailedPrecondition (JOB_ENDED)."""
        return self._automl.cancel(self.name)

    def register(self, model: str, *, trial: str = "", description: str = "") -> str:
        """Registers a trial's model (the best one's, unless another is named) as the next version of `model`.

        Returns the version's name. Raises FailedPrecondition (NO_TRIAL).
        """
        return self._automl.register(self.name, model, trial=trial, description=description)


class AutoML:
    """The automl service. Jobs and training sets are named short or long."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(AutoMLServiceStub)

    def classify(
        self,
        *,
        training_set: str | TrainingSet,
        target: str,
        minutes: float = 5.0,
        metric: str = "",
        positive_class: str = "",
        time_column: str = "",
        validation_share: float = 0.0,
        exclude_columns: Sequence[str] = (),
        exclude_learners: Sequence[str] = (),
        max_trials: int = 0,
        seed: int = 0,
        experiment: str = "",
    ) -> Job:
        """Starts a search for a model that tells classes apart.

        minutes           wall time for the search
        metric            "roc_auc", "log_loss", "accuracy" or "f1"; "": roc_auc for two classes, log_loss for more
        positive_class    for two classes, as text; "": the greater one
        time_column       the latest rows by it validate, and it is no input; "": a random, stratified choice
        validation_share  share of rows that validate; 0: 0.2
        max_trials        0: as many as the time allows
        experiment        display name; "": one named after the job

        Raises InvalidArgument (TARGET_INVALID), NotFound.
        """
        job = self._wanted(training_set, target, minutes, metric, time_column, validation_share, max_trials, seed)
        job.problem_type = pb.PROBLEM_TYPE_CLASSIFICATION
        job.positive_class = positive_class
        return self._start(job, exclude_columns, exclude_learners, experiment)

    def regress(
        self,
        *,
        training_set: str | TrainingSet,
        target: str,
        minutes: float = 5.0,
        metric: str = "",
        time_column: str = "",
        validation_share: float = 0.0,
        exclude_columns: Sequence[str] = (),
        exclude_learners: Sequence[str] = (),
        max_trials: int = 0,
        seed: int = 0,
        experiment: str = "",
    ) -> Job:
        """Starts a search for a model that predicts a number.

        metric  "rmse", which is the default, "mae" or "r2"; everything else is as in `classify`
        """
        job = self._wanted(training_set, target, minutes, metric, time_column, validation_share, max_trials, seed)
        job.problem_type = pb.PROBLEM_TYPE_REGRESSION
        return self._start(job, exclude_columns, exclude_learners, experiment)

    def get_job(self, name: str) -> Job:
        """Returns one job. Raises NotFound."""
        return self._job(self._transport.call(self._stub.GetJob, pb.GetJobRequest(name=full("jobs", name))))

    def list_jobs(self, *, limit: int | None = None) -> Listing[Job]:
        """Lists jobs, newest first."""
        pages = self._transport.pages(self._stub.ListJobs, pb.ListJobsRequest(), "jobs", limit)
        return listing(Job, pages, _automl=self)

    def watch(self, name: str) -> Iterator[tuple[Job, Listing[Trial]]]:
        """Yields (the job, trials that are new or changed), all trials first, until the job has ended."""
        request = pb.WatchJobRequest(name=full("jobs", name))
        opened = lambda: self._transport.receive(self._stub.WatchJob, request, timeout=FOREVER)  # noqa: E731
        for answer in self._transport.follow(opened):
            yield self._job(answer.job), listing(Trial, answer.trials)

    def trials(self, name: str, *, limit: int | None = None) -> Listing[Trial]:
        """Lists the trials of a job, best first; those without a result last."""
        request = pb.ListTrialsRequest(parent=full("jobs", name))
        return listing(Trial, self._transport.pages(self._stub.ListTrials, request, "trials", limit))

    def cancel(self, name: str) -> Job:
        """Stops a job early; the best so far counts. Raises FailedPrecondition (JOB_ENDED)."""
        request = pb.CancelJobRequest(name=full("jobs", name), request_id=request_id())
        return self._job(self._transport.call(self._stub.CancelJob, request))

    def register(self, name: str, model: str, *, trial: str = "", description: str = "") -> str:
        """Registers a trial's model (the best one's, unless another is named); returns the version's name."""
        job = full("jobs", name)
        request = pb.RegisterTrialRequest(
            job=job,
            model=full("models", model),
            trial=f"{job}/trials/{trial}" if trial and "/" not in trial else trial,
            description=description,
            request_id=request_id(),
        )
        return self._transport.call(self._stub.RegisterTrial, request, bulk=True).model_version

    def cluster(self) -> Cluster:
        """Returns the Ray cluster that trials run on."""
        return Cluster.of(self._transport.call(self._stub.GetCluster, pb.GetClusterRequest()))

    def _wanted(
        self,
        training_set: str | TrainingSet,
        target: str,
        minutes: float,
        metric: str,
        time_column: str,
        validation_share: float,
        max_trials: int,
        seed: int,
    ) -> pb.Job:
        if not 0 < minutes <= 24 * 60:
            raise InvalidArgument(
                f"minutes is {minutes}; it must be more than 0 and at most {24 * 60}",
                reason="FIELD_INVALID",
                facts={"field": "minutes", "value": str(minutes)},
            )
        name = training_set if isinstance(training_set, str) else training_set.name
        return pb.Job(
            training_set=full("trainingSets", name),
            target=target,
            metric=enum_number(pb.MetricType, metric, "metric"),  # type: ignore[arg-type]
            time_column=time_column,
            validation_share=validation_share,
            budget=to_duration(timedelta(minutes=minutes)),
            max_trials=max_trials,
            seed=seed,
        )

    def _start(self, job: pb.Job, columns: Sequence[str], learners: Sequence[str], experiment: str) -> Job:
        job.exclude_columns.extend(columns)
        job.exclude_learners.extend(learners)
        job.experiment = experiment
        return self._job(
            self._transport.call(self._stub.CreateJob, pb.CreateJobRequest(job=job, request_id=request_id()))
        )

    def _job(self, message: pb.Job) -> Job:
        return Job.of(message, _automl=self)
