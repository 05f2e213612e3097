"""The migrated schema is the declared one on both databases, and searches read along the indexes made for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, text

from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.records import RunQuery
from fivefold_tracking.store.sql import MIGRATIONS, Store
from fivefold_tracking.store.tables import metadata

GOLDEN = Path(__file__).parent / "schema_0001.sql"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    url = sqlite_in(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = Database.open(url, migrations=MIGRATIONS)
    request.addfinalizer(opened.close)
    return opened


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
