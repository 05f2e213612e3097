"""The outbox: order of commits, nothing stepped over, waiting, events that fall with their transaction."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import outbox as table


@pytest.fixture
def database(store_url):
    opened = Database.open(store_url, migrations="notes_migrations")
    yield opened
    opened.close()


@pytest.fixture
def events(database):
    return Outbox(database)


def payloads(events, after=0, **only) -> list[bytes]:
    return [event.payload for event in events.read(after, **only)]


def test_events_come_in_order_and_from_any_position(database, events):
    for number in range(5):
        database.run(lambda tx, n=number: events.append(tx, "even" if n % 2 == 0 else "odd", f"k{n % 3}", b"%d" % n))
    everything = events.read()
    assert [event.payload for event in everything] == [b"0", b"1", b"2", b"3", b"4"]
    assert payloads(events, everything[2].position) == [b"3", b"4"]
    assert payloads(events, topics=["odd"]) == [b"1", b"3"]
    assert payloads(events, key="k0") == [b"0", b"3"]
    assert payloads(events, limit=2) == [b"0", b"1"]
    assert events.latest() == everything[-1].position


def test_an_event_falls_with_its_transaction(database, events):
    def failing(tx):
        events.append(tx, "t", "k", b"never")
        raise KeyError

    with pytest.raises(KeyError):
        database.run(failing)
    assert events.read() == []


def test_a_reader_never_steps_over_an_event_that_commits_late(database, events):
    """Writers of many transactions race; a reader that follows positions sees every event, each once, in order."""
    wanted, seen, done = 120, [], threading.Event()

    def write(number: int) -> None:
        database.run(lambda tx: events.append(tx, "t", "k", b"%d" % number))

    def follow() -> None:
        after = 0
        while len(seen) < wanted and not done.is_set():
            for event in events.read(after, limit=7):
                assert event.position > after
                after = event.position
                seen.append(event.payload)

    reader = threading.Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(12) as writers:
        list(writers.map(write, range(wanted)))
    reader.join(30)
    done.set()
    assert sorted(seen) == sorted(b"%d" % number for number in range(wanted))


def test_of_two_interleaved_transactions_the_later_commit_has_the_later_position(postgres_url):
    """The first to append commits last: its event must come after, or a reader that saw the other would miss it."""
    database = Database.open(postgres_url, migrations="notes_migrations")
    events = Outbox(database)
    appended, committed = threading.Event(), threading.Event()

    def slow():
        with database.write() as tx:
            events.append(tx, "t", "k", b"appended first, committed last")
            appended.set()
            assert committed.wait(30)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(slow)
        assert appended.wait(30)
        database.run(lambda tx: events.append(tx, "t", "k", b"appended last, committed first"))
        [seen] = events.read()
        committed.set()
        first.result(30)
    assert payloads(events, seen.position) == [b"appended first, committed last"]
    database.close()


def test_a_position_is_not_given_out_again_after_the_newest_event_was_deleted(database, events):
    database.run(lambda tx: events.append(tx, "t", "k", b"1"))
    before = events.latest()
    database.run(lambda tx: tx.execute(sa.delete(table)))
    database.run(lambda tx: events.append(tx, "t", "k", b"2"))
    assert events.latest() > before


def test_waiting_ends_with_the_next_event_and_not_before(database, events):
    assert not events.wait(0, 0.01)
    with ThreadPoolExecutor(8) as waiters:
        waiting = [waiters.submit(events.wait, 0, 30) for _ in range(8)]
        database.run(lambda tx: events.append(tx, "t", "k", b"1"))
        assert all(future.result(30) for future in waiting)
    assert not events.wait(events.latest(), 0.01)


def test_events_of_another_replica_are_noticed(postgres_url):
    here = Database.open(postgres_url, migrations="notes_migrations")
    there = Database.open(postgres_url, migrations="notes_migrations")
    with ThreadPoolExecutor(1) as waiter:
        waiting = waiter.submit(Outbox(here).wait, 0, 30)
        there.run(lambda tx: Outbox(there).append(tx, "t", "k", b"1"))
        assert waiting.result(30)
    here.close()
    there.close()
