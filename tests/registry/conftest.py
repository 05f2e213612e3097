"""A registry for each test, with a real tracking service as the source of files, and stores on both databases."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import delete, insert, text

from fivefold_registry.__main__ import Config, build
from fivefold_registry.store.outgoing_tables import courier
from fivefold_registry.store.sql import MIGRATIONS
from fivefold_registry.store.tables import metadata
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import Running, postgres_server, postgres_url, serve  # noqa: F401
from tests.registry.client import Registry
from tests.registry.sources import Sources


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


@pytest.fixture(scope="session")
def shared_postgres(postgres_server: str) -> Iterator[Database]:  # noqa: F811
    """One migrated PostgreSQL database, which tests empty instead of making their own."""
    name = f"registry_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        opened = Database.open(postgres_server.replace("/postgres?", f"/{name}?"), migrations=MIGRATIONS)
        yield opened
        opened.close()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres(shared_postgres: Database) -> Database:
    # A TRUNCATE takes twenty times as long, since it makes the files of all tables anew.
    with shared_postgres.write() as tx:
        for table in reversed(metadata.sorted_tables):
            tx.execute(delete(table))
        tx.execute(text("SELECT setval(pg_get_serial_sequence('outbox', 'position'), 1, false)"))
        tx.execute(insert(courier).values(id=1, owner="", beats=0, position=0, trimmed=0))  # as the migration does
    return shared_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, data: Path) -> Iterator[Database]:
    """A migrated, empty database of each kind."""
    if request.param == "postgresql":
        yield request.getfixturevalue("empty_postgres")
        return
    opened = Database.open(sqlite_in(data), migrations=MIGRATIONS)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    """A tracking service without authentication, and a folder of a run in it to make versions from."""
    with Sources.serve(tmp_path_factory.mktemp("tracking")) as made:
        yield made


@pytest.fixture
def service(data: Path, sources: Sources) -> Iterator[Running]:
    """A registry on SQLite without authentication."""
    with serve(build, Config(data=str(data), tracking=sources.address)) as running:
        yield running


@pytest.fixture
def registry(service: Running, sources: Sources) -> Registry:
    return Registry(service.channel, sources.model)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_both(request: pytest.FixtureRequest, data: Path, sources: Sources) -> Iterator[Registry]:
    """A registry on each kind of database."""
    url = "" if request.param == "sqlite" else url_of(request.getfixturevalue("empty_postgres"))
    with serve(build, Config(data=str(data), store_url=url, tracking=sources.address)) as running:
        yield Registry(running.channel, sources.model)


def url_of(database: Database) -> str:
    """Returns the URL that opens the database again."""
    return database.engine.url.render_as_string(hide_password=False)
