"""The Ray actor that runs trials: one per processor, alive for the whole job, holding the job's data once.

It has no credential of any service and talks to nobody: what it makes goes back to the driver through Ray.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fivefold_automl.data import Plan
from fivefold_automl.learners.base import Learner
from fivefold_automl.training import Bench, Dataset, Described, Trained


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a worker runs: Ray's ids of node and worker process, and the process id on its host."""

    node: str
    worker: str
    pid: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A trial whose learner raised. `kind` is the exception's class; `details` is for the service's log only."""

    kind: str
    details: str


class Worker:
    """Runs one trial after another."""

    def __init__(self, plan: Plan, described: Described, dataset: Dataset, learners: Mapping[str, Learner]) -> None:
        self._bench = Bench(plan, described, dataset)
        self._learners = learners
        self._bench.warm(learners.values())

    def identity(self) -> Identity:
        import ray

        context = ray.get_runtime_context()
        return Identity(context.get_node_id(), context.get_worker_id(), os.getpid())

    def train(self, learner: str, params: Mapping[str, Any], seed: int, seconds: float) -> Trained | Broken:
        """Runs one trial that should take at most `seconds`; what its learner raises comes back as Broken."""
        try:
            return self._bench.train(self._learners[learner], params, seed, seconds)
        except Exception as error:
            return Broken(type(error).__name__, traceback.format_exc(limit=20))
