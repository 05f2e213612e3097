"""What the service does when the ground goes: a full disk under the process, and a database that is taken away."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import psycopg

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import errors
from fivefold_runtime.testing import serve
from fivefold_tracking.__main__ import Config, build
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking
from tests.tracking.test_process import START_SECONDS, running
from tests.tracking.test_streams import header, message, steps
from tests.tracking.test_uploads import small_disk  # noqa: F401


def test_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals_it(small_disk: Path) -> None:  # noqa: F811
    with running(small_disk / "data") as process:
        tracking = process.tracking
        run = tracking.run(tracking.experiment().name).name
        tracking.log(run, [pb.Metric(key="m", step=step) for step in range(3)])
        filler = small_disk / "filler"
        _fill(filler)
        with refused("STORAGE_FULL") as refusal:
            for step in range(3, 5000):
                tracking.log(run, [pb.Metric(key="m", step=step)], tags={"text": f"{step}" * 1000})
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        with refused("STORAGE_FULL"):
            tracking.upload(run, "file", bytes(1_000_000))
        with refused("STORAGE_FULL"):
            series = pb.MetricSeries(key="n", values=[0.5] * 50_000, steps=range(50_000))
            list(tracking.stub.LogMetrics(iter([header(run), message(1, series)])))
        history = steps(tracking, run)
        assert history == list(range(len(history))) and not steps(tracking, run, "n")
        assert tracking.artifacts(run) == []
        filler.unlink()
        tracking.log(run, [pb.Metric(key="m", step=len(history))])
        tracking.upload(run, "file", b"small")
    assert sqlite3.connect(small_disk / "data" / "store.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_while_the_database_is_away_calls_are_told_to_come_again_and_nothing_acknowledged_is_lost(
    data: Path, postgres_url: str, postgres_server: str
) -> None:
    name = urlsplit(postgres_url).path.removeprefix("/")
    acknowledged: list[int] = []
    told: set[str] = set()
    stop, came_back = threading.Event(), threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            # With an id, as a commit of which the answer was lost may have happened.
            asked = pb.LogBatchRequest(run=run, metrics=[pb.Metric(key="m", step=step)], request_id=str(step))
            try:
                tracking.stub.LogBatch(asked, timeout=START_SECONDS)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error
                told.add(errors.parse(error)[0])
                time.sleep(0.02)
                continue
            acknowledged.append(step)
            step += 1
            if told:
                came_back.set()

    with serve(build, Config(data=str(data), store_url=postgres_url)) as service:
        tracking = Tracking(service.channel)
        run = tracking.run(tracking.experiment().name).name
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        with psycopg.connect(postgres_server, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            until = time.monotonic() + START_SECONDS
            while not told and time.monotonic() < until:
                time.sleep(0.01)
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert came_back.wait(START_SECONDS)
        stop.set()
        thread.join(START_SECONDS)
        assert steps(tracking, run) == acknowledged
    assert told == {"STORE_UNAVAILABLE"}


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
