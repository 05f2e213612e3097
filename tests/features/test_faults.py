"""Between the steps of a write, with many writers, and across restarts: nothing half, nothing lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import sweeping
from fivefold_features.online import Published, Rows
from fivefold_features.online.sqlite import SqliteOnline
from fivefold_features.servicer import SERVICE
from fivefold_features.store.sql import MIGRATIONS, SqlStore
from fivefold_features.sweeping import Sweeper
from fivefold_runtime import errors
from fivefold_runtime.faults import StoreUnavailable
from fivefold_runtime.objects import Objects
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import SettableClock
from tests.features.calling import MOMENT, Client, Serve, at, lookup, unpacked

COLUMNS = {"k": "INT64", "t": "TIMESTAMP", "v": "INT64"}


def frame(keys: list[int], hour: float = 1.0, value: int = 0) -> pa.Table:
    return pa.table({"k": keys, "t": pa.array([at(hour)] * len(keys), MOMENT), "v": [value] * len(keys)})


def make(client: Client, **fields: Any) -> None:
    client.create("x", COLUMNS, ["k"], timestamp_key="t", **fields)
    client.spec("s", lookup("x"))


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "data" / "history").rglob("*.parquet"))


def test_a_write_that_ends_between_its_file_and_its_version_leaves_no_version(
    start: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    make(client)
    client.write("x", frame([1]))

    def die(*_: object) -> None:
        raise StoreUnavailable("the store went away")

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "add_version", die)
        with pytest.raises(grpc.RpcError):
            client.write("x", frame([2]), request_id="again")
    assert len(files(tmp_path)) == 2 and client.table("x").current_version == 1
    assert client.read("x")["k"].to_pylist() == [1]
    assert client.write("x", frame([2]), request_id="again").version == 2
    assert client.read("x")["k"].to_pylist() == [1, 2]


def test_files_that_nothing_names_are_swept_when_they_are_a_day_old_and_no_others(start: Serve, tmp_path: Path) -> None:
    client = start()
    make(client)
    client.write("x", frame([1]))
    client.train("s", frame([1]).select(["k", "t"]), "t")
    named = files(tmp_path)
    orphan = named[0].with_name(f"{'0' * 12}7000800000000000000f.parquet")
    orphan.write_bytes(b"left by a crash")
    now = datetime.now(UTC)
    database = Database.open(sqlite_in(tmp_path / "data"), migrations=MIGRATIONS, clock=SettableClock(now))
    online = SqliteOnline(str(tmp_path / "data" / "online.db"))
    objects = Objects.open(str(tmp_path / "data" / "history"))
    assert Sweeper(SqlStore(database), objects, online, database.clock).sweep() == 1
    assert files(tmp_path) == named
    fresh = named[0].with_name(f"{int(now.timestamp() * 1000):012x}70008000000000000000.parquet")
    fresh.write_bytes(b"being written")
    assert Sweeper(SqlStore(database), objects, online, database.clock).sweep() == 0
    later = SettableClock(now + timedelta(days=2))
    assert Sweeper(SqlStore(database), objects, online, later).sweep() == 1
    assert files(tmp_path) == named
    online.close()
    database.close()


def test_a_call_that_is_answered_from_memory_or_refused_by_its_id_leaves_no_file(start: Serve, tmp_path: Path) -> None:
    client = start()
    make(client)
    labels = frame([1]).select(["k", "t"])
    written = client.write("x", frame([1]), request_id="one")
    made = client.train("s", labels, "t", request_id="two")
    named = files(tmp_path)
    assert client.write("x", frame([1]), request_id="one") == written
    assert client.train("s", labels, "t", request_id="two") == made
    for again in (
        lambda: client.write("x", frame([2]), request_id="one"),
        lambda: client.train("s", frame([2]).select(["k", "t"]), "t", request_id="two"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            again()
        assert errors.parse(caught.value)[0] == "REQUEST_ID_REUSED"
    assert files(tmp_path) == named and len(named) == 3


def test_files_are_swept_every_hour_however_often_tables_are_deleted(
    start: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_EVERY_SECONDS", 0.2)
    sweeps: list[float] = []
    monkeypatch.setattr(Sweeper, "sweep", lambda self: sweeps.append(time.monotonic()) or 0)
    sweeper = next(work for work in start().running.app.background if isinstance(work, Sweeper))
    end = time.monotonic() + 30
    while len(sweeps) < 4:
        assert time.monotonic() < end
        sweeper.table_gone("0" * 32)  # type: ignore[attr-defined]
        time.sleep(0.05)


def test_a_deleted_table_leaves_neither_files_nor_online_values(start: Serve, tmp_path: Path) -> None:
    client = start()
    client.create("x", COLUMNS, ["k"], timestamp_key="t")
    client.write("x", frame([1]))
    client.publish("x")
    client.call("DeleteTable", pb.DeleteTableRequest(name="tables/x"))
    client.running.app.background[0].stop()  # ends after what it was told
    assert files(tmp_path) == []
    online = SqliteOnline(str(tmp_path / "data" / "online.db"))
    assert online._writer.execute("SELECT count(*) FROM online").fetchone() == (0,)
    online.close()


def test_a_publish_that_failed_after_its_write_is_made_up_by_the_same_call_sent_again(
    start: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    make(client, publish_on_write=True)

    def die(*_: object, **__: object) -> None:
        raise StoreUnavailable("the online store went away")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteOnline, "write", die)
        with pytest.raises(grpc.RpcError) as caught:
            client.write("x", frame([1], value=7), request_id="once")
        assert errors.parse(caught.value)[0] == "STORE_UNAVAILABLE"
    assert client.table("x").current_version == 1
    assert client.write("x", frame([1], value=7), request_id="once").version == 1
    assert unpacked(client.online("s", {"k": [1]})) == {"v": [7]}


def test_after_the_online_store_was_lost_a_small_write_brings_everything_back(start: Serve, online_url: str) -> None:
    client = start(online_url=online_url)
    make(client, publish_on_write=True)
    client.write("x", frame([1, 2, 3], value=7))
    servicer = client.running.app.servicers[SERVICE]
    servicer._online.drop(servicer._store.table("x").uid)  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as caught:
        client.online("s", {"k": [1]})
    assert errors.parse(caught.value)[0] == "NOT_PUBLISHED"
    client.write("x", frame([4], value=8))
    assert unpacked(client.online("s", {"k": [1, 2, 3, 4]})) == {"v": [7, 7, 7, 8]}


def test_features_are_looked_up_without_a_look_at_the_versions_of_their_tables(
    start: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    make(client, publish_on_write=True)
    client.write("x", frame([1], value=7))
    monkeypatch.delattr(SqlStore, "snapshot")
    assert unpacked(client.online("s", {"k": [1]})) == {"v": [7]}


def test_a_write_puts_online_what_is_new_alone(start: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start()
    make(client, publish_on_write=True)
    client.write("x", frame([1, 2]))
    write = SqliteOnline.write
    keys_written: list[int] = []

    def watched(self: SqliteOnline, table: str, base: int, rows: Rows, *, replace: bool) -> Published:
        done = write(self, table, base, rows, replace=replace)
        keys_written.append(done.keys_written)
        return done

    monkeypatch.setattr(SqliteOnline, "write", watched)
    client.write("x", frame([3]))
    client.write("x", frame([4, 5, 6], value=1))
    assert keys_written == [1, 3]


def test_a_reset_keeps_what_was_written_while_it_ran(start: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start()
    make(client, publish_on_write=True)
    client.write("x", frame([1], value=1))
    write = SqliteOnline.write

    def overtaken(self: SqliteOnline, table: str, base: int, rows: Rows, *, replace: bool) -> Published:
        if replace:
            client.write("x", frame([2], value=2))
        return write(self, table, base, rows, replace=replace)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteOnline, "write", overtaken)
        client.publish("x", reset=True)
    assert unpacked(client.online("s", {"k": [1, 2]})) == {"v": [1, 2]}


def test_a_deleted_table_leaves_the_online_store_once_that_answers_again(
    start: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    client.create("x", COLUMNS, ["k"], timestamp_key="t", publish_on_write=True)
    client.write("x", frame([1]))
    servicer = client.running.app.servicers[SERVICE]
    online, uid = servicer._online, servicer._store.table("x").uid  # type: ignore[attr-defined]
    drop = SqliteOnline.drop
    refusals: list[str] = []

    def away(self: SqliteOnline, table: str) -> None:
        if refusals:
            return drop(self, table)
        refusals.append(table)
        raise StoreUnavailable("the online store went away")

    monkeypatch.setattr(sweeping, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(SqliteOnline, "drop", away)
    client.call("DeleteTable", pb.DeleteTableRequest(name="tables/x"))
    end = time.monotonic() + 30
    while online.read(uid, []) is not None or files(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert refusals == [uid]


def test_of_concurrent_writers_all_rows_are_kept_and_the_newest_is_online(start: Serve, online_url: str) -> None:
    client = start(online_url=online_url)
    make(client, publish_on_write=True)

    def write(number: int) -> int:
        hour = (number * 7) % 24
        client.write("x", pa.concat_tables([frame([number], hour), frame([1000], hour, value=hour)]))
        return hour

    with ThreadPoolExecutor(6) as pool:
        hours = list(pool.map(write, range(24)))
    rows = client.read("x")
    assert sorted(rows["k"].to_pylist()) == [*range(24), *([1000] * 24)]
    versions = client.call("ListTableVersions", pb.ListTableVersionsRequest(parent="tables/x")).table_versions
    assert [one.version for one in versions] == list(range(24, 0, -1))
    assert unpacked(client.online("s", {"k": [1000, 5]})) == {"v": [max(hours), 0]}


def test_the_same_call_sent_many_times_at_once_has_one_effect(start: Serve, store_url: str) -> None:
    client = start(store_url=store_url)
    make(client)
    barrier = threading.Barrier(6)

    def write(_: int) -> pb.TableVersion:
        barrier.wait()
        return client.write("x", frame([1]), request_id="one")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(write, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert client.table("x").current_version == 1


def test_the_whole_service_works_over_postgresql(start: Serve, postgres_url: str, redis_url: str) -> None:
    client = start(store_url=postgres_url, online_url=redis_url)
    make(client)
    client.write("x", frame([1, 2], value=3))
    client.publish("x")
    labels = frame([2, 9], 2).select(["k", "t"])
    assert client.rows(client.train("s", labels, "t"))["v"].to_pylist() == [3, None]
    assert unpacked(client.online("s", {"k": [2, 9]})) == {"v": [3, None]}


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    from fivefold_features.__main__ import Config, build
    from fivefold_runtime.testing import serve

    config = Config(data=str(tmp_path / "data"))
    with serve(build, config) as running:
        client = Client(running)
        make(client)
        client.write("x", frame([1], value=4))
        client.publish("x")
        made = client.train("s", frame([1], 5).select(["k", "t"]), "t")
        (tmp_path / "data" / "spool" / "left").mkdir()
    with serve(build, config) as running:
        again = Client(running)
        assert again.table("x").current_version == 1
        assert unpacked(again.online("s", {"k": [1]})) == {"v": [4]}
        assert again.rows(made)["v"].to_pylist() == [4]
    assert not list((tmp_path / "data" / "spool").iterdir())
