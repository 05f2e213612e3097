"""Killed at any moment, on a full disk: nothing acknowledged is lost, nothing is half, and space heals it."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from fivefold_runtime import errors
from tests.disks import small
from tests.features.calling import MOMENT, Client, at, unpacked
from tests.features.processes import Process
from tests.features.test_faults import frame, make


def test_killed_under_load_no_acknowledged_write_is_lost_and_none_is_half(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    chance = random.Random(5)
    number = 0
    for life in range(3):
        process = Process(tmp_path / "data")
        try:
            client = process.client
            if not life:
                make(client, publish_on_write=True)
            stop_after = len(acknowledged) + chance.randrange(3, 9)
            killer = threading.Thread(target=process.kill)
            while True:
                number += 1
                if len(acknowledged) >= stop_after and not killer.ident:
                    killer.start()
                try:
                    client.write("x", frame([number, -number], value=number))
                except grpc.RpcError:
                    break
                acknowledged.append(number)
            killer.join()
        finally:
            process.kill()
    process = Process(tmp_path / "data")
    try:
        rows = process.client.read("x").to_pylist()
        keys = {row["k"] for row in rows}
        assert {-key for key in keys} == keys, "a write is whole"
        assert keys >= set(acknowledged)
        answer = unpacked(process.client.online("s", {"k": acknowledged}))
        assert answer["v"] == acknowledged
    finally:
        process.kill()


def test_killed_while_it_compacts_and_vacuums_no_row_is_lost_and_files_are_swept(tmp_path: Path) -> None:
    """Every write has one new key and the key 0, whose value must be that of the last acknowledged write at least."""
    upkeep = ["--compact-after", "2", "--upkeep-seconds", "0.02", "--vacuum-grace-seconds", "0.2"]
    acknowledged = [0]
    chance = random.Random(7)
    number, made = 0, ""
    for life in range(4):
        process = Process(tmp_path / "data", *upkeep)
        try:
            client = process.client
            if not life:
                make(client)
                client.write("x", frame([0]))
                made = client.train("s", frame([0], 2).select(["k", "t"]), "t").name
            stop_after = len(acknowledged) + chance.randrange(4, 12)
            killer = threading.Timer(chance.random() / 5, process.kill)
            while True:
                number += 1
                if len(acknowledged) >= stop_after and not killer.ident:
                    killer.start()
                try:
                    client.write("x", frame([0, number], value=number))
                    acknowledged.append(number)
                    client.vacuum("x", timedelta(0))
                except grpc.RpcError:
                    break
            killer.join()
        finally:
            process.kill()
    process = Process(tmp_path / "data", *upkeep)
    try:
        rows = {row["k"]: row["v"] for row in process.client.read("x").to_pylist()}
        assert rows.keys() >= set(acknowledged) and rows[0] >= acknowledged[-1]
        assert all(rows[key] == key for key in rows if key)
        assert process.client.verify(made).verified
        compacted = process.client.compact("x")
        assert compacted.rows_after == len(rows)
    finally:
        process.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with small(tmp_path, "4m") as place:
        yield place


def test_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals_it(small_disk: Path) -> None:
    noise = np.random.default_rng(3)

    def rows(count: int) -> pa.Table:
        times = pa.array([at(1)] * count, MOMENT)
        return pa.table({"k": range(count), "t": times, "v": noise.integers(0, 2**62, count)})

    def refused(client: Client, count: int) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            client.write("x", rows(count))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return errors.parse(caught.value)[0]

    process = Process(small_disk / "data", "--compact-after", "0")
    try:
        client = process.client
        make(client)
        client.write("x", frame([1, 2], value=7))
        client.publish("x")
        labels = frame([1, 2], 2).select(["k", "t"])
        made = client.train("s", labels, "t")
        _fill(small_disk / "filler")
        assert refused(client, 20_000) == "STORAGE_FULL"
        assert client.read("x")["v"].to_pylist() == [7, 7]
        assert client.rows(made)["v"].to_pylist() == [7, 7]
        assert unpacked(client.online("s", {"k": [1]})) == {"v": [7]}
        (small_disk / "filler").unlink()
        assert client.table("x").current_version == 1
        assert client.write("x", rows(5_000)).version == 2
        assert client.read("x").num_rows == 5_000
        assert client.verify(made.name).verified
        spool = small_disk / "data" / "spool"
        assert not list(spool.iterdir())
    finally:
        process.kill()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
