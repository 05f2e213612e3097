"""The registry as a process: what keeps it from starting, a drain with open watchers, kill -9 while it copies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from tests.disks import small
from tests.registry.client import STAGING, Registry
from tests.registry.sources import SOURCE, Faulty
from tests.runtime.asserting import refused

COMMAND = [sys.executable, "-m", "fivefold_registry"]
SECONDS = 60  # generous: a loaded machine


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")} | more


def ended(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the service with settings that keep it from serving."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment(**more), timeout=SECONDS, check=False
    )


class Process:
    """One running service."""

    def __init__(self, data: Path, *arguments: str) -> None:
        command = [*COMMAND, "--data", str(data), "--listen", "127.0.0.1:0", *arguments]
        self.popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        self.lines: list[dict[str, object]] = []
        watchdog = threading.Timer(SECONDS, self.popen.kill)
        watchdog.start()
        port = next(line["port"] for line in self._read() if line["message"] == "serving")
        watchdog.cancel()
        self._reader = threading.Thread(target=lambda: list(self._read()), daemon=True)
        self._reader.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.registry = Registry(self.channel, SOURCE)

    def _read(self) -> Iterator[dict[str, object]]:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
                yield self.lines[-1]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.popen.kill()
        self.popen.wait()
        self._reader.join()


@pytest.fixture
def faulty() -> Faulty:
    return Faulty()


@pytest.fixture
def address(faulty: Faulty) -> Iterator[str]:
    with faulty.served() as served:
        yield served


def test_help_lists_every_setting() -> None:
    said = ended("--help")
    assert said.returncode == 0
    general = ("--listen", "--store-url", "--objects-url", "--tracking", "--copies", "--token-file")
    webhooks = ("--webhook-allow", "--webhook-key-file", "--delivery-days", "--event-days")
    for setting in (*general, *webhooks, "--smtp-host", "--mail-cap"):
        assert setting in said.stdout


@pytest.mark.parametrize(
    ("arguments", "more", "line"),
    [
        (("--trackin", "x"), {}, "Did you mean --tracking?"),
        (("--activity-key", "secret"), {}, "32 characters or more"),
        ((), {"FIVEFOLD_REGISTRY_STORE_URI": "x"}, "Did you mean FIVEFOLD_REGISTRY_STORE_URL?"),
        (("--copies", "16"), {}, "fewer than --threads"),
        (("--webhook-allow", "10.0.0.1/8"), {}, "--webhook-allow"),
        (("--listen", "0.0.0.0:0"), {}, "authentication is off"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(
    arguments: tuple[str, ...], more: dict[str, str], line: str, tmp_path: Path
) -> None:
    said = ended("--data", str(tmp_path / "data"), *arguments, **more)
    assert said.returncode == 2
    (only,) = said.stderr.splitlines()
    assert line in only
    assert not (tmp_path / "data").exists()


def test_sigterm_drains_with_open_watchers_and_lets_a_copy_end(data: Path, faulty: Faulty, address: str) -> None:
    copying, go_on = threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        copying.set()
        go_on.wait()
        yield faulty.listed

    faulty.send = waits
    with Process(data, "--tracking", address, "--drain-seconds", "60") as process:
        process.registry.model()
        made: list[pb.ModelVersion] = []
        thread = threading.Thread(target=lambda: made.append(process.registry.make()))
        thread.start()
        copying.wait()
        watchers = [process.registry.watch() for _ in range(20)]
        process.popen.send_signal(signal.SIGTERM)
        for watch in watchers:
            with refused("SHUTTING_DOWN"):
                watch.take(1000)
        go_on.set()
        thread.join()
        assert made[0].status == pb.VERSION_STATUS_READY
        assert process.popen.wait(SECONDS) == 0


def test_a_kill_in_the_middle_of_a_copy_leaves_no_pending_version(data: Path, faulty: Faulty, address: str) -> None:
    copying, stop = threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(stop.set)
        yield faulty.listed[:4]
        copying.set()
        stop.wait()

    faulty.send = waits
    with Process(data, "--tracking", address) as process:
        process.registry.model()
        lost: list[grpc.RpcError] = []

        def make() -> None:
            with pytest.raises(grpc.RpcError) as caught:
                process.registry.make(request_id="one")
            lost.append(caught.value)

        thread = threading.Thread(target=make)
        thread.start()
        copying.wait()
        process.popen.kill()
        thread.join()
    faulty.send = lambda context: iter([faulty.listed])
    with Process(data, "--tracking", address) as process:
        (version,) = process.registry.versions()
        assert version.status == pb.VERSION_STATUS_FAILED
        assert "stopped" in version.status_message
        with refused("VERSION_NOT_READY"):
            process.registry.move(version.name, STAGING)
        again = process.registry.make(request_id="one")
        assert (again.version, again.status) == (1, pb.VERSION_STATUS_READY)
        assert process.registry.make().version == 2


def test_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals_it(
    tmp_path: Path, small_disk: Path, address: str
) -> None:
    with Process(small_disk / "data", "--tracking", address) as process:
        registry = process.registry
        registry.model()
        version = registry.make().name
        registry.comment(version, "before")
        (small_disk / "filler").write_bytes(b"")
        _fill(small_disk / "filler")
        with refused("STORAGE_FULL") as refusal:
            for number in range(2000):
                registry.comment(version, f"{number} " + "x" * 200)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        with refused("STORAGE_FULL"):
            registry.move(version, STAGING, comment="x" * 60_000)
        assert registry.version(version).stage == pb.STAGE_NONE
        assert registry.verify().valid
        (small_disk / "filler").unlink()
        registry.move(version, STAGING)
        assert registry.verify().valid
        assert registry.told(version)[-1] == "APPLIED_TRANSITION v1 NONE>STAGING"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with small(tmp_path, "1m") as place:
        yield place


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_an_idle_registry_is_small(data: Path) -> None:
    with Process(data) as process:
        process.registry.model()
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        resident = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"idle registry: {resident:.0f} MB")
        assert resident < 100
