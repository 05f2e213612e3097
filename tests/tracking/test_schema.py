"""The migrated schema is the declared one on both databases, and searches read along the indexes made for them."""

from __future__ import annotations

import unittest.mock
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from benchmarks.tracking.filled import fill
from fivefold_runtime import migration
from fivefold_runtime.sql import Database, engine_for, sqlite_in
from fivefold_tracking.fields import RUNS
from fivefold_tracking.store import searching
from fivefold_tracking.store.records import RunQuery
from fivefold_tracking.store.sql import MIGRATIONS, Store
from fivefold_tracking.store.tables import metadata
from tests.schema_contract import SchemaContract


class TestSchema(SchemaContract):
    migrations = MIGRATIONS
    metadata = metadata
    golden = Path(__file__).parent / "schema_0001.sql"


@pytest.mark.parametrize(
    ("filter", "order", "index"),
    [
        ("", "start_time desc", "runs_by_start"),
        ("", "metrics.auc", "metrics_by_value"),
        ("", "metrics.auc desc", "metrics_by_value"),
        ("metrics.auc > 0.5", "metrics.auc desc", "metrics_by_value"),
        ("params.objective = 'binary:logistic'", "metrics.auc", "metrics_by_value"),
        ("tags.team = 'ads'", "start_time desc", "runs_by_start"),
        ("", "params.depth", "params_by_value"),
        ("", "tags.team", "tags_by_value"),
    ],
)
def test_a_page_is_read_along_its_index(tmp_path: Path, filter: str, order: str, index: str) -> None:
    plans = _plans(tmp_path, RunQuery((1,), filter=RUNS.parse(filter), order=RUNS.parse_order(order)))

    first = next(plan for plan in plans if "LIMIT" in plan[0] and "ORDER BY" in plan[0])
    assert index in first[1], plans
    assert "USE TEMP B-TREE FOR ORDER BY" not in first[1], plans  # of keys that are equal in the first, it may sort


@pytest.mark.parametrize(
    ("filter", "index"),
    [
        ("metrics.auc > 0.5", "metrics_by_value"),
        ("params.depth = 'x'", "params_by_value"),
        ("params.depth LIKE 'x%'", "params_by_value"),
        ("params.depth > 5", "params_by_number"),
        ("tags.team != 'x'", "tags_by_value"),
        ("tags.team IS NOT NULL", "tags_by_value"),
        ("status = 'FAILED'", "runs_by_status"),
        ("run_name = 'x'", "runs_by_display_name"),
    ],
)
def test_what_matches_is_counted_in_an_index(tmp_path: Path, filter: str, index: str) -> None:
    plans = _plans(tmp_path, RunQuery((1,), filter=RUNS.parse(filter)))

    count = next(plan for plan in plans if "count" in plan[0])
    assert f"USING COVERING INDEX {index}" in count[1], plans


def _plans(tmp_path: Path, query: RunQuery) -> list[tuple[str, str]]:
    """Returns the statements of a search of many runs on SQLite, each with how it is carried out."""
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    number = fill(database, 40)
    plans: list[tuple[str, str]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            plans.append((statement, "; ".join(row[3] for row in rows)))

    with database.read() as tx, unittest.mock.patch.object(searching, "_MANY", 0):
        searching.search(tx, replace(query, experiments=(number,)), None, 10)
    database.close()
    return plans


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_searches_find_by_what_runs_logged_under_the_first_schema(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = sqlite_in(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_url")
    older = engine_for(url)
    migration.upgrade(older, MIGRATIONS, until="0001")
    count = 1200  # more params than the migration reads at once
    with older.execution_options(fivefold_writes=True).begin() as tx:
        tx.execute(text("INSERT INTO experiments (display_name, created, updated, revision) VALUES ('old', 1, 1, 1)"))
        run = {"id": "", "experiment": 1, "started": 1, "created": 1}
        fields = (
            '"display_name", "status", "user", "parent", source_type, source_name, entry_point, git_commit, git_repo'
        )
        tx.execute(
            text(
                f"INSERT INTO runs (id, experiment, started, created, revision, {fields})"
                " VALUES (:id, :experiment, :started, :created, 1, 'r', 'FINISHED', 'ada', '', '', '', '', '', '')"
            ),
            [run | {"id": f"{number:032x}"} for number in range(count)],
        )
        values = ["1e-1", "x", "x" * 600, "12"]
        of_run = [{"run": f"{number:032x}", "value": values[number % 4]} for number in range(count)]
        tx.execute(text("INSERT INTO params (run, key, value, experiment) VALUES (:run, 'p', :value, 1)"), of_run)
        tx.execute(text("INSERT INTO tags (run, key, value) VALUES (:run, 't', :value)"), of_run)
    older.dispose()

    database = Database.open(url, migrations=MIGRATIONS)
    runs = Store.over(database).runs
    totals = {
        filter: runs.search(RunQuery((1,), filter=RUNS.parse(filter)), None, 1).total
        for filter in ("params.p < 1", "params.p = 12", "params.p = 'x'", "params.p LIKE 'xx%'", "tags.t = '12'")
    }
    database.close()
    assert set(totals.values()) == {count // 4}, totals
