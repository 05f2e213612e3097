"""A Redis that is killed under load, and many publishers at once: answers are right or refused, and all comes back."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
import redis

from fivefold.features.v1 import features_pb2 as pb
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, lookup, unpacked
from tests.features.conftest import _redis_binary, _wait

KEYS = [f"k{number}" for number in range(50)]


class OwnRedis:
    """A Redis of one test, that can be killed and started again on its port, without what it held."""

    def __init__(self, folder: Path) -> None:
        binary = _redis_binary()
        if binary is None:
            pytest.skip("no redis-server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.url = f"redis://127.0.0.1:{port}/0"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        _wait(self.url)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    one = OwnRedis(tmp_path)
    yield one
    one.kill()


def rows(values: list[int], hour: int = 0) -> pa.Table:
    return pa.table({"k": KEYS, "t": pa.array([at(hour)] * len(KEYS), MOMENT), "v": pa.array(values, pa.int64())})


def table(client: Client) -> None:
    client.create("x", {"k": "STRING", "t": "TIMESTAMP", "v": "INT64"}, ["k"], timestamp_key="t")
    client.spec("s", lookup("x", ["v"]))


def test_callers_get_right_answers_or_a_typed_refusal_while_redis_is_killed_and_comes_back(
    start: Serve, own_redis: OwnRedis
) -> None:
    client = start(online_url=own_redis.url)
    table(client)
    values = list(range(50))
    client.write("x", rows(values))
    client.publish("x")
    seen: Counter[str] = Counter()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                found = unpacked(client.online("s", {"k": KEYS}))["v"]
                seen["right" if found == values else "wrong"] += 1
            except grpc.RpcError as error:
                seen[errors.parse(error)[0]] += 1

    def until(what: str) -> None:
        before, patience = seen[what], time.monotonic() + 30
        while seen[what] == before:
            assert time.monotonic() < patience, seen
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            until("right")
            own_redis.kill()
            until("STORE_UNAVAILABLE")
            with pytest.raises(grpc.RpcError) as caught:
                client.publish("x")
            assert errors.parse(caught.value)[0] == "STORE_UNAVAILABLE"
            own_redis.start()
            until("NOT_PUBLISHED")
            assert client.publish("x", mode="INCREMENTAL").keys_written == 50, "what was lost counts as never offered"
            until("right")
        finally:
            ended.set()
        for one in asking:
            one.result()
    assert set(seen) == {"right", "STORE_UNAVAILABLE", "NOT_PUBLISHED"}


def test_a_table_that_publishes_on_write_comes_back_whole_with_the_next_write(
    start: Serve, own_redis: OwnRedis
) -> None:
    client = start(online_url=own_redis.url)
    client.create("x", {"k": "STRING", "v": "INT64"}, ["k"], publish_on_write=True)
    client.spec("s", lookup("x"))
    client.write("x", pa.table({"k": KEYS, "v": list(range(50))}))
    own_redis.kill()
    own_redis.start()
    redis.Redis.from_url(own_redis.url).ping()
    client.write("x", pa.table({"k": ["k0"], "v": [-1]}))
    assert unpacked(client.online("s", {"k": KEYS}))["v"] == [-1, *range(1, 50)]


def test_after_many_writers_and_publishers_at_once_online_is_what_is_offline(start: Serve, online_url: str) -> None:
    client = start(online_url=online_url)
    table(client)
    client.write("x", rows([0] * 50))

    def write(number: int) -> None:
        client.write("x", rows([number] * 50, hour=number % 5))

    def publish(number: int) -> None:
        client.publish("x", mode=("SNAPSHOT", "INCREMENTAL")[number % 2])

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(work, number) for number in range(1, 13) for work in (write, publish)]
        for one in running:
            one.result()
    client.publish("x", mode="INCREMENTAL")
    checked = client.check("s", as_of=at(100))
    assert (checked.rows, checked.different_values) == (50, 0)


def test_a_spec_that_was_deleted_is_not_answered_any_more(start: Serve) -> None:
    client = start()
    table(client)
    client.write("x", rows([1] * 50))
    client.publish("x")
    assert unpacked(client.online("s", {"k": ["k0"]})) == {"v": [1]}
    client.call("DeleteFeatureSpec", pb.DeleteFeatureSpecRequest(name="specs/s"))
    with pytest.raises(grpc.RpcError) as caught:
        client.online("s", {"k": ["k0"]})
    assert errors.parse(caught.value)[0] == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize("field", ["as_of", "reset"])
def test_an_incremental_publish_takes_neither_a_time_nor_a_reset(start: Serve, field: str) -> None:
    client = start()
    table(client)
    client.write("x", rows([0] * 50))
    with pytest.raises(grpc.RpcError, match="INCREMENTAL") as caught:
        client.publish("x", at(1) if field == "as_of" else None, reset=field == "reset", mode="INCREMENTAL")
    assert errors.parse(caught.value)[0] == "FIELD_INVALID"
