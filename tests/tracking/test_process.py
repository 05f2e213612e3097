"""The service as a process: help, settings, a folder in use, a newer schema, and kill -9 under load."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from tests.tracking.client import Tracking, sha256

COMMAND = [sys.executable, "-m", "fivefold_tracking"]
START_SECONDS = 60  # generous: a loaded machine


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")} | more


def ended(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the service with settings that keep it from serving."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=START_SECONDS,
        check=False,
    )


class Process:
    """One running service."""

    def __init__(self, data: Path, *arguments: str) -> None:
        command = [*COMMAND, "--data", str(data), "--listen", "127.0.0.1:0", *arguments]
        self._popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        self.pid = self._popen.pid
        watchdog = threading.Timer(START_SECONDS, self._popen.kill)
        watchdog.start()
        self.port = self._port()
        watchdog.cancel()
        self._drainer = threading.Thread(target=self._popen.stderr.read, daemon=True)  # type: ignore[union-attr]
        self._drainer.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.tracking = Tracking(self.channel)

    def _port(self) -> int:
        lines = []
        for line in self._popen.stderr:  # type: ignore[union-attr]
            lines.append(line)
            if line.startswith("{") and "port" in (said := json.loads(line)):
                return int(said["port"])
        raise AssertionError("".join(lines))

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        self._popen.send_signal(number)
        code = self._popen.wait(START_SECONDS)
        self._drainer.join()
        self.channel.close()
        return code

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None


@contextmanager
def running(data: Path, *arguments: str) -> Iterator[Process]:
    process = Process(data, *arguments)
    try:
        yield process
    finally:
        if not process.ended:
            process.end(signal.SIGKILL)


def test_help_lists_every_setting_with_its_default() -> None:
    shown = ended("--help")

    assert shown.returncode == 0
    for word in (
        "--listen 127.0.0.1:7101",
        "--data fivefold-data/tracking",
        "--store-url",
        "--objects-url",
        "--auth off",
    ):
        assert word in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--sore-url", "x"], {}, "Did you mean --store-url?"),
        ([], {"FIVEFOLD_TRACKING_OBJECT_URL": "x"}, "Did you mean FIVEFOLD_TRACKING_OBJECTS_URL?"),
        (["--threads", "many"], {}, "whole number"),
        (["--listen", "0.0.0.0:0"], {}, "authentication is off"),
        (["--store-url", "mysql://x/y"], {}, "sqlite:///FILE or postgresql://"),
        (["--objects-url", "ftp://x"], {}, "s3://"),
        (["--store-url", "postgresql://nobody@127.0.0.1:1/none"], {}, "cannot use the database"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    got = ended("--data", str(tmp_path / "data"), *arguments, **variables)

    assert got.returncode == 2
    (line,) = [line for line in got.stderr.splitlines() if not line.startswith("{")]
    assert said in line


def test_a_folder_in_use_a_taken_port_and_a_newer_schema_are_one_line_each(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as process:
        in_use = ended("--data", str(data), "--listen", "127.0.0.1:0")
        taken = ended("--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{process.port}")
        assert process.end(signal.SIGTERM) == 0
    with sqlite3.connect(data / "store.db") as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = ended("--data", str(data), "--listen", "127.0.0.1:0")

    for got, said in ((in_use, "in use"), (taken, "port is taken"), (newer, "schema 9999")):
        assert got.returncode == 2, got.stderr
        (line,) = [line for line in got.stderr.splitlines() if not line.startswith("{")]
        assert said in line


def test_an_idle_service_is_lean(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        first.tracking.experiment()
        first.end(signal.SIGTERM)
    with running(tmp_path / "data") as process:
        process.tracking.experiment(allow_existing=True)
        status = Path(f"/proc/{process.pid}/status").read_text()
        loaded = Path(f"/proc/{process.pid}/maps").read_text()

    megabytes = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024
    assert megabytes < 150, f"{megabytes:.0f} MB"
    assert not any(library in loaded for library in ("numpy", "pandas", "pyarrow", "sklearn"))


def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    """Each batch logs the same step to two metrics, a tag and a file beside: a part of a batch would show."""
    data, chance = tmp_path / "data", random.Random(7)
    written: list[tuple[str, int]] = []  # acknowledged (run, step)
    uploaded: list[tuple[str, bytes]] = []  # acknowledged (run, bytes)
    for _ in range(3):
        with running(data) as process:
            tracking, enough = process.tracking, threading.Semaphore(0)
            experiment = tracking.experiment("load", allow_existing=True).name
            runs = [tracking.run(experiment).name for _ in range(4)]

            def write(run: str, tracking: Tracking = tracking, enough: threading.Semaphore = enough) -> None:
                for step in range(100_000):
                    content = f"{run} {step}".encode() * 50
                    try:
                        tracking.log(
                            run, [pb.Metric(key=key, value=step, step=step) for key in "ab"], tags={"step": str(step)}
                        )
                        written.append((run, step))
                        enough.release()
                        if step % 5 == 0:
                            tracking.upload(run, f"files/{step}", content)
                            uploaded.append((run, content))
                    except grpc.RpcError:
                        return

            threads = [threading.Thread(target=write, args=(run,)) for run in runs]
            for thread in threads:
                thread.start()
            for _ in range(chance.randrange(20, 120)):
                assert enough.acquire(timeout=START_SECONDS)
            process.end(signal.SIGKILL)
            for thread in threads:
                thread.join()

    assert sqlite3.connect(data / "store.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with running(data) as process:
        tracking = process.tracking
        for run in {run for run, _ in written}:
            acknowledged = [step for each, step in written if each == run]
            histories = {
                key: list(tracking.stub.ListMetricPoints(pb.ListMetricPointsRequest(run=run, key=key)).points.steps)
                for key in "ab"
            }
            assert histories["a"] == histories["b"], "a part of a batch was kept"
            assert histories["a"] == list(range(len(histories["a"]))), "a batch before a kept one is missing"
            assert len(acknowledged) <= len(histories["a"]) <= len(acknowledged) + 1
            assert tracking.get(run).tags["step"] == str(histories["a"][-1])
        for run, content in uploaded:
            step = content.split()[1].partition(b"runs")[0].decode()
            described, kept = tracking.download(run, f"files/{step}")
            assert (described.sha256, kept) == (sha256(content), content)


def test_a_start_that_is_killed_while_it_migrates_is_made_up_by_the_next(tmp_path: Path) -> None:
    data, chance = tmp_path / "data", random.Random(3)
    for _ in range(6):
        command = [*COMMAND, "--data", str(data), "--listen", "127.0.0.1:0"]
        killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment())
        until = time.monotonic() + START_SECONDS
        while not (data / "store.db").exists() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))  # the migrations take about as long
        killed.kill()
        killed.wait(START_SECONDS)
        if chance.random() < 0.5:
            shutil.rmtree(data)  # else the next one meets what this one left

    with running(data) as process:
        assert process.tracking.experiment().name == "experiments/1"
    assert sqlite3.connect(data / "store.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
