"""Transactions on SQLite and PostgreSQL: joining, group commit, isolation of failures, deadlines, faults."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from notes import notes

from fivefold_runtime import calls, faults, migration
from fivefold_runtime.calls import Call
from fivefold_runtime.errors import DeadlineExceeded
from fivefold_runtime.principal import Principal
from fivefold_runtime.settings import StartError
from fivefold_runtime.sql import Database, engine_for


@pytest.fixture
def database(store_url):
    opened = Database.open(store_url, migrations="notes_migrations")
    yield opened
    opened.close()


@pytest.fixture
def sqlite(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'only.db'}", migrations="notes_migrations")
    yield opened
    opened.close()


def add(tx, name):
    tx.execute(sa.insert(notes).values(name=name, text=""))


def names(database) -> list[str]:
    with database.read() as tx:
        return list(tx.execute(sa.select(notes.c.name).order_by(notes.c.name)).scalars())


def a_call(seconds: float, subject: str = "ann") -> Call:
    return Call("/test", Principal(subject), time.monotonic() + seconds, threading.Event())


def test_a_block_that_raises_writes_nothing(database):
    with pytest.raises(KeyError), database.write() as tx:
        add(tx, "a")
        raise KeyError
    assert names(database) == []


def test_an_inner_write_joins_the_outer_one_and_falls_with_it(database):
    def work(tx):
        add(tx, "a")
        with database.write() as inner:
            assert inner is tx
            add(inner, "b")
        with database.read() as reading:
            assert len(reading.execute(sa.select(notes)).all()) == 2
        raise KeyError

    with pytest.raises(KeyError):
        database.run(work)
    assert names(database) == []


def test_a_nested_savepoint_may_fail_without_the_rest(database):
    def work(tx):
        add(tx, "a")
        with pytest.raises(sa.exc.IntegrityError), tx.begin_nested():
            add(tx, "a")
        add(tx, "b")

    database.run(work)
    assert names(database) == ["a", "b"]


def test_what_is_returned_is_readable_by_the_next_connection(database):
    database.run(lambda tx: add(tx, "a"))
    assert names(database) == ["a"]


def test_a_read_sees_one_snapshot(database):
    with database.read() as tx:
        before = tx.execute(sa.select(notes)).all()
        with ThreadPoolExecutor(1) as other:
            other.submit(database.run, lambda inner: add(inner, "a")).result()
        assert tx.execute(sa.select(notes)).all() == before


def test_of_many_at_once_the_bad_ones_fail_alone(database):
    def one(number: int):
        def work(tx):
            add(tx, f"n{number:03}")
            if number % 3 == 0:
                raise KeyError(number)

        return database.run(work)

    with ThreadPoolExecutor(24) as callers:
        outcomes = [future.exception() for future in [callers.submit(one, number) for number in range(60)]]
    assert [number for number, outcome in enumerate(outcomes) if outcome] == list(range(0, 60, 3))
    assert names(database) == [f"n{number:03}" for number in range(60) if number % 3]


def test_group_commit_makes_many_durable_by_few_commits(sqlite):
    commits = []
    sa.event.listen(sqlite.engine, "commit", lambda _: commits.append(1))
    hold, entered = threading.Event(), threading.Event()

    def slow(tx):
        entered.set()
        hold.wait(30)

    with ThreadPoolExecutor(41) as callers:
        first = callers.submit(sqlite.run, slow)
        assert entered.wait(10)
        rest = [callers.submit(sqlite.run, lambda tx, n=n: add(tx, f"n{n}")) for n in range(40)]
        while sqlite._writer._queue.qsize() < 40:
            time.sleep(0.001)
        hold.set()
        for future in [first, *rest]:
            future.result(30)
    assert len(names(sqlite)) == 40
    assert len(commits) == 2


def test_work_in_a_group_runs_as_its_own_caller(sqlite):
    def as_caller(subject: str) -> str:
        calls.current.set(a_call(30, subject))
        return sqlite.run(lambda tx: calls.caller().subject)

    with ThreadPoolExecutor(8) as callers:
        subjects = [f"user{number}" for number in range(30)]
        assert list(callers.map(as_caller, subjects)) == subjects


def test_work_whose_deadline_passed_while_queued_never_runs(sqlite):
    hold, entered, ran = threading.Event(), threading.Event(), []

    def slow(tx):
        entered.set()
        hold.wait(30)

    def hurried():
        calls.current.set(a_call(0.05))
        return sqlite.run(ran.append)

    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(sqlite.run, slow)
        assert entered.wait(10)
        with pytest.raises(DeadlineExceeded) as late:
            callers.submit(hurried).result(30)
        assert late.value.reason == "DEADLINE_EXCEEDED"
        hold.set()
        first.result(30)
    sqlite.run(lambda tx: None)
    assert ran == []


def test_work_that_has_begun_is_answered_although_its_deadline_passes(sqlite):
    def slow(tx):
        add(tx, "begun")
        time.sleep(0.2)
        return "done"

    calls.current.set(a_call(0.1))
    try:
        assert sqlite.run(slow) == "done"
    finally:
        calls.current.set(None)
    assert names(sqlite) == ["begun"]


def test_when_the_whole_transaction_is_lost_each_runs_again_alone(sqlite):
    hold, entered = threading.Event(), threading.Event()

    def slow(tx):
        entered.set()
        hold.wait(30)

    def destroyer(tx):
        tx.connection.dbapi_connection.rollback()
        raise sqlite3.OperationalError("gone")

    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(sqlite.run, slow)
        assert entered.wait(10)
        good = callers.submit(sqlite.run, lambda tx: add(tx, "good"))
        while sqlite._writer._queue.qsize() < 1:
            time.sleep(0.001)
        bad = callers.submit(sqlite.run, destroyer)
        late = callers.submit(sqlite.run, lambda tx: add(tx, "late"))
        while sqlite._writer._queue.qsize() < 3:
            time.sleep(0.001)
        hold.set()
        assert first.result(30) is None
        assert isinstance(bad.exception(30), sqlite3.OperationalError)
        assert good.exception(30) is None and late.exception(30) is None
    assert names(sqlite) == ["good", "late"]


def test_steps_around_the_commit_run_in_order_and_only_when_it_happens(database):
    seen = []

    def work(tx):
        database.before_commit(lambda _: seen.append("before"))
        database.after_commit(lambda: seen.append("after"))
        seen.append("work")

    def failing(tx):
        database.after_commit(lambda: seen.append("never"))
        raise KeyError

    database.run(work)
    with pytest.raises(KeyError):
        database.run(failing)
    assert seen == ["work", "before", "after"]
    with pytest.raises(RuntimeError, match="not within a write transaction"):
        database.after_commit(lambda: None)


def test_postgres_runs_a_deadlocked_transaction_again(postgres_url):
    database = Database.open(postgres_url, migrations="notes_migrations")
    database.run(lambda tx: (add(tx, "a"), add(tx, "b")))
    both = threading.Barrier(2, timeout=30)
    runs = []

    def lock(tx, name):
        tx.execute(sa.select(notes).where(notes.c.name == name).with_for_update()).one()

    def crosswise(first, second):
        def work(tx):
            runs.append(first)
            lock(tx, first)
            if len(runs) <= 2:
                both.wait()
            lock(tx, second)

        database.run(work)

    with ThreadPoolExecutor(2) as callers:
        for future in [callers.submit(crosswise, "a", "b"), callers.submit(crosswise, "b", "a")]:
            future.result(30)
    assert len(runs) == 3
    database.close()


def test_a_database_that_goes_away_is_unavailable_and_comes_back(postgres_url):
    database = Database.open(postgres_url, migrations="notes_migrations")
    killer = engine_for(postgres_url)
    others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    mine = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}"

    def killed(tx):
        with killer.connect() as other:
            other.execute(sa.text(mine))
        add(tx, "lost")

    with pytest.raises(faults.StoreUnavailable) as caught:
        database.run(killed)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    database.run(lambda tx: add(tx, "kept"))
    assert names(database) == ["kept"]
    killer.dispose()
    database.close()


def test_a_database_of_a_newer_schema_is_refused(store_url):
    database = Database.open(store_url, migrations="notes_migrations")
    with database.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    database.close()
    with pytest.raises(StartError, match="has schema 0999, this notes-migrations knows up to 0001"):
        Database.open(store_url, migrations="notes_migrations")


def test_two_servers_that_start_at_once_make_one_schema(store_url):
    with ThreadPoolExecutor(4) as starting:
        opened = [starting.submit(Database.open, store_url, migrations="notes_migrations") for _ in range(4)]
        for future in opened:
            future.result(60).close()
    database = Database.open(store_url, migrations="notes_migrations")
    assert names(database) == []
    database.close()


def test_a_server_that_starts_during_a_long_upgrade_waits_for_it(postgres_url, monkeypatch):
    monkeypatch.setattr("fivefold_runtime.sql._BUSY_SECONDS", 0.2)
    other = engine_for(postgres_url)
    with ThreadPoolExecutor(1) as starting:
        with other.connect() as upgrading, upgrading.begin():
            upgrading.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": migration._LOCK})
            opened = starting.submit(Database.open, postgres_url, migrations="notes_migrations", statement_seconds=0.2)
            with pytest.raises(TimeoutError):
                opened.result(1.5)
        opened.result(30).close()
    other.dispose()


def test_a_migration_that_fails_half_way_leaves_the_old_schema(store_url, tmp_path, monkeypatch):
    package = tmp_path / "half_migrations"
    package.mkdir()
    (package / "__init__.py").touch()
    first = 'revision = "0001"\ndown_revision = None\nfrom alembic import op\nimport sqlalchemy as sa\n'
    create = "    op.create_table('t', sa.Column('id', sa.Integer))\n"
    (package / "0001_first.py").write_text(f"{first}def upgrade():\n{create}    raise KeyError('killed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyError):
        Database.open(store_url, migrations="half_migrations")
    (package / "0001_first.py").write_text(f"{first}def upgrade():\n{create}")
    Database.open(store_url, migrations="half_migrations").close()


def test_the_text_of_a_database_error_has_no_values(database):
    with pytest.raises(sa.exc.DBAPIError) as caught, database.write() as tx:
        tx.execute(sa.text("INSERT INTO no_such_table VALUES (:value)"), {"value": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("mysql://u@h/d", "must be sqlite:///FILE or postgresql://"),
        ("sqlite://", "must be sqlite:///FILE or postgresql://"),
        ("no url", "must be sqlite:///FILE or postgresql://"),
        ("sqlite:////no/such/folder/x.db", "cannot use the database"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", "cannot use the database"),
        ("postgresql://u@127.0.0.1:1/d?password=hunter2", "cannot use the database"),
        ("postgresql://u:p@127.0.0.1:hunter2/d", "must be sqlite:///FILE or postgresql://"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line_without_the_password(url, line):
    with pytest.raises(StartError, match=line) as caught:
        Database.open(url, migrations="notes_migrations")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_postgres_without_its_driver_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StartError, match="PostgreSQL needs the package psycopg"):
        engine_for("postgresql://u@127.0.0.1/d")


def test_a_store_that_is_closed_refuses_instead_of_hanging(sqlite):
    sqlite.close()
    with pytest.raises(faults.StoreUnavailable):
        sqlite.run(lambda tx: add(tx, "late"))
