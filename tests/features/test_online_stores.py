"""What an online store promises, on SQLite and Redis."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from fivefold_features.online import OnlineStore, open_store
from fivefold_features.packing import Ranks, layout_of, times_of
from fivefold_features.schema import Kind
from fivefold_runtime.faults import StoreUnavailable
from fivefold_runtime.settings import StartError

TABLE = "0" * 32


@pytest.fixture
def store(online_url: str, tmp_path: Path) -> Iterator[OnlineStore]:
    opened = open_store(online_url, str(tmp_path / "online.db"))
    yield opened
    opened.close()


def row(event: int, version: int = 1, known: int = 0, value: int = 0) -> bytes:
    """A packed row of one number."""
    ranks = Ranks(*(np.array([number]) for number in (event, version, known)))
    return next(iter(layout_of((Kind.INT64,)).pack(ranks, [np.array([value])], [np.array([False])])))


def test_a_table_is_not_online_before_it_is_written_and_no_more_when_dropped(store: OnlineStore) -> None:
    assert store.read(TABLE, [b"k"]) is None
    assert store.write(TABLE, 0, [], replace=False).keys_total == 0
    assert store.read(TABLE, [b"k"]) == [None], "even without rows"
    store.write(TABLE, 0, [(b"k", row(1))], replace=False)
    store.drop(TABLE)
    assert store.read(TABLE, [b"k"]) is None


def test_rows_come_in_the_order_of_the_keys_and_other_tables_are_apart(store: OnlineStore) -> None:
    keys = [b"\0", b"\xff\0", b"a", "ü".encode()]
    store.write(TABLE, 0, [(key, row(1, value=n)) for n, key in enumerate(keys)], replace=False)
    store.write("1" * 32, 0, [(b"a", row(9))], replace=False)
    assert store.read(TABLE, [b"a", None, b"b", b"\0", b"a"]) == [row(1, value=2), None, None, row(1), row(1, value=2)]
    assert store.read("1" * 32, [b"a"]) == [row(9)]
    assert store.read(TABLE, []) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (row(1), row(2)),
        (row(-5, 9), row(-4, 1)),
        (row(-1), row(0)),
        (row(255), row(256)),
        (row(2**40), row(2**40 + 1)),
        (row(1, 1), row(1, 2)),
        (row(1, 1, 5), row(1, 1, 6)),
        (row(-(2**63)), row(0)),
    ],
)
def test_the_greater_rank_stays_whoever_writes_first(store: OnlineStore, older: bytes, newer: bytes) -> None:
    assert store.write(TABLE, 0, [(b"a", older), (b"b", newer)], replace=False).keys_written == 2
    assert store.write(TABLE, 0, [(b"a", newer), (b"b", older)], replace=False).keys_written == 1
    assert store.read(TABLE, [b"a", b"b"]) == [newer, newer]


def test_a_row_of_equal_rank_replaces(store: OnlineStore) -> None:
    store.write(TABLE, 0, [(b"a", row(1, value=1))], replace=False)
    store.write(TABLE, 0, [(b"a", row(1, value=2))], replace=False)
    assert store.read(TABLE, [b"a"]) == [row(1, value=2)]


def test_a_replacement_removes_what_it_lacks_and_may_go_back(store: OnlineStore) -> None:
    store.write(TABLE, 0, [(b"a", row(5)), (b"b", row(5))], replace=False)
    done = store.write(TABLE, 0, [(b"a", row(1))], replace=True)
    assert (done.keys_written, done.keys_total) == (1, 1)
    assert store.read(TABLE, [b"a", b"b"]) == [row(1), None]


def test_rows_of_a_newer_base_replace_and_of_an_older_one_change_nothing(store: OnlineStore) -> None:
    store.write(TABLE, 0, [(b"a", row(5)), (b"b", row(5))], replace=False)
    store.write(TABLE, 3, [(b"a", row(1))], replace=False)
    assert store.read(TABLE, [b"a", b"b"]) == [row(1), None]
    for replace in (False, True):
        done = store.write(TABLE, 2, [(b"b", row(9))], replace=replace)
        assert (done.keys_written, done.keys_total) == (0, 1)
    assert store.read(TABLE, [b"a", b"b"]) == [row(1), None]


def test_the_newest_wins_under_concurrent_writers_of_many_keys(store: OnlineStore) -> None:
    keys = [f"k{number}".encode() for number in range(50)]

    newest: dict[bytes, bytes] = {}
    lock = threading.Lock()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(5):
            batch = [(key, row(chance.randrange(1000), seed)) for key in keys]
            store.write(TABLE, 0, batch, replace=False)
            with lock:
                newest.update((key, max(newest.get(key, b""), one)) for key, one in batch)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert store.read(TABLE, list(keys)) == [newest[key] for key in keys]


def test_readers_see_a_replacement_whole_or_not_at_all(store: OnlineStore) -> None:
    keys = [f"k{number}".encode() for number in range(200)]
    store.write(TABLE, 0, [(key, row(0)) for key in keys], replace=True)
    ended = threading.Event()

    def replace() -> None:
        for event in range(1, 12):
            store.write(TABLE, 0, [(key, row(event % 3)) for key in keys], replace=True)
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(replace)
        while not ended.is_set() and not running.done():
            rows = store.read(TABLE, list(keys))
            assert rows is not None and all(rows)
            assert len({times_of(one)[0] for one in rows if one}) == 1
        running.result()


def test_many_rows_are_written_and_counted(store: OnlineStore) -> None:
    rows = [(number.to_bytes(4), row(number)) for number in range(3001)]
    done = store.write(TABLE, 0, rows, replace=False)
    assert (done.keys_written, done.keys_total) == (3001, 3001)
    assert store.write(TABLE, 0, rows[:1000], replace=True).keys_total == 1000


class Watched(Sequence[tuple[bytes, bytes]]):
    """2000 rows that call `step` when the second thousand is asked for."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step

    def __len__(self) -> int:
        return 2000

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place >= len(self):
            raise IndexError
        if place == 1000:
            self._step()
        return place.to_bytes(4), row(place)


