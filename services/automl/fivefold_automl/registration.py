"""Registering a trial's model: in the caller's name, with the lineage from version to run, training set and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fivefold.registry.v1 import registry_pb2
from fivefold_automl.clients import Features, Registry
from fivefold_automl.errors import NoTrial
from fivefold_automl.names import TrialName, job_name
from fivefold_automl.recorder import Recorder
from fivefold_automl.store.jobs import JobStore
from fivefold_automl.store.records import JobRecord, TrialRecord, TrialState
from fivefold_runtime import calls
from fivefold_runtime.errors import Unavailable
from fivefold_runtime.ids import new_id

_LOG_SECONDS = 20.0  # that a trial may still need to be in tracking


class NotLogged(Unavailable):
    """The trial's model is not in tracking yet."""

    reason = "SERVICE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Registration:
    """Registers models. `features` and `registry` act for the caller."""

    store: JobStore
    features: Features
    registry: Registry
    recorder: Recorder

    def register(self, job: str, number: int, model: str, description: str, request: str) -> tuple[str, TrialRecord]:
        """Registers the model of trial `number`, 0 for the best; returns the version's name and the trial.

        Raises NotFound, NoTrial, NotLogged, and what the registry refuses.
        """
        found = self.store.get(job)
        trial = self._trial(found, number)
        trained = self.features.training_set(found.spec.training_set)
        self.registry.create_model(model)
        version = registry_pb2.ModelVersion(
            description=description,
            source=f"{trial.run}/artifacts/model",
            lineage=registry_pb2.Lineage(
                run=trial.run,
                training_set=trained.name,
                table_versions=trained.table_versions,
                job=job_name(job),
            ),
        )
        return self.registry.create_version(model, version, request or new_id()), trial

    def _trial(self, job: JobRecord, number: int) -> TrialRecord:
        """Returns the trial, once all of it is in tracking."""
        if not number and not job.best_trial:
            raise NoTrial(f"{job_name(job.id)} has no finished trial", name=job_name(job.id))
        name = TrialName(job.id, number or job.best_trial)
        trial = self.store.trial(name)
        if trial.state is not TrialState.FINISHED or not trial.packed:
            raise NoTrial(f"{name} kept no model", name=name, state=trial.state.value)
        until = time.monotonic() + _LOG_SECONDS
        self.recorder.wake()
        while not trial.logged:
            calls.check()
            if time.monotonic() > until:
                raise NotLogged(f"{name} is not in tracking yet; try again", retry_after=5.0, name=name)
            self.store.wait(job.id, self.store.get(job.id).revision, 0.25)
            trial = self.store.trial(name)
        return trial
