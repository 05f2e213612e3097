"""The migrated schema is the declared one on both databases, and lists read along their indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from fivefold_registry.lifecycle import Stage
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
        (lambda d: d.aliases(), "versions_by_stage (model_id=? AND stage=?)"),
        (lambda d: d.versions(order_by="create_time DESC"), "versions_by_creation"),
        (lambda d: d.versions(order_by="update_time"), "versions_by_update"),
        (lambda d: d.versions(filter="run = 'ab'"), "versions_by_run"),
        (lambda d: d.models(order_by="create_time"), "models_by_creation"),
        (lambda d: d.models(order_by="update_time DESC"), "models_by_update"),
        (lambda d: d.remarks("models/churn/versions/1"), "comments_by_version"),
        (lambda d: d.roll_back(), "activities_of_passages"),
    ],
)
def test_a_read_goes_along_its_index(opened: Database, read, index: str) -> None:  # type: ignore[no-untyped-def]
    driver = StoreDriver(opened)
    driver.model()
    for _ in range(2):
        driver.move(driver.version(), Stage.PRODUCTION, archive_existing=True)
    with explained(opened) as plans:
        read(driver)
    assert any(index in plan for plan in plans), plans


def test_a_promotion_searches_and_never_scans_and_asks_no_more_when_there_is_more(opened: Database) -> None:
    driver = StoreDriver(opened)
    driver.model("churn", one_production=True)
    first, second = driver.version(), driver.version()
    driver.move(second, Stage.PRODUCTION)
    costs = []
    for more in (0, 60):
        for _ in range(more):
            driver.comment(driver.version(), "another")
        with explained(opened) as plans:
            for version in (first, second):
                assert driver.move(version, Stage.PRODUCTION, archive_existing=True)
        assert not [plan for plan in plans if "SCAN" in plan], plans
        costs.append(len(plans))
    assert costs[0] == costs[1]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    yield database
    database.close()


@contextmanager
def explained(database: Database) -> Iterator[list[str]]:
    """Yields the plans of the statements that the block executes."""
    plans: list[str] = []

    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            plans.append("; ".join(row[3] for row in rows))

    event.listen(database.engine, "before_cursor_execute", explain)
    yield plans
    event.remove(database.engine, "before_cursor_execute", explain)
