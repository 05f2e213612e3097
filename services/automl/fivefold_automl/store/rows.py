"""Records to rows of the tables, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from fivefold_automl.spec import JobSpec
from fivefold_automl.store.records import JobRecord, JobState, TrialRecord, TrialState
from fivefold_runtime.clock import micros

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def job_row(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "spec": job.spec.to_json(),
        "creator": job.creator,
        "experiment": job.experiment,
        "run": job.run,
        "state": job.state,
        "error": job.error,
        "error_reason": job.error_reason,
        "warnings": list(job.warnings),
        "feature_spec": job.feature_spec,
        "metric": job.metric,
        "best_trial": job.best_trial,
        "best_score": job.best_score,
        "spent_seconds": job.spent_seconds,
        "cancelled": job.cancelled,
        "created": micros(job.created),
        "started": _stored(job.started),
        "ended": _stored(job.ended),
        "closed": job.closed,
        "revision": job.revision,
    }


def job_of(row: Row[Any], counts: Mapping[TrialState, int]) -> JobRecord:
    return JobRecord(
        id=row.id,
        spec=JobSpec.from_json(row.spec),
        creator=row.creator,
        experiment=row.experiment,
        run=row.run,
        state=JobState(row.state),
        error=row.error,
        error_reason=row.error_reason,
        warnings=tuple(row.warnings),
        feature_spec=row.feature_spec,
        metric=row.metric,
        best_trial=row.best_trial,
        best_score=row.best_score,
        spent_seconds=row.spent_seconds,
        cancelled=row.cancelled,
        created=_EPOCH + timedelta(microseconds=row.created),
        started=_moment(row.started),
        ended=_moment(row.ended),
        closed=row.closed,
        revision=row.revision,
        counts=counts,
    )


def trial_row(trial: TrialRecord) -> dict[str, Any]:
    """Returns the row without its rank, which needs the job's metric."""
    return {
        "job": trial.job,
        "number": trial.number,
        "learner": trial.learner,
        "params": dict(trial.params),
        "state": trial.state,
        "metrics": dict(trial.metrics),
        "score": trial.score,
        "run": trial.run,
        "error": trial.error,
        "ray_node": trial.ray_node,
        "ray_worker": trial.ray_worker,
        "started": micros(trial.started),
        "ended": _stored(trial.ended),
        "packed": trial.packed,
        "logged": trial.logged,
        "revision": trial.revision,
    }


def trial_of(row: Row[Any]) -> TrialRecord:
    return TrialRecord(
        job=row.job,
        number=row.number,
        learner=row.learner,
        params=row.params,
        state=TrialState(row.state),
        metrics=row.metrics,
        score=row.score,
        run=row.run,
        error=row.error,
        ray_node=row.ray_node,
        ray_worker=row.ray_worker,
        started=_EPOCH + timedelta(microseconds=row.started),
        ended=_moment(row.ended),
        packed=row.packed,
        logged=row.logged,
        revision=row.revision,
    )


def _stored(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def _moment(stored: int | None) -> datetime | None:
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)
