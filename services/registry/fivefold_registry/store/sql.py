"""The SQL adapter as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_registry.chain import Chain
from fivefold_registry.store.aliases import SqlAliases
from fivefold_registry.store.audit import SqlAudit
from fivefold_registry.store.blobs import SqlBlobs
from fivefold_registry.store.change import Ledger
from fivefold_registry.store.journal import SqlJournal
from fivefold_registry.store.models import SqlModels
from fivefold_registry.store.protocol import (
    AliasStore,
    AuditStore,
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
    aliases: AliasStore
    audit: AuditStore
    blobs: BlobStore

    @classmethod
    def over(cls, database: Database, outbox: Outbox, chain: Chain) -> Store:
        ledger = Ledger(outbox, chain)
        return cls(
            models=SqlModels(database, ledger),
            versions=SqlVersions(database, ledger),
            stages=SqlStages(database, ledger),
            requests=SqlRequests(database, ledger),
            journal=SqlJournal(database, ledger),
            aliases=SqlAliases(database, ledger),
            audit=SqlAudit(database, chain),
            blobs=SqlBlobs(database),
        )
