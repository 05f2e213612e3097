"""Starts the features service: `python -m fivefold_features --help` lists every setting.

Owns its data folder (SQLite and Parquet files by default), or a PostgreSQL database, a bucket and a Redis that replicas
share. Calls nobody.
"""

from __future__ import annotations

import functools
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fivefold_features import names
from fivefold_features.installing import install
from fivefold_features.online import open_store
from fivefold_features.servicer import SERVICE, FeatureServicer
from fivefold_features.store.sql import MIGRATIONS, SqlStore
from fivefold_features.sweeping import Sweeper
from fivefold_features.upkeep import Upkeep
from fivefold_runtime import permissions
from fivefold_runtime.app import App
from fivefold_runtime.main import run
from fivefold_runtime.objects import Objects
from fivefold_runtime.permissions import PermissionsServicer
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig, StartError, setting
from fivefold_runtime.sql import Database, sqlite_in

if TYPE_CHECKING:
    from fivefold_features.offline import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServerConfig):
    """Settings of the features service."""

    listen: str = setting("127.0.0.1:7102", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting(
        "fivefold-data/features", "folder of this server's files; one server at a time owns it", unit="folder"
    )
    store_url: str = setting(
        "", "postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in the data folder", unit="URL", secret=True
    )
    objects_url: str = setting(
        "",
        "where rows of tables and training sets are: a folder, s3://, gs:// or az://; empty: in the data folder",
        unit="URL",
    )
    online_url: str = setting(
        "",
        "redis://HOST:PORT/DB that holds the online values; empty: SQLite in the data folder",
        unit="URL",
        secret=True,
    )
    functions: str = setting(
        "", "installed modules with on-demand functions, such as shop.features,shop.rules", unit="names"
    )
    memory_bytes: int = setting(
        1 << 30,
        "about what the rows of one join or compaction may take in memory; larger ones are done in steps",
        unit="bytes",
    )
    compact_after: int = setting(
        32, "writes after which a table is put into one file in the background; 0: only when asked", unit="files"
    )
    upkeep_seconds: float = setting(60.0, "how often tables and files are looked after", unit="seconds")
    vacuum_grace_seconds: float = setting(
        900.0, "how long files that a vacuum gave up stay for readers that have begun", unit="seconds"
    )

    def check(self) -> None:
        if self.memory_bytes < 1 << 20:
            raise StartError(f"--memory-bytes is {self.memory_bytes}; it must be at least {1 << 20}.")
        if self.compact_after < 0 or self.compact_after == 1:
            raise StartError(f"--compact-after is {self.compact_after}; it must be 0, or 2 or more.")
        if self.upkeep_seconds <= 0 or self.vacuum_grace_seconds < 0:
            raise StartError("--upkeep-seconds must be above 0, and --vacuum-grace-seconds not below.")


def build(config: Config) -> App:
    """Puts the service together. Raises StartError."""
    data = Path(config.data)
    functions = install(config.functions)
    database = Database.open(config.store_url or sqlite_in(data), migrations=MIGRATIONS)
    objects = Objects.open(config.objects_url or str(data / "history"))
    online = open_store(config.online_url, str(data / "online.db"))
    authorizer = Authorizer(config, database, names.owner_of)
    store = SqlStore(database, authorizer.may_read)
    sweeper = Sweeper(store, objects, online, database.clock)
    history = functools.cache(_history(config, objects))
    servicer = FeatureServicer(
        database, store, history, online, sweeper, authorizer, memory_bytes=config.memory_bytes, functions=functions
    )
    upkeep = Upkeep(
        store,
        objects,
        servicer.compactor,
        database.clock,
        compact_after=config.compact_after,
        grace_seconds=config.vacuum_grace_seconds,
        every_seconds=config.upkeep_seconds,
    )
    return App(
        servicers={SERVICE: servicer, permissions.SERVICE: PermissionsServicer(database, authorizer)},
        database=database,
        authorizer=authorizer,
        background=[sweeper, upkeep],
        close=[online.close],
    )


def _history(config: Config, objects: Objects) -> functools.partial[History]:
    """Returns what opens the offline store when it is first needed: its engines are large."""
    spool = Path(config.data) / "spool"
    shutil.rmtree(spool, ignore_errors=True)  # what a crash left
    spool.mkdir()
    parts = urlsplit(config.objects_url or str(Path(config.data) / "history"))
    folder = Path(parts.path).resolve() if parts.scheme in ("", "file") else None
    return functools.partial(_open_history, objects, spool, folder, config.memory_bytes)


def _open_history(objects: Objects, spool: Path, folder: Path | None, memory_bytes: int) -> History:
    from fivefold_features.offline.draft import Room
    from fivefold_features.offline.parquet import ParquetHistory

    return ParquetHistory(objects, spool, folder, Room(memory_bytes // 4))


if __name__ == "__main__":
    sys.exit(run("features", Config, build))
