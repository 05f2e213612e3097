"""The process: how it starts, how it stops, and how much memory it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fivefold.sdk.errors import FivefoldError
from tests.serving.conftest import Packages
from tests.serving.test_following import asked
from tests.serving.world import Server, World, client_of, free_port, until

LARGEST_BYTES = 250 * 1024 * 1024


class Process:
    """`python -m fivefold_serving` on a free port."""

    def __init__(self, folder: Path, world: World) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                [
                    sys.executable, "-m", "fivefold_serving", f"--listen={self.address}", f"--data={folder / 'data'}",
                    f"--registry={world.registry.address}", f"--features={world.features.address}",
                ],
                stderr=log,
            )  # fmt: skip
        self.server = Server(None, client_of(serving=self.address))  # type: ignore[arg-type]  # it runs elsewhere

    def lines(self, message: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line["message"] == message]

    def memory_bytes(self) -> int:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def children(self) -> list[int]:
        """Returns the process ids of its children, whichever thread started them."""
        threads = Path(f"/proc/{self.child.pid}/task").iterdir()
        return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


@pytest.fixture
def process(quiet: World, tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, quiet)
    try:
        until(lambda: bool(made.lines("serving")), "the process serves")
        yield made
    finally:
        made.child.kill()
        made.child.wait()


def test_with_a_pipeline_model_the_process_stays_within_its_memory_and_imports_no_learner(
    process: Process, quiet: World, packages: Packages
) -> None:
    version = quiet.version("heavy", packages.of("lightgbm pair"))
    quiet.promote(version)
    process.server.until(version)
    for _ in range(50):
        process.server.client.serving.predict("heavy", asked(20))
    assert process.server.served(version).predictor == "compiled lightgbm"
    assert process.memory_bytes() < LARGEST_BYTES
    mapped = Path(f"/proc/{process.child.pid}/maps").read_text()
    assert "lib_lightgbm" in mapped
    assert not [name for name in ("sklearn", "scipy", "pandas", "xgboost") if f"site-packages/{name}/" in mapped]
    quiet.demote(version)


def test_sigterm_answers_what_was_asked_and_ends_the_process_with_its_children(
    process: Process, quiet: World, packages: Packages
) -> None:
    version = quiet.version("drained", packages.of("histogram pair"))
    quiet.promote(version)
    process.server.until(version)
    answered: list[str] = []
    failed: list[FivefoldError] = []
    ended = threading.Event()

    def call() -> None:
        with client_of(serving=process.address) as client:
            while not ended.is_set():
                try:
                    answered.append(client.serving.predict("drained", asked()).model_version)
                except FivefoldError as error:
                    failed.append(error)
                    return

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 20, "calls are answered")
    workers = process.children()
    assert workers
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(timeout=60) == 0
    ended.set()
    for thread in threads:
        thread.join()
    # CANCELLED: grpcio's word to a call that arrives in the very moment at which the server closes, and is not begun.
    assert {error.code for error in failed} <= {"UNAVAILABLE", "CANCELLED"}, [str(error) for error in failed]
    assert process.lines("stopped")
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the workers are gone")
    assert not [line for line in process.lines("call") if line["code"] not in ("OK", "UNAVAILABLE")]
    quiet.demote(version)


def test_a_worker_that_is_killed_is_started_again(process: Process, quiet: World, packages: Packages) -> None:
    version = quiet.version("killed", packages.of("histogram pair"))
    quiet.promote(version)
    process.server.until(version)
    (worker,) = process.children()
    before = process.server.client.serving.predict("killed", asked()).outputs
    os.kill(worker, signal.SIGKILL)
    assert process.server.client.serving.predict("killed", asked()).outputs == before
    quiet.demote(version)


@pytest.mark.parametrize(
    ("flag", "said"),
    [("--registri=127.0.0.1:1", "Did you mean --registry?"), ("--cache-bytes=-1", "it must not be negative")],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(flag: str, said: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fivefold_serving", flag, f"--data={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert said in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_help_lists_every_setting() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fivefold_serving", "--help"], capture_output=True, text=True, check=True
    )
    for setting in ("--registry", "--features", "--cache-bytes", "--listen", "--drain-seconds"):
        assert setting in run.stdout
