"""The SQL adapter as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_runtime.sql import Database
from fivefold_tracking.store.artifacts import SqlArtifactStore
from fivefold_tracking.store.experiments import SqlExperimentStore
from fivefold_tracking.store.protocol import ArtifactStore, ExperimentStore, RunStore
from fivefold_tracking.store.runs import SqlRunStore

MIGRATIONS = "fivefold_tracking.store.migrations"


@dataclass(frozen=True, slots=True)
class Store:
    """Tracking's stores over one database."""

    experiments: ExperimentStore
    runs: RunStore
    artifacts: ArtifactStore

    @classmethod
    def over(cls, database: Database) -> Store:
        return cls(SqlExperimentStore(database), SqlRunStore(database), SqlArtifactStore(database))
