"""A tracking service for each test, and stores on both databases."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import Running, postgres_server, postgres_url, serve  # noqa: F401
from fivefold_tracking.__main__ import Config, build
from fivefold_tracking.store.sql import MIGRATIONS, Store
from fivefold_tracking.store.tables import metadata
from tests.tracking.client import Tracking


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the schema, to copy: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    Database.open(sqlite_in(folder), migrations=MIGRATIONS).close()
    return folder / "store.db"


@pytest.fixture
def data(migrated: Path, tmp_path: Path) -> Path:
    """The data folder of a service that has started before."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(migrated, folder)
    return folder


@pytest.fixture
def service(data: Path) -> Iterator[Running]:
    """A service on SQLite without authentication."""
    with serve(build, Config(data=str(data))) as running:
        yield running


@pytest.fixture
def tracking(service: Running) -> Tracking:
    return Tracking(service.channel)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_both(request: pytest.FixtureRequest, data: Path) -> Iterator[Tracking]:
    """A service on each kind of database."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with serve(build, Config(data=str(data), store_url=url)) as running:
        yield Tracking(running.channel)


@pytest.fixture
def sqlite_store(data: Path) -> Iterator[Store]:
    database = Database.open(sqlite_in(data), migrations=MIGRATIONS)
    yield Store.over(database)
    database.close()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[Database]:  # noqa: F811
    """One migrated PostgreSQL database, which tests empty instead of making their own."""
    name = f"tracking_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        database = Database.open(postgres_server.replace("/postgres?", f"/{name}?"), migrations=MIGRATIONS)
        yield database
        database.close()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_store(postgres_database: Database) -> Store:
    tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    with postgres_database.write() as tx:
        tx.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    return Store.over(postgres_database)
