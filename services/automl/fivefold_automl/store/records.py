"""What the store hands out: frozen, so that nothing that left it can change under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fivefold_automl.spec import JobSpec


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class TrialState(StrEnum):
    """Where a trial stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job.

    id             32 hexadecimal digits
    experiment     experiments/{experiment} of tracking
    run            runs/{run}, which the trials' runs are nested in
    metric         the one in force; "" until the data has been read
    spent_seconds  search time used up so far, over all lives of the service
    closed         its end is in tracking too
    revision       grows with every change to the job or one of its trials; a watcher compares it
    """

    id: str
    spec: JobSpec
    creator: str
    experiment: str
    run: str
    created: datetime
    state: JobState = JobState.PENDING
    error: str = ""
    error_reason: str = ""
    warnings: tuple[str, ...] = ()
    feature_spec: str = ""
    metric: str = ""
    best_trial: int = 0
    best_score: float = 0.0
    spent_seconds: float = 0.0
    cancelled: bool = False
    started: datetime | None = None
    ended: datetime | None = None
    closed: bool = False
    revision: int = 1
    counts: Mapping[TrialState, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial.

    params   as they were asked of the learner: numbers, texts, booleans, None
    score    the job's metric; None without a result
    packed   its model package is kept for upload, or was uploaded
    logged   its run in tracking is complete
    """

    job: str
    number: int
    learner: str
    params: Mapping[str, Any]
    started: datetime
    state: TrialState = TrialState.RUNNING
    metrics: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    run: str = ""
    error: str = ""
    ray_node: str = ""
    ray_worker: str = ""
    ended: datetime | None = None
    packed: bool = False
    logged: bool = False
    revision: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a trial ended.

    metrics, score  only when FINISHED
    packed          its model package lies ready for upload
    """

    state: TrialState
    metrics: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    error: str = ""
    packed: bool = False