class ServerDied(Exception):
    """Ends a write in its middle."""


def test_a_table_of_which_a_write_ended_halfway_is_not_online(store: OnlineStore) -> None:
    def die() -> None:
        raise ServerDied

    with pytest.raises(ServerDied):
        store.write(TABLE, 0, Watched(die), replace=False)
    assert store.read(TABLE, [(0).to_bytes(4)]) is None


@pytest.mark.parametrize("before", [None, 0])
def test_rows_that_another_server_puts_online_while_a_table_comes_online_stay(
    redis_url: str, before: int | None
) -> None:
    """SQLite has one writer at a time."""
    store = open_store(redis_url, "")
    if before is not None:
        store.write(TABLE, before, [(b"old", row(1))], replace=False)
    rows = Watched(lambda: store.write(TABLE, 3, [(b"b", row(9))], replace=False))
    assert store.write(TABLE, 3, rows, replace=False).keys_total == 2001
    assert store.read(TABLE, [b"b", b"old", (1999).to_bytes(4)]) == [row(9), None, row(1999)]
    store.close()


def test_a_redis_that_lost_everything_during_a_write_has_all_of_it_afterwards(redis_url: str) -> None:
    store = open_store(redis_url, "")
    for replace in (False, True):
        lost: list[object] = []

        def lose(lost: list[object] = lost) -> None:
            if not lost:
                lost.append(redis.Redis.from_url(redis_url).flushall())

        store.write(TABLE, 0, [], replace=False)
        store.write(TABLE, 0, Watched(lose), replace=replace)
        assert lost and store.read(TABLE, [(0).to_bytes(4), (1999).to_bytes(4)]) == [row(0), row(1999)]
    store.close()


def test_values_outlive_the_server(online_url: str, tmp_path: Path) -> None:
    first = open_store(online_url, str(tmp_path / "online.db"))
    first.write(TABLE, 0, [(b"a", row(1))], replace=False)
    first.close()
    second = open_store(online_url, str(tmp_path / "online.db"))
    assert second.read(TABLE, [b"a"]) == [row(1)]
    second.close()


def test_a_redis_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    store = open_store("redis://127.0.0.1:1/0", "")
    with pytest.raises(StoreUnavailable) as caught:
        store.read(TABLE, [b"a"])
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert "127.0.0.1" not in caught.value.message


def test_an_address_that_is_no_online_store_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="redis://HOST:PORT/DB"):
        open_store("memcached://x", "")
