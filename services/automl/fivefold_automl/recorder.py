"""Brings what the journal says into tracking: each trial that ended as a nested run, each job's end into its own run.

Works through the store in the background, oldest first, so nothing is forgotten when tracking or this service is down
for a while. Every step may run twice.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

from fivefold.tracking.v1 import tracking_pb2
from fivefold_automl.clients import Features, Tracking, is_final, moment, request_id
from fivefold_automl.names import TrialName, job_name
from fivefold_automl.spool import Spool
from fivefold_automl.store.jobs import JobStore
from fivefold_automl.store.records import JobRecord, JobState, TrialRecord, TrialState
from fivefold_runtime.errors import FivefoldError

log = logging.getLogger(__name__)

_AT_ONCE = 20  # trials read from the store at a time
_IDLE_SECONDS = 5.0  # between two looks when nobody said that there is work
_PAUSE_SECONDS = 1.0  # after tracking did not answer

_TRIAL_STATUS = {
    TrialState.FINISHED: tracking_pb2.RUN_STATUS_FINISHED,
    TrialState.FAILED: tracking_pb2.RUN_STATUS_FAILED,
    TrialState.STOPPED: tracking_pb2.RUN_STATUS_KILLED,
}
_JOB_STATUS = {
    JobState.SUCCEEDED: tracking_pb2.RUN_STATUS_FINISHED,
    JobState.FAILED: tracking_pb2.RUN_STATUS_FAILED,
    JobState.CANCELLED: tracking_pb2.RUN_STATUS_KILLED,
}


class Recorder:
    """The background thread that logs trials and jobs."""

    def __init__(self, store: JobStore, tracking: Tracking, features: Features, spool: Spool) -> None:
        self._store = store
        self._tracking = tracking
        self._features = features
        self._spool = spool
        self._datasets: dict[str, tracking_pb2.DatasetInput] = {}  # of the job at hand
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the trial at hand; the next start goes on."""
        self._stopping.set()
        self._work.set()
        self._thread.join(10.0)

    def wake(self) -> None:
        """Says that a trial or job has ended."""
        self._work.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.wait(_IDLE_SECONDS)
            self._work.clear()
            try:
                while not self._stopping.is_set() and self._round():
                    pass
            except FivefoldError as error:
                log.warning("cannot log to tracking now", extra={"reason": error.reason, "why": error.message})
                self._stopping.wait(_PAUSE_SECONDS)
                self._work.set()
            except Exception:
                log.exception("logging a trial failed")
                self._stopping.wait(_IDLE_SECONDS)

    def _round(self) -> bool:
        """Logs some of what waits; says whether there was any."""
        trials = self._store.unlogged(_AT_ONCE)
        for trial in trials:
            if self._stopping.is_set():
                return False
            self._refusable(lambda trial=trial: self._log_trial(trial), trial.job, trial)
        jobs = self._store.unclosed(_AT_ONCE)
        for job in jobs:
            self._refusable(lambda job=job: self._log_end(job), job.id, None)
            self._store.close(job.id)
            self._spool.drop_job(job.id)
            self._datasets.pop(job.id, None)
        return bool(trials or jobs)

    def _refusable(self, step: Any, job: str, trial: TrialRecord | None) -> None:
        """Runs a step. What tracking refuses for good (a deleted run, no right) is logged and not tried again."""
        try:
            step()
        except FivefoldError as error:
            if not is_final(error):
                raise
            number = trial.number if trial else None
            log.warning(
                "tracking refuses", extra={"job": job, "trial": number, "reason": error.reason, "why": error.message}
            )
            if trial:
                self._store.logged(TrialName(trial.job, trial.number), trial.run, complete=True)

    def _log_trial(self, trial: TrialRecord) -> None:
        name = TrialName(trial.job, trial.number)
        job = self._store.get(trial.job)
        run = trial.run
        if not run:
            run = self._tracking.create_run(_nested(job, trial), request_id(name, "run"))
            self._store.logged(name, run, complete=False)
        if trial.metrics:
            self._tracking.log(run, metrics=trial.metrics, at=trial.ended, request=request_id(name, "metrics"))
        self._tracking.log_input(run, self._dataset(job))
        if trial.packed:
            for path, content in self._spool.get(name).items():
                self._tracking.upload(run, f"model/{path}", content)
        self._tracking.finish(run, _TRIAL_STATUS[trial.state], trial.ended)
        self._store.logged(name, run, complete=True)
        self._spool.drop(name)

    def _log_end(self, job: JobRecord) -> None:
        tags = {"fivefold.job_state": job.state.value}
        metrics: Mapping[str, float] = {}
        if job.best_trial:
            best = self._store.trial(TrialName(job.id, job.best_trial))
            tags |= {"fivefold.best_trial": str(job.best_trial), "fivefold.best_run": best.run, "learner": best.learner}
            metrics = best.metrics
        if job.error:
            tags["fivefold.error"] = job.error
        self._tracking.log(job.run, metrics=metrics, tags=tags, at=job.ended, request=request_id(job.id, "end"))
        self._tracking.log_input(job.run, self._dataset(job))
        self._tracking.finish(job.run, _JOB_STATUS[job.state], job.ended)

    def _dataset(self, job: JobRecord) -> tracking_pb2.DatasetInput:
        if job.id not in self._datasets:
            found = self._features.training_set(job.spec.training_set)
            self._datasets[job.id] = tracking_pb2.DatasetInput(
                dataset=found.name,
                digest=found.digest,
                source_type="fivefold_training_set",
                source=found.name,
                profile=json.dumps({"rows": found.rows, "columns": len(found.columns)}),
                tags={"mlflow.data.context": "training"},
            )
        return self._datasets[job.id]


def parent_run(job_id: str, experiment: str, params: Mapping[str, str]) -> tracking_pb2.Run:
    """Returns the run that a job's trials are nested in."""
    return tracking_pb2.Run(
        experiment=experiment,
        display_name=f"automl {params['target']}"[:200],
        source=_source(job_id),
        params=params,
        tags={"fivefold.job": job_name(job_id)},
    )


def _nested(job: JobRecord, trial: TrialRecord) -> tracking_pb2.Run:
    tags = {
        "fivefold.job": job_name(job.id),
        "fivefold.trial": str(TrialName(job.id, trial.number)),
        "fivefold.ray_node": trial.ray_node,
        "fivefold.ray_worker": trial.ray_worker,
        "learner": trial.learner,
    }
    if trial.error:
        tags["fivefold.error"] = trial.error
    return tracking_pb2.Run(
        experiment=job.experiment,
        parent_run=job.run,
        display_name=f"{trial.number} {trial.learner}",
        start_time=moment(trial.started),
        source=_source(job.id),
        params={"learner": trial.learner, **{param: text_of(value) for param, value in trial.params.items()}},
        tags=tags,
    )


def text_of(value: Any) -> str:
    """Returns a param's value as text: numbers in their shortest exact form, None as "None"."""
    return repr(value) if isinstance(value, float) else str(value)


def _source(job: str) -> tracking_pb2.Source:
    return tracking_pb2.Source(type=tracking_pb2.SOURCE_TYPE_JOB, name=job_name(job))
