"""Reading a version: by number, by time, some columns, some keys; and while others write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pyarrow as pa
import pytest

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, kind

COLUMNS = {"a": "STRING", "b": "INT64", "t": "TIMESTAMP", "v": "INT64"}


def frame(*rows: tuple[str, int, float, int]) -> pa.Table:
    a, b, t, v = zip(*rows, strict=True)
    return pa.table({"a": a, "b": b, "t": pa.array([at(hour) for hour in t], MOMENT), "v": v})


def make(client: Client) -> None:
    client.create("x", COLUMNS, ["a", "b"], timestamp_key="t")
    client.write("x", frame(("q", 2, 1, 1), ("q", 1, 1, 2), ("p", 1, 5, 3), ("p", 1, 2, 4)))


def refused(call: Callable[[], Any]) -> tuple[str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    found = errors.parse(caught.value)
    return found[0], dict(found[1])


def test_rows_come_ordered_by_key_and_time_however_they_were_written(client: Client) -> None:
    make(client)
    assert client.read("x")["v"].to_pylist() == [4, 3, 2, 1]
    client.write("x", frame(("p", 0, 0, 5)))
    assert client.read("x")["v"].to_pylist() == [5, 4, 3, 2, 1]
    assert client.read("x", 1, ["v", "a"]).to_pylist()[0] == {"v": 4, "a": "p"}


@pytest.mark.parametrize("writes", [1, 2])
def test_only_rows_of_the_asked_keys_come(client: Client, writes: int) -> None:
    make(client)
    if writes == 2:
        client.write("x", frame(("p", 1, 2, 6)))
    first = 4 if writes == 1 else 6
    assert client.read("x", keys={"a": ["p"]})["v"].to_pylist() == [first, 3]
    assert client.read("x", keys={"a": ["q", "p"], "b": [1, 2]})["v"].to_pylist() == [2]
    assert client.read("x", keys={"b": [1, 7]}, columns=["v"])["v"].to_pylist() == [first, 3, 2]
    assert client.read("x", keys={"a": ["none"]}).num_rows == 0
    assert client.read("x", keys={"a": [None, "q"], "b": [1, 2]})["v"].to_pylist() == [1]


def test_keys_that_are_no_primary_keys_or_of_another_type_or_length_are_refused(client: Client) -> None:
    make(client)
    assert refused(lambda: client.read("x", keys={"v": [1]}))[0] == "SCHEMA_MISMATCH"
    assert refused(lambda: client.read("x", keys={"a": [1]}))[0] == "FIELD_INVALID"
    assert refused(lambda: client.read("x", keys={"a": ["p"], "b": [1, 2]}))[0] == "FIELD_INVALID"
    too_many = data_pb2.Column(name="b", int64s=data_pb2.Int64Values(values=range(10_001)))
    request = pb.ReadTableRequest(name="tables/x", keys=[too_many])
    assert refused(lambda: list(client.call("ReadTable", request)))[0] == "TOO_MANY_ITEMS"


def test_the_version_that_was_the_newest_at_a_time_is_read(client: Client) -> None:
    before = datetime.now(UTC)
    make(client)
    between = datetime.now(UTC)
    client.write("x", frame(("z", 9, 9, 9)), mode="OVERWRITE")
    assert client.read("x", as_of=between).num_rows == 4
    assert client.read("x", as_of=datetime.now(UTC))["v"].to_pylist() == [9]
    assert refused(lambda: client.read("x", as_of=before))[0] == "RESOURCE_NOT_FOUND"
    assert refused(lambda: client.read("x", 1, as_of=between))[0] == "FIELD_INVALID"


def test_readers_see_one_version_and_never_half_a_write_while_others_write_compact_and_add_columns(
    start: Serve,
) -> None:
    """Every write has the rows of all keys with one value: a read with two values saw half a write."""
    client = start(compact_after=0)
    client.create("x", COLUMNS, ["a", "b"], timestamp_key="t")
    rows = [("k", number, 0.0) for number in range(500)]
    client.write("x", frame(*((*row, 0) for row in rows)))
    done = threading.Event()
    broken: list[object] = []

    def read() -> None:
        seen = 0
        while not done.is_set():
            try:
                found = client.read("x", columns=["b", "v"])
            except Exception as error:
                broken.append(error)
                return
            values = set(found["v"].to_pylist())
            if found.num_rows != 500 or len(values) != 1 or min(values) < seen:
                broken.append((found.num_rows, values, seen))
                return
            seen = min(values)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 13):
        client.write("x", frame(*((*row, number) for row in rows)), mode="OVERWRITE" if number == 6 else "MERGE")
        if number % 3 == 0:
            client.compact("x")
            client.vacuum("x")
        if number == 4:
            table = client.table("x")
            table.columns.add(name="late", type=kind("DOUBLE"))
            client.call("UpdateTable", pb.UpdateTableRequest(table=table))
    done.set()
    for reader in readers:
        reader.join()
    assert not broken


@pytest.mark.parametrize("text", ["a\nb", "\x7f", "\x1b[31m"])
def test_a_producer_with_control_characters_is_refused(client: Client, text: str) -> None:
    make(client)
    header = pb.WriteTableRequest.Header(table="tables/x", mode=pb.WRITE_MODE_MERGE, producer=text)
    call = lambda: client.call("WriteTable", iter([pb.WriteTableRequest(header=header)]))  # noqa: E731
    assert refused(call)[0] == "FIELD_INVALID"
    assert client.table("x").current_version == 1
