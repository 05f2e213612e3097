"""The online stores themselves, as a benchmark reads them without a server of ours between; and our client."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fivefold
from benchmarks import servers

#: Takes text keys and returns their packed rows.
Reader = Callable[[Sequence[bytes]], list[bytes]]


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Gives the SDK's client of a features service."""
    os.environ["FIVEFOLD_URL_FEATURES"] = address
    client = fivefold.connect()
    try:
        yield client.features
    finally:
        client.close()


@contextmanager
def redis() -> Iterator[str]:
    """Runs a Redis that keeps nothing on disk and yields its URL."""
    import redis as client

    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not there: install it (Debian: redis-server)")
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        retry = client.retry.Retry(client.backoff.ConstantBackoff(0.05), 200)
        try:
            client.Redis.from_url(url, retry=retry, retry_on_error=[client.ConnectionError]).ping()
            yield url
        finally:
            process.terminate()
            process.wait()


def reader(url: str, data: Path) -> Reader:
    """Returns what reads rows of the one table that is online, in one question; `url` is empty for SQLite."""
    return _redis_reader(url) if url else _sqlite_reader(data / "online.db")


def packed(key: bytes) -> bytes:
    """Returns the key of a table with one text key as the store has it."""
    return len(key).to_bytes(4) + key


def _redis_reader(url: str) -> Reader:
    import redis as client

    connection: Any = client.Redis.from_url(url)
    (table,) = connection.keys("fivefold:online:*")
    return lambda keys: connection.hmget(table, [packed(key) for key in keys])


def _sqlite_reader(file: Path) -> Reader:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA mmap_size=268435456")
    ((slot,),) = connection.execute("SELECT slot FROM published")

    def read(keys: Sequence[bytes]) -> list[bytes]:
        asked = ",".join(["(?)"] * len(keys))
        query = f"SELECT row FROM (VALUES {asked}) LEFT JOIN online ON slot = ? AND key = column1"
        return [row for (row,) in connection.execute(query, (*map(packed, keys), slot)).fetchall()]

    return read
