"""Starts the registry: `python -m fivefold_registry --help` lists every setting.

Owns its data folder (SQLite and files by default), or a PostgreSQL database and a bucket that replicas share.
Calls the tracking service.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fivefold_registry.chain import Chain
from fivefold_registry.chainkey import Binding, chain_key
from fivefold_registry.clients import Tracking
from fivefold_registry.copying import Copier
from fivefold_registry.orphans import Orphans
from fivefold_registry.outgoing import Outgoing, OutgoingConfig
from fivefold_registry.servicer import SERVICE, RegistryServicer
from fivefold_registry.store.sql import MIGRATIONS, Store
from fivefold_registry.watch import Watching
from fivefold_registry.webhooks.sending import Resolve, system
from fivefold_runtime import permissions
from fivefold_runtime.app import App
from fivefold_runtime.main import run
from fivefold_runtime.objects import Objects
from fivefold_runtime.permissions import PermissionsServicer
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import StartError, setting
from fivefold_runtime.sql import Database, sqlite_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(OutgoingConfig):
    """Settings of the registry."""

    listen: str = setting("127.0.0.1:7103", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting(
        "fivefold-data/registry", "folder of this server's files; one server at a time owns it", unit="folder"
    )
    store_url: str = setting(
        "", "postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in the data folder", unit="URL", secret=True
    )
    objects_url: str = setting(
        "", "where files of models are: a folder, s3://, gs:// or az://; empty: in the data folder", unit="URL"
    )
    tracking: str = setting(
        "127.0.0.1:7101", "address of the tracking service, whose files versions are copied from", unit="host:port"
    )
    activity_key: str = setting(
        "",
        "what the chain of activities is keyed with, 32 characters or more, the same for all replicas; empty: a file in"
        " the data folder, made at the first start",
        unit="text",
        secret=True,
    )
    copies: int = setting(8, "versions whose files are copied at once; fewer than `threads`", unit="versions")

    def check(self) -> None:
        self.check_outgoing()
        if self.activity_key and len(self.activity_key) < 32:
            raise StartError("--activity-key is too short; it must have 32 characters or more.")
        if not 1 <= self.copies < self.threads:
            raise StartError(
                f"--copies is {self.copies}; it must be from 1 to {self.threads - 1}, fewer than --threads."
            )


def build(config: Config, resolve: Resolve = system) -> App:
    """Puts the service together. `resolve` finds the addresses of webhooks' hosts. Raises StartError."""
    database = Database.open(config.store_url or sqlite_in(config.data), migrations=MIGRATIONS)
    objects = Objects.open(config.objects_url or str(Path(config.data) / "objects"))
    outgoing = Outgoing(config, database, resolve)
    outbox = outgoing.outbox
    store = Store.over(database, outbox, Chain(chain_key(config.activity_key, config.data)))
    authorizer = Authorizer(config, database, outgoing.owner_of(store.models))
    services, courier = outgoing.over(authorizer)
    tracking = Tracking(config.tracking, config)
    orphans = Orphans(database, store, objects)
    servicer = RegistryServicer(
        database,
        store,
        objects,
        Copier(database, store, objects, tracking, config.copies, waiting=(config.threads - config.copies) // 2),
        orphans,
        Watching(outbox, store.models, authorizer, outgoing.deliveries.trimmed),
        authorizer,
    )
    return App(
        servicers={SERVICE: servicer, permissions.SERVICE: PermissionsServicer(database, authorizer), **services},
        database=database,
        authorizer=authorizer,
        background=[Binding(store), orphans, courier],
        collectors=[courier.attempts],
        close=[tracking.close],
    )


if __name__ == "__main__":
    sys.exit(run("registry", Config, build))
