"""The SQL adapter as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_runtime.sql import Database
from fivefold_tracking.bell import Bell
from fivefold_tracking.store.artifact_protocol import ArtifactStore, PurgeStore, UploadStore
from fivefold_tracking.store.artifacts import SqlArtifactStore
from fivefold_tracking.store.datasets import SqlDatasetStore
from fivefold_tracking.store.experiments import SqlExperimentStore
from fivefold_tracking.store.logged_models import SqlLoggedModelStore
from fivefold_tracking.store.metrics import SqlMetricStore
from fivefold_tracking.store.model_protocol import DatasetStore, LoggedModelStore
from fivefold_tracking.store.protocol import ExperimentStore, MetricStore, RunStore
from fivefold_tracking.store.purging import SqlPurgeStore
from fivefold_tracking.store.runs import SqlRunStore
from fivefold_tracking.store.uploads import SqlUploadStore

MIGRATIONS = "fivefold_tracking.store.migrations"


@dataclass(frozen=True, slots=True)
class Store:
    """Tracking's stores over one database."""

    experiments: ExperimentStore
    runs: RunStore
    metrics: MetricStore
    bell: Bell
    artifacts: ArtifactStore
    uploads: UploadStore
    logged_models: LoggedModelStore
    datasets: DatasetStore
    purges: PurgeStore

    @classmethod
    def over(cls, database: Database) -> Store:
        bell = Bell()
        return cls(
            experiments=SqlExperimentStore(database),
            runs=SqlRunStore(database, bell),
            metrics=SqlMetricStore(database, bell),
            bell=bell,
            artifacts=SqlArtifactStore(database),
            uploads=SqlUploadStore(database),
            logged_models=SqlLoggedModelStore(database),
            datasets=SqlDatasetStore(database),
            purges=SqlPurgeStore(database),
        )
