"""The SQL adapter as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_runtime.sql import Database
from fivefold_tracking.bell import Bell
from fivefold_tracking.store.artifacts import SqlArtifactStore
from fivefold_tracking.store.experiments import SqlExperimentStore
from fivefold_tracking.store.metrics import SqlMetricStore
from fivefold_tracking.store.protocol import ArtifactStore, ExperimentStore, MetricStore, RunStore
from fivefold_tracking.store.runs import SqlRunStore

MIGRATIONS = "fivefold_tracking.store.migrations"


@dataclass(frozen=True, slots=True)
class Store:
    """Tracking's stores over one database."""

    experiments: ExperimentStore
    runs: RunStore
    metrics: MetricStore
    artifacts: ArtifactStore
    bell: Bell  # rung by runs and metrics

    @classmethod
    def over(cls, database: Database) -> Store:
        bell = Bell()
        return cls(
            experiments=SqlExperimentStore(database),
            runs=SqlRunStore(database, bell),
            metrics=SqlMetricStore(database, bell),
            artifacts=SqlArtifactStore(database),
            bell=bell,
        )
