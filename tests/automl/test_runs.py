"""One job's run, driven by the test: what an earlier life left, and what it does with the workers that Ray gives it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold.automl.v1 import automl_pb2_grpc
from fivefold_automl.errors import RayUnavailable
from fivefold_automl.jobs import Jobs
from fivefold_automl.names import job_name
from fivefold_automl.parts import Parts
from fivefold_automl.ray_cluster import Lease, RayCluster
from fivefold_automl.run import JobRun
from fivefold_automl.slots import Slots
from fivefold_automl.spec import JobSpec, Problem
from fivefold_automl.store.jobs import SqlJobStore
from fivefold_automl.store.records import JobRecord, JobState, TrialRecord, TrialState
from fivefold_runtime.ids import new_id
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import serve
from tests.automl.conftest import Service, config, table, without_ray
from tests.automl.peers import Peers


def running(training_set: str, *, learners: tuple[str, ...] = ("decision_tree",), known: frozenset[str]) -> JobRecord:
    """A job of an earlier life."""
    left_out = tuple(sorted(known - set(learners)))
    spec = JobSpec(problem=Problem.CLASSIFICATION, training_set=training_set, target="y", exclude_learners=left_out)
    return JobRecord(
        id=new_id(),
        spec=spec,
        creator="local",
        experiment="experiments/1",
        run="runs/1",
        created=datetime.now(UTC),
        state=JobState.RUNNING,
    )


def parts_of(service: Service) -> Parts:
    return next(part for part in service.app.background if isinstance(part, Jobs))._parts


def test_a_job_cancelled_right_before_a_kill_is_cancelled_after_the_restart(tmp_path: Path) -> None:
    """CancelJob has answered, but its driver did not see it any more: the journal alone knows."""
    peers = Peers()
    peers.start()
    # Without Ray: a job that went on would wait for it, and not end in this test's time.
    settings = config(tmp_path, peers, ray_wait_seconds=600.0)
    Path(settings.data).mkdir()
    database = Database.open(sqlite_in(settings.data), migrations="fivefold_automl.store.migrations")
    store = SqlJobStore(database)
    job = store.add(running("trainingSets/" + "0" * 32, known=frozenset()))
    store.start_trial(TrialRecord(job=job.id, number=1, learner="linear", params={}, started=job.created))
    assert store.cancel(job.id, job.created).state is JobState.RUNNING
    database.close()

    with serve(without_ray, settings) as again:
        stub = automl_pb2_grpc.AutoMLServiceStub(again.channel)
        *_, last = stub.WatchJob(pb.WatchJobRequest(name=job_name(job.id)), timeout=20)
        (trial,) = stub.ListTrials(pb.ListTrialsRequest(parent=job_name(job.id))).trials
    peers.stop()
    assert last.job.state == pb.JOB_STATE_CANCELLED
    assert (trial.state, trial.error) == (pb.TRIAL_STATE_STOPPED, "cancelled")


@pytest.mark.timeout(240)
def test_processors_that_join_are_used_by_a_job_that_runs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = replace(parts_of(service), workers=0)
    assert parts.cluster.wait(100.0)
    joined = threading.Event()
    monkeypatch.setattr(RayCluster, "slots", lambda self: 2 if joined.is_set() else 1)
    job = parts.store.add(running(service.peers.features.put(table()), known=service.known))
    signal = threading.Event()
    run = threading.Thread(target=JobRun(job.id, parts, signal, threading.Event()).run)
    run.start()

    def workers(trials: int) -> set[str]:
        """Waits for some trials to have ended; returns where they ran."""
        while run.is_alive() and parts.store.get(job.id).counts.get(TrialState.FINISHED, 0) < trials:
            time.sleep(0.1)
        return {trial.ray_worker for trial in parts.store.trials(job.id)}

    assert len(workers(2)) == 1
    joined.set()
    while run.is_alive() and len(workers(0)) == 1:
        time.sleep(0.1)
    parts.store.cancel(job.id, job.created)
    signal.set()
    run.join(60.0)
    assert len(workers(0)) == 2
    assert parts.store.get(job.id).state is JobState.CANCELLED


@pytest.mark.timeout(240)
def test_a_job_whose_workers_never_start_fails_with_the_reason(service: Service) -> None:
    import ray

    parts = replace(parts_of(service), ray_wait_seconds=1.0)
    assert parts.cluster.wait(100.0)
    training_set = service.peers.features.put(table())
    with holding_every_processor():
        job = parts.store.add(replace(running(training_set, known=service.known), state=JobState.PENDING))
        JobRun(job.id, parts, threading.Event(), threading.Event()).run()
    ended = parts.store.get(job.id)
    assert (ended.state, ended.error_reason) == (JobState.FAILED, "RAY_UNAVAILABLE")
    assert ended.error == "no worker started in 1 seconds"
    assert ray.is_initialized()


@contextmanager
def holding_every_processor() -> Iterator[None]:
    import ray

    class Holder:
        def here(self) -> bool:
            return True

    holder = ray.remote(num_cpus=2)(Holder).remote()
    assert ray.get(holder.here.remote(), timeout=60)
    yield
    ray.kill(holder)


def test_a_job_waits_for_workers_as_long_as_another_jobs_hold_them(tmp_path: Path) -> None:
    cluster = RayCluster(tmp_path)
    with cluster.leased() as first, cluster.leased() as second:
        assert not second.others_work
        first.working = True
        assert second.others_work and not first.others_work
    with cluster.leased() as third:
        assert not third.others_work


def test_nothing_is_asked_of_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    asked: list[str] = []

    def new_actor() -> None:
        asked.append("actor")

    slots = Slots(new_actor, Lease(RayCluster(tmp_path)).asking)
    with pytest.raises(RayUnavailable):
        slots.widen(1)
    assert asked == []


def test_ray_does_not_start_by_itself_once_it_is_gone() -> None:
    """Its calls would start one with default settings: a dashboard, no limits, the environment's credentials."""
    code = (
        "from fivefold_automl.ray_cluster import prepare_environment\n"
        "prepare_environment(embedded=True)\n"
        "import ray\n"
        "for call in (lambda: ray.put(1), lambda: ray.wait([]), lambda: ray.remote(type('A', (), {})).remote()):\n"
        "    try:\n"
        "        call()\n"
        "    except ray.exceptions.RaySystemError:\n"
        "        print(ray.is_initialized())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout.split() == ["False"] * 3, ended.stderr
