"""The migrated schema is the declared one on both databases, and lists read along their indexes."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, text

from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName
from fivefold_registry.store.sql import MIGRATIONS
from fivefold_registry.store.tables import metadata
from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.sql import Database, sqlite_in
from tests.registry.drivers import StoreDriver

GOLDEN = Path(__file__).parent / "schema_0001.sql"


def test_the_migrations_make_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [each for each in compare_metadata(context, metadata) if "alembic_version" not in str(each)]

    assert differences == []


def test_the_first_schema_is_the_one_that_is_written_down(tmp_path: Path) -> None:
    """Data of released versions has this schema: a change is a new revision, never another first one."""
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    with database.read() as tx:
        found = tx.execute(text("SELECT tbl_name, sql FROM sqlite_schema ORDER BY type DESC, name")).all()
    ours = metadata.tables.keys() - runtime_tables.metadata.tables.keys()
    dump = "".join(f"{' '.join(sql.split())};\n" for table, sql in found if sql and table in ours)
    database.close()

    assert dump == GOLDEN.read_text(), f"if no data has the old schema yet, write this to {GOLDEN.name}:\n{dump}"


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda d: d.store.versions.list(ModelName("churn"), [Stage.PRODUCTION], None, 9), "versions_by_stage"),
        (lambda d: d.store.requests.list("churn", 1, True, None, 9), "requests_by_version"),
        (lambda d: d.store.journal.activities("churn", 1, 0, 9), "activities_by_version"),
        (lambda d: d.store.versions.pending(), "versions_pending"),
        (lambda d: d.roll_back(), "activities_of_passages"),
    ],
)
def test_a_read_goes_along_its_index(tmp_path: Path, read, index: str) -> None:  # type: ignore[no-untyped-def]
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    driver = StoreDriver(database)
    driver.model()
    for _ in range(2):
        driver.move(driver.version(), Stage.PRODUCTION, archive_existing=True)
    plans: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            plans.append("; ".join(row[3] for row in rows))

    read(driver)
    database.close()
    assert any(index in plan for plan in plans), plans
