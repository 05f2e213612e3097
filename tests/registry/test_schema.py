"""The migrated schema is the declared one on both databases, and lists read along their indexes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName
from fivefold_registry.store.sql import MIGRATIONS
from fivefold_registry.store.tables import metadata
from fivefold_runtime.sql import Database, sqlite_in
from tests.registry.drivers import StoreDriver
from tests.schema_contract import SchemaContract


class TestSchema(SchemaContract):
    migrations = MIGRATIONS
    metadata = metadata
    golden = Path(__file__).parent / "schema_0001.sql"


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda d: d.in_stage(Stage.PRODUCTION), "versions_by_stage"),
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
