"""One job from its first to its last step, on a driver thread of its own: wait for Ray, read, understand, search, end.

Every trial that ends is journalled before the next one is asked for, so a killed service goes on from the journal. A
job ends by budget or trials used up, by cancelling, by an error; when the service stops, it is left to the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from fivefold.models.package import FeatureSpec
from fivefold_automl.clients import is_final
from fivefold_automl.dataset import Material, Source, material_of
from fivefold_automl.errors import NoTrial, RayUnavailable
from fivefold_automl.learners.base import Encoding, Learner
from fivefold_automl.metrics import METRICS, rank
from fivefold_automl.names import TrialName, job_name
from fivefold_automl.pace import Pace
from fivefold_automl.parts import Parts
from fivefold_automl.preparation import columns_for
from fivefold_automl.ray_cluster import Lease
from fivefold_automl.search import Proposal, Search, chosen
from fivefold_automl.slots import Ended, How, Slot, Slots
from fivefold_automl.store.records import JobRecord, JobState, Result, TrialRecord, TrialState
from fivefold_automl.training import Trained
from fivefold_automl.worker import Worker
from fivefold_runtime.errors import FivefoldError

log = logging.getLogger(__name__)

SMALL_PACKAGE_BYTES = 5_000_000  # up to which every trial's model is kept; larger ones only when they lead
_LOOK_SECONDS = 0.25  # between two looks whether the job was cancelled
_LOG_SECONDS = 30.0  # that the end of a job waits for its trials to be in tracking
_LOSS_SECONDS = 6.0  # after Ray failed a job, in which it shows whether the whole cluster is gone
_WIDEN_SECONDS = 1.0  # between two looks whether the cluster has more processors now
_LOST = "its worker was lost"


class Cancelled(Exception):
    """The job was cancelled."""


class Stopping(Exception):
    """The service stops; the job goes on with its next start."""


class JobRun:
    """Drives one job. `signal` is set when it should look up: cancelled, or the service stops."""

    def __init__(self, job: str, parts: Parts, signal: threading.Event, stopping: threading.Event) -> None:
        self._job = job
        self._parts = parts
        self._store = parts.store
        self._signal = signal
        self._stopping = stopping

    def run(self) -> None:
        """Returns when the job has ended, or the service stops. Raises nothing."""
        try:
            self._end(self._drive(), "", "")
        except Stopping:
            self._store.stop_running(self._job, "the service stopped", self._parts.clock.now())
        except Cancelled:
            self._store.stop_running(self._job, "cancelled", self._parts.clock.now())
            self._end(JobState.CANCELLED, "", "")
        except FivefoldError as error:
            self._end(JobState.FAILED, error.message, error.reason)
        except Exception:
            log.exception("job failed", extra={"job": self._job})
            self._end(JobState.FAILED, "internal error", "INTERNAL")
        self._parts.recorder.wake()

    def _drive(self) -> JobState:
        job = self._store.get(self._job)
        if job.state.ended:
            return job.state
        if job.cancelled:  # In an earlier life: nobody sets the signal again.
            raise Cancelled
        self._look()
        self._store.stop_running(self._job, "the service was restarted", self._parts.clock.now())
        self._await_cluster()
        material = self._material(job)
        spec = material.described.feature_spec
        job = self._store.update(
            self._job, warnings=material.warnings, metric=material.metric, feature_spec=spec.name if spec else ""
        )
        log.info(
            "job starts", extra={"job": self._job, "rows": len(material.dataset.target), "metric": material.metric}
        )
        while not self._searched(material):
            self._store.stop_running(self._job, _LOST, self._parts.clock.now())
            self._await_cluster()
        self._await_logged()
        if not self._store.get(self._job).best_trial:
            raise NoTrial("no trial ended with a result; the trials' errors say why", job=job_name(self._job))
        return JobState.SUCCEEDED

    def _searched(self, material: Material) -> bool:
        """Searches to the end; returns False when the cluster was lost on the way. Raises RayUnavailable if not it."""
        cluster = self._parts.cluster
        with cluster.leased() as lease:
            try:
                self._search(material, lease)
                return True
            except RayUnavailable as error:
                log.warning("ray failed the job", extra={"job": self._job, "why": error.message})
                # A loss may be noticed here first. A cluster that stays, and yet loses every worker, would do so again.
                if not cluster.lost(_LOSS_SECONDS):
                    raise
        return False

    def _search(self, material: Material, lease: Lease) -> None:
        """Runs trials until budget, trials or learners are used up."""
        import ray

        learners = self._learners(material)
        with lease.asking():
            data = ray.put(material.dataset)
            actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
        slots = Slots(lambda: actor.remote(material.plan, material.described, data, learners), lease.asking)
        try:
            _Loop(self, material, learners, slots, lease).run()
        finally:
            slots.close()

    def _learners(self, material: Material) -> dict[str, Learner]:
        learners = chosen(self._parts.learners, self._store.get(self._job).spec.exclude_learners)
        if not any(columns_for(Encoding.LINEAR, material.plan.inputs)):
            learners = {name: each for name, each in learners.items() if each.encoding is not Encoding.LINEAR}
        if not learners:
            raise NoTrial("no learner is left that could learn from these columns", job=job_name(self._job))
        return learners

    def _material(self, job: JobRecord) -> Material:
        def read() -> tuple[Any, Source]:
            found = self._parts.features.training_set(job.spec.training_set)
            spec = FeatureSpec.of(self._parts.features.spec(found.spec)) if found.spec else None
            left_out = (*found.labels, found.timestamp_column)
            return self._parts.features.read(job.spec.training_set), Source(found.name, left_out, spec)

        table, source = self._patiently(read)
        return material_of(table, job.spec, source, job_name(job.id))

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Calls a service until it answers; raises its refusal, or its silence after a while."""
        until = time.monotonic() + self._parts.service_wait_seconds
        while True:
            self._look()
            try:
                return call()
            except FivefoldError as error:
                if is_final(error) or time.monotonic() > until:
                    raise
            self._pause(1.0)

    def _await_cluster(self) -> None:
        until = time.monotonic() + self._parts.ray_wait_seconds
        while not self._parts.cluster.wait(_LOOK_SECONDS):
            self._look()
            if time.monotonic() > until:
                why = self._parts.cluster.why_not()
                raise RayUnavailable(f"Ray did not come in {self._parts.ray_wait_seconds:g} seconds: {why}")

    def _await_logged(self) -> None:
        """Waits until tracking has all trials, so that whoever sees the job ended finds its runs."""
        self._parts.recorder.wake()
        until = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < until and not self._stopping.is_set():
            job, trials = self._store.changes(self._job, 0)
            if job.cancelled:
                raise Cancelled
            if all(trial.logged for trial in trials):
                return
            self._store.wait(self._job, job.revision, _LOOK_SECONDS)

    def _look(self) -> None:
        """Raises Cancelled or Stopping when it is time."""
        if self._signal.is_set():
            self._signal.clear()
            if self._store.get(self._job).cancelled:
                raise Cancelled
        if self._stopping.is_set():
            raise Stopping

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._look()
            self._signal.wait(min(_LOOK_SECONDS, seconds))

    def _end(self, state: JobState, error: str, reason: str) -> None:
        if state is not JobState.SUCCEEDED:
            self._store.stop_running(self._job, "the job ended", self._parts.clock.now())
        ended = self._store.end(self._job, state, self._parts.clock.now(), error=error, reason=reason)
        log.info("job ended", extra={"job": self._job, "state": ended.state.value, "reason": reason})


