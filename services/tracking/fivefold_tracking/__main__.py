"""Starts the tracking service: `python -m fivefold_tracking --help`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fivefold_runtime.app import App
from fivefold_runtime.main import run
from fivefold_runtime.objects import Objects
from fivefold_runtime.permissions import SERVICE as PERMISSIONS
from fivefold_runtime.permissions import PermissionsServicer
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig, setting
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_tracking import names
from fivefold_tracking.servicer import TrackingServicer
from fivefold_tracking.store.sql import MIGRATIONS, Store
from fivefold_tracking.sweeping import Sweeper

SERVICE = "fivefold.tracking.v1.TrackingService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServerConfig):
    """Settings of the tracking service."""

    listen: str = setting("127.0.0.1:7101", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting(
        "fivefold-data/tracking", "folder of this server's files; one server at a time owns it", unit="folder"
    )
    store_url: str = setting(
        "", "database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in the data folder",
        unit="URL", secret=True,
    )  # fmt: skip
    objects_url: str = setting(
        "",
        "where artifacts' bytes are: a folder, s3://, gs:// or az://; empty: a folder in the data folder",
        unit="URL",
    )


def build(config: Config) -> App:
    """Puts the service together; the data folder is there and locked. Raises StartError."""
    database = Database.open(config.store_url or sqlite_in(config.data), migrations=MIGRATIONS)
    store = Store.over(database)
    authorizer = Authorizer(config, database, owner_of=lambda name: _owner_of(store, name))
    objects = Objects.open(config.objects_url or str(Path(config.data) / "objects"))
    sweeper = Sweeper(store, objects, database.clock)
    return App(
        servicers={
            SERVICE: TrackingServicer(database, store, objects, authorizer, sweeper),
            PERMISSIONS: PermissionsServicer(database, authorizer),
        },
        database=database,
        authorizer=authorizer,
        background=[sweeper],
    )


def _owner_of(store: Store, name: str) -> str:
    """Returns the experiment that carries the grants of a run or logged model, or of itself.

    Raises NotFound, NameInvalid.
    """
    if names.is_logged_model(name):
        return names.experiment_name(store.logged_models.experiment_of(names.logged_model_id(name)))
    if names.is_run(name):
        return names.experiment_name(store.runs.experiment_of(names.run_id(name)))
    return store.experiments.get(names.experiment_number(name)).name


if __name__ == "__main__":
    sys.exit(run("tracking", Config, build))
