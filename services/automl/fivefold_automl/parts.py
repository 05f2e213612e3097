"""What every job's run needs, put together by `build`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fivefold_automl.clients import Features
from fivefold_automl.learners.base import Learner
from fivefold_automl.ray_cluster import RayCluster
from fivefold_automl.recorder import Recorder
from fivefold_automl.spool import Spool
from fivefold_automl.store.jobs import JobStore
from fivefold_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts.

    ray_wait_seconds      how long a job waits for the Ray cluster
    service_wait_seconds  how long it waits for the features service
    workers               most trials at once; 0: as many as there are processors
    """

    store: JobStore
    features: Features
    cluster: RayCluster
    recorder: Recorder
    spool: Spool
    learners: Mapping[str, Learner]
    clock: Clock
    ray_wait_seconds: float
    service_wait_seconds: float
    workers: int
