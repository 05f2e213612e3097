"""The migrated schema is the declared one on both databases, and searches read along the indexes made for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from fivefold_runtime.sql import Database, sqlite_in
from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.records import RunQuery
from fivefold_tracking.store.sql import MIGRATIONS, Store
from fivefold_tracking.store.tables import metadata
from tests.schema_contract import SchemaContract


class TestSchema(SchemaContract):
    migrations = MIGRATIONS
    metadata = metadata
    golden = Path(__file__).parent / "schema_0001.sql"


@pytest.mark.parametrize(
    ("order", "index"),
    [
        (Order(By.START_TIME, descending=True), "runs_by_start"),
        (Order(By.METRIC, "auc"), "metrics_by_value"),
        (Order(By.METRIC, "auc", True), "metrics_by_value"),
        (Order(By.PARAM, "depth"), "params_by_key"),
    ],
)
def test_a_search_reads_along_its_index(tmp_path: Path, order: Order, index: str) -> None:
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    store = Store.over(database)
    number = store.experiments.create("a", {}, 1).number
    plans: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT") and "LIMIT" in statement:
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            plans.append("; ".join(row[3] for row in rows))

    value = {By.START_TIME: 5, By.METRIC: 0.5, By.PARAM: "a"}[order.by]
    store.runs.search(RunQuery((number,), order=order), (0, value, "0"), 10)
    database.close()

    assert plans
    assert index in "; ".join(plans), plans
    if order.by is not By.PARAM:
        assert "TEMP B-TREE" not in plans[0], plans
