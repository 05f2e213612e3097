"""The SQL adapter as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_registry.store.blobs import SqlBlobs
from fivefold_registry.store.journal import SqlJournal
from fivefold_registry.store.models import SqlModels
from fivefold_registry.store.protocol import (
    BlobStore,
    JournalStore,
    ModelStore,
    RequestStore,
    StageStore,
    VersionStore,
)
from fivefold_registry.store.requests import SqlRequests
from fivefold_registry.store.stages import SqlStages
from fivefold_registry.store.versions import SqlVersions
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database

MIGRATIONS = "fivefold_registry.store.migrations"


@dataclass(frozen=True, slots=True)
class Store:
    """The registry's stores over one database."""

    models: ModelStore
    versions: VersionStore
    stages: StageStore
    requests: RequestStore
    journal: JournalStore
    blobs: BlobStore

    @classmethod
    def over(cls, database: Database, outbox: Outbox) -> Store:
        return cls(
            models=SqlModels(database, outbox),
            versions=SqlVersions(database, outbox),
            stages=SqlStages(database, outbox),
            requests=SqlRequests(database, outbox),
            journal=SqlJournal(database, outbox),
            blobs=SqlBlobs(database),
        )
