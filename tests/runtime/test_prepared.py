"""Prepared statements do on both databases what SQLAlchemy would do."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from notes import notes

from fivefold_runtime import faults
from fivefold_runtime.prepared import Prepared
from fivefold_runtime.sql import Database

ADD = Prepared(sa.insert(notes).returning(notes.c.name), ["name", "text"])
PUT = Prepared(sa.update(notes).where(notes.c.name == sa.bindparam("of")).values(text=sa.bindparam("to")))
READ = Prepared(
    sa.select(notes.c.name, notes.c.text)
    .where(notes.c.name >= sa.bindparam("least"))
    .order_by(notes.c.name)
    .limit(sa.bindparam("most"))
)


@pytest.fixture
def database(store_url):
    opened = Database.open(store_url, migrations="notes_migrations")
    yield opened
    opened.close()


def rows(database, least="", most=100):
    with database.read() as tx:
        return [tuple(row) for row in READ.all(tx, {"least": least, "most": most})]


def test_rows_come_as_tuples_in_the_order_of_the_columns(database):
    with database.write() as tx:
        first = [ADD.first(tx, {"text": f"text {name}", "name": name})[0] for name in "abc"]

    assert first == ["a", "b", "c"]
    assert rows(database, "b") == [("b", "text b"), ("c", "text c")]
    assert rows(database, most=1) == [("a", "text a")]
    with database.read() as tx:
        assert READ.first(tx, {"least": "z", "most": 1}) is None


def test_texts_are_values_and_no_sql(database):
    with database.write() as tx:
        for name in "abc":
            ADD.run(tx, {"name": name, "text": ""})
        for name in "ac":
            PUT.run(tx, {"of": name, "to": f"'{name}'; --"})

    assert rows(database) == [("a", "'a'; --"), ("b", ""), ("c", "'c'; --")]


def test_it_is_part_of_the_transaction(database):
    with pytest.raises(KeyError), database.write() as tx:
        ADD.run(tx, {"name": "a", "text": ""})
        raise KeyError

    assert rows(database) == []


def test_a_value_that_is_left_out_is_an_error_and_not_null(database):
    with pytest.raises((KeyError, sa.exc.StatementError)), database.write() as tx:
        PUT.run(tx, {"of": "a"})


def test_what_the_disk_does_wrong_is_typed(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'full.db'}", migrations="notes_migrations")
    with pytest.raises(faults.StorageFull), database.write() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 12")
        for number in range(1000):
            ADD.run(tx, {"name": str(number), "text": "x" * 2000})
    database.close()
