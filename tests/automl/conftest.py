"""The automl service with Ray and some odd learners, once for all tests; and without Ray, which takes a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold.automl.v1 import automl_pb2_grpc
from fivefold_automl.__main__ import Config, build
from fivefold_automl.learners import LEARNERS
from fivefold_automl.ray_cluster import RayCluster
from fivefold_runtime.app import App
from fivefold_runtime.errors import parse
from fivefold_runtime.testing import postgres_server, postgres_url, serve
from tests.automl.odd_learners import Failing, Killer, Slow
from tests.automl.peers import Peers

__all__ = ["postgres_server", "postgres_url"]


@dataclass(frozen=True)
class Service:
    """A running automl service and what it calls."""

    stub: automl_pb2_grpc.AutoMLServiceStub
    peers: Peers
    app: App
    known: frozenset[str] = frozenset(LEARNERS)  # its learners

    def job(self, training_set: str, *, learners: tuple[str, ...] = tuple(LEARNERS), **fields: Any) -> pb.Job:
        """Creates a job that searches over some learners only."""
        fields.setdefault("problem_type", pb.PROBLEM_TYPE_CLASSIFICATION)
        fields.setdefault("target", "y")
        left_out = sorted(self.known - set(learners))
        job = pb.Job(training_set=training_set, exclude_learners=left_out, **fields)
        job.budget.FromSeconds(100)
        return self.stub.CreateJob(pb.CreateJobRequest(job=job))

    def ended(self, job: pb.Job) -> pb.Job:
        """Waits for a job's end and returns it."""
        *_, last = self.stub.WatchJob(pb.WatchJobRequest(name=job.name), timeout=110)
        return last.job

    def trials(self, job: pb.Job) -> list[pb.Trial]:
        """Returns the leaderboard."""
        return list(self.stub.ListTrials(pb.ListTrialsRequest(parent=job.name, page_size=1000)).trials)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With Ray. Its jobs run on one worker each, two at once, so that their trials can be compared."""
    peers = Peers()
    peers.start()
    folder = tmp_path_factory.mktemp("killer")
    odd = {
        "failing": Failing("failing", 5),
        "slow": Slow("slow", 90),
        "killer": Killer("killer", 5, folder=str(folder)),
    }
    settings = config(tmp_path_factory.mktemp("automl"), peers, ray_cpus=2, job_workers=1, jobs=2)
    with serve(lambda config: build(config, {**LEARNERS, **odd}), settings) as running:
        known = frozenset({*LEARNERS, *odd})
        yield Service(automl_pb2_grpc.AutoMLServiceStub(running.channel), peers, running.app, known)
    peers.stop()


@pytest.fixture
def rayless(tmp_path: Path) -> Iterator[Service]:
    """Without Ray: jobs stay PENDING for half a second, then fail."""
    peers = Peers()
    peers.start()
    with serve(without_ray, config(tmp_path, peers, ray_wait_seconds=0.5)) as running:
        yield Service(automl_pb2_grpc.AutoMLServiceStub(running.channel), peers, running.app)
    peers.stop()


def table(rows: int = 300, *, seed: int = 0, noise: float = 0.7) -> pa.Table:
    """Returns rows with numbers, text and booleans, some missing, and targets `y` ("no", "yes") and `amount`."""
    random = np.random.default_rng(seed)
    number, other = random.normal(size=rows), random.normal(size=rows)
    color = random.choice(["red", "green", "blue"], rows)
    flag = random.random(rows) < 0.5
    signal = number + (color == "red") + flag * other + noise * random.normal(size=rows)
    return pa.table(
        {
            "number": pa.array(number, mask=random.random(rows) < 0.1),
            "other": other,
            "count": random.integers(0, 9, rows),
            "color": pa.array(color.tolist(), pa.string(), mask=random.random(rows) < 0.1),
            "flag": pa.array(flag, mask=random.random(rows) < 0.05),
            "y": np.where(signal > 0.5, "yes", "no").tolist(),
            "amount": 10 * signal,
        }
    )


def refusal(call: Any, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Makes a call that fails; returns its code, reason and facts."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(*arguments, **options)
        if hasattr(answer, "__next__"):
            list(answer)
    reason, facts = parse(caught.value)
    return caught.value.code(), reason, facts


def config(folder: Path, peers: Peers, **settings: Any) -> Config:
    """Returns settings of a service that calls the peers."""
    return Config(
        data=str(folder / "data"), tracking=peers.address, features=peers.address, registry=peers.address, **settings
    )


def without_ray(config: Config) -> App:
    """Builds the service with a cluster that never starts."""
    app = build(config)
    app.background = [part for part in app.background if not isinstance(part, RayCluster)]
    return app