class _Loop:
    """The search itself: journal, tell, ask, submit, again."""

    def __init__(
        self, run: JobRun, material: Material, learners: Mapping[str, Learner], slots: Slots, lease: Lease
    ) -> None:
        self._run = run
        self._parts = run._parts
        self._store = run._store
        self._slots = slots
        self._lease = lease
        self._job = self._store.get(run._job)
        spec = self._job.spec
        self._pace = Pace(spec.budget_seconds)
        self._proposals: dict[int, Proposal] = {}
        self._search = Search(
            learners,
            spec.problem,
            seed=spec.seed,
            greater_is_better=METRICS[material.metric].greater_is_better,
        )
        self._number = self._counted = 0
        for trial in self._store.trials(run._job):
            self._replay(trial)
        self._spent_before = self._job.spent_seconds
        self._began: float | None = None
        self._best: float | None = rank(material.metric, self._job.best_score) if self._job.best_trial else None
        self._metric = material.metric
        self._widen_at = 0.0  # on the monotonic clock, like the next
        self._patient_until = time.monotonic() + self._parts.ray_wait_seconds

    def run(self) -> None:
        """Returns when there is nothing more to do. Raises Cancelled, Stopping, RayUnavailable."""
        try:
            while True:
                self._run._look()
                self._widen()
                if self._pace.over(self._spent(), any_result=self._best is not None):
                    for number in self._slots.kill_running():
                        self._journal(number, Result(state=TrialState.STOPPED, error="the time was up"))
                    return
                more = self._wants_more()
                if more:
                    for slot in self._slots.idle():
                        if self._wants_more():
                            self._start(slot)
                if not more and not self._slots.running:
                    return
                for ended in self._slots.wait(_LOOK_SECONDS):
                    self._settle(ended)
        finally:
            self._store.update(self._run._job, spent_seconds=self._spent())

    def _widen(self) -> None:
        """Opens workers for processors that have joined. Raises RayUnavailable when none starts for too long."""
        now = time.monotonic()
        if self._slots.started:
            self._lease.working = True
        elif self._lease.others_work:
            self._patient_until = now + self._parts.ray_wait_seconds  # Their processors come free when they end.
        elif now > self._patient_until:
            raise RayUnavailable(f"no worker started in {self._parts.ray_wait_seconds:g} seconds")
        if now < self._widen_at:
            return
        self._widen_at = now + _WIDEN_SECONDS
        cpus = max(1, self._parts.cluster.slots())
        self._slots.widen(min(cpus, self._parts.workers or cpus))

    def _wants_more(self) -> bool:
        most = self._job.spec.max_trials
        if most and self._counted + len(self._slots.running) >= most:
            return False
        if self._search.exhausted:
            return False
        return self._pace.may_start(self._spent(), any_result=self._best is not None, running=len(self._slots.running))

    def _start(self, slot: Slot) -> None:
        assert slot.identity is not None
        now = self._parts.clock.now()
        if self._began is None:
            self._began = time.monotonic()
            started = {} if self._job.started else {"started": now}
            if self._store.update(self._run._job, state=JobState.RUNNING, **started).cancelled:
                raise Cancelled
        self._number += 1
        proposal = self._search.ask(self._number)
        self._proposals[self._number] = proposal
        trial = TrialRecord(
            job=self._run._job,
            number=self._number,
            learner=proposal.learner,
            params=proposal.params,
            started=now,
            ray_node=slot.identity.node,
            ray_worker=slot.identity.worker,
        )
        self._store.start_trial(trial)
        spent = self._spent()
        self._slots.submit(
            slot,
            self._number,
            proposal.learner,
            proposal.params,
            seed=self._job.spec.seed % 2**31,
            seconds=self._pace.fit_seconds(spent),
            most=self._pace.most_seconds(spent, any_result=self._best is not None),
        )

    def _settle(self, ended: Ended) -> None:
        """Journals how a trial ended, then tells the search."""
        number, proposal = ended.number, self._proposals[ended.number]
        if ended.how is How.LOST:
            self._journal(number, Result(state=TrialState.STOPPED, error=_LOST))
            self._search.lost(number, proposal)
        elif ended.how is How.OVERDUE:
            self._journal(number, Result(state=TrialState.STOPPED, error="it took too long"))
            self._search.stopped(number)
        elif isinstance(ended.outcome, Trained):
            self._finished(number, proposal, ended.outcome)
        else:
            assert ended.outcome is not None
            kind, details = ended.outcome.kind, ended.outcome.details
            log.warning(
                "trial failed", extra={"job": self._run._job, "trial": number, "error": kind, "details": details}
            )
            self._journal(number, Result(state=TrialState.FAILED, error=f"{proposal.learner} raised {kind}"))
            self._counted += 1
            self._search.failed(number, proposal)

    def _finished(self, number: int, proposal: Proposal, trained: Trained) -> None:
        score = trained.metrics[self._metric]
        standing = rank(self._metric, score)
        leads = self._best is None or standing < self._best
        packed = leads or sum(map(len, trained.files.values())) <= SMALL_PACKAGE_BYTES
        if packed:
            self._parts.spool.put(TrialName(self._run._job, number), trained.files)
        metrics = {**trained.metrics, "fit_seconds": trained.seconds}
        self._journal(number, Result(state=TrialState.FINISHED, metrics=metrics, score=score, packed=packed))
        if leads:
            self._best = standing
        self._counted += 1
        self._search.finished(number, proposal, score)

    def _journal(self, number: int, result: Result) -> None:
        name = TrialName(self._run._job, number)
        self._store.end_trial(name, result, self._parts.clock.now(), self._spent())
        self._parts.recorder.wake()

    def _replay(self, trial: TrialRecord) -> None:
        """Tells the search of a trial of an earlier life."""
        self._number = trial.number
        self._counted += trial.state in (TrialState.FINISHED, TrialState.FAILED)
        self._search.replay(
            Proposal(trial.learner, trial.params),
            trial.score,
            failed=trial.state is TrialState.FAILED,
            lost=trial.state is TrialState.STOPPED and trial.error != "it took too long",
        )

    def _spent(self) -> float:
        return self._spent_before + (0.0 if self._began is None else time.monotonic() - self._began)
