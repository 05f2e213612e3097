"""What is logged arrives exactly once, or is said not to: kills, restarts, refusals, full buffers, forks."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fivefold
from fivefold.sdk.client import Client
from fivefold.sdk.tracking import Tracking
from fivefold.sdk.transport import Access, Transport
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import serve
from fivefold_tracking.__main__ import Config, build

PATIENCE = 60  # seconds until a process has started or a buffer has emptied, on a loaded machine


class Restartable:
    """A tracking process on one port and one folder, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "fivefold_tracking", "--data", str(self._folder), "--listen", self.address]
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")}
        self._popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quiet)
        watchdog = threading.Timer(PATIENCE, self._popen.kill)
        watchdog.start()
        lines = []
        for line in self._popen.stderr:  # type: ignore[union-attr]
            lines.append(line)
            if line.startswith("{") and "port" in json.loads(line):
                break
        else:
            raise AssertionError("".join(lines))
        watchdog.cancel()
        threading.Thread(target=self._popen.stderr.read, daemon=True).start()  # type: ignore[union-attr]

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait(PATIENCE)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Restartable]:
    running = Restartable(tmp_path / "data")
    yield running
    running.kill()


@pytest.fixture
def tracking(service: Restartable) -> Iterator[Tracking]:
    transport = Transport("tracking", service.address, Access(timeout=5))
    yield Tracking(transport)
    transport.close()


def test_points_survive_kills_of_the_service_and_none_arrives_twice(service: Restartable, tracking: Tracking) -> None:
    logged = 0
    with tracking.run("kills") as run:
        for _ in range(3):
            for _ in range(60):
                for _ in range(200):
                    run.log_metric("loss", logged, logged)
                    logged += 1
                run.log(metrics={"epoch": logged, "other": 1.0}, step=logged)
                time.sleep(0.002)
            service.kill()
            for _ in range(500):
                run.log_metric("loss", logged, logged)
                logged += 1
            service.start()
        assert run.flush(PATIENCE)
        assert (run.dropped, run.refused) == (0, 0)
    history = tracking.history(run.name, "loss")
    assert list(history.steps) == list(range(logged))
    assert list(history.values) == [float(step) for step in range(logged)]
    assert len(tracking.history(run.name, "epoch")) == 3 * 60
    assert tracking.get_run(run.name).status == "FINISHED"


def test_while_the_service_is_away_logging_goes_on_and_what_gave_way_is_counted_and_said_once(
    service: Restartable, tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.run("full", buffer=1000) as run:
        run.log_metric("epoch", 0.5)
        assert run.flush(PATIENCE)
        service.kill()
        for step in range(5000):
            run.log_metric("loss", step, step)
        run.log_metric("epoch", 0.6, 1)
        service.start()
        run.flush(PATIENCE)
    losses = tracking.history(run.name, "loss")
    assert len(losses) + run.dropped == 5000
    assert 500 < len(losses) < 5000
    assert losses.steps[-1] == 4999
    assert list(tracking.history(run.name, "epoch").values) == [0.5, 0.6]
    assert [record.message.count("buffer of 1000 points is full") for record in caplog.records].count(1) == 1


def test_a_service_that_hangs_holds_up_no_metric(service: Restartable, tracking: Tracking) -> None:
    with tracking.run("hangs") as run:
        run.log_metric("loss", 0, 0)
        assert run.flush(PATIENCE)
        service.signal(signal.SIGSTOP)
        for step in range(1, 1000):
            run.log_metric("loss", step, step)
        assert not run.flush(0.1)
        service.signal(signal.SIGCONT)
        assert run.flush(PATIENCE)
    assert list(tracking.history(run.name, "loss").steps) == list(range(1000))


def test_the_end_of_a_run_leaves_no_thread_behind(client: Client) -> None:
    with client.tracking.run("threads", system_metrics=60) as run:
        run.log_metric("loss", 1)
        background = run._delivery._thread
        assert background is not None
    background.join(PATIENCE)
    assert not background.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "fivefold system metrics"]


def test_params_that_find_no_service_are_logged_when_it_is_back(service: Restartable, tracking: Tracking) -> None:
    with tracking.run("later") as run:
        service.kill()
        run.log(params={"depth": 6}, tags={"team": "a"}, metrics={"auc": 0.8})
        run.log_params({"width": 7})
        service.start()
        assert run.flush(PATIENCE)
    kept = tracking.get_run(run.name)
    assert (kept.params, kept.tags["team"], kept.metrics) == ({"depth": "6", "width": "7"}, "a", {"auc": 0.8})


def test_the_end_of_a_run_waits_no_longer_than_it_may_and_says_what_is_missing(
    service: Restartable, tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.run("gone", flush_seconds=0.2) as run:
        service.kill()
        for step in range(7):
            run.log_metric("loss", step, step)
    messages = [record.getMessage() for record in caplog.records]
    assert any("7 points could not be delivered in time" in message for message in messages)
    assert any("could not be marked FINISHED" in message for message in messages)


def test_the_error_of_a_block_is_raised_although_the_service_is_gone(service: Restartable, tracking: Tracking) -> None:
    with pytest.raises(ZeroDivisionError), tracking.run("gone", flush_seconds=0.1) as run:
        service.kill()
        run.log_metric("loss", 1 / 0)


def test_a_metric_that_the_service_refuses_costs_no_other_point(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivefold.sdk.tracking.delivery._PARCEL_POINTS", 10)
    with client.tracking.run("refused") as run:
        run._delivery.add([("before", place) for place in range(70)], 0, 1)
        for step in range(100):
            run._delivery.add([("good", step), ("bad?key", step), ("too", step)], step, 1)
        assert not run.flush(PATIENCE)
        run.log_metric("later", 1.0)
        run.flush(PATIENCE)
        assert run.refused == 100
    kept = [len(client.tracking.history(run.name, key)) for key in ("before", "good", "too", "later")]
    assert kept == [70, 100, 100, 1]
    assert sum("does not take bad?key" in record.getMessage() for record in caplog.records) == 1


def test_logging_to_a_run_that_was_deleted_ends_with_one_warning_and_no_error(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with client.tracking.run("deleted") as run:
        client.tracking.delete_run(run.name)
        for step in range(50):
            run.log_metric("loss", step, step)
        assert not run.flush(PATIENCE)
        run.log_metric("loss", 1, 51)
        assert run.refused == 51
    assert sum("nothing more can be logged" in record.getMessage() for record in caplog.records) == 1


def test_what_is_logged_to_a_run_that_has_ended_is_refused_with_a_warning(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with client.tracking.run("over") as run:
        run.log_metric("loss", 1.0)
    run.log_metric("loss", 2.0)
    run.log_metric("loss", 3.0)
    assert run.refused == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.name} has ended: points that are logged now are refused"
    ]


def test_many_threads_log_to_one_run(client: Client) -> None:
    with client.tracking.run("threads") as run:

        def log(worker: int) -> None:
            for step in range(500):
                run.log(metrics={f"m{worker}": step, "shared": step}, step=step)

        with futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(log, range(8)))
    assert len(client.tracking.history(run.name, "shared")) == 8 * 500
    assert all(list(client.tracking.history(run.name, f"m{worker}").steps) == list(range(500)) for worker in range(8))


FORKED = """
import logging, os, sys
import fivefold
client = fivefold.connect()
with client.tracking.run("forks") as run:
    for step in range(20_000):
        run.log_metric("parent", step, step)
    child = os.fork()
    if child == 0:
        assert run._delivery.waiting == 0
        for step in range(10):
            run.log(metrics={"child": step}, params={"from": "child"}, step=step)
        assert not run.flush(30)
        assert run.refused == 20
        raise SystemExit(0)  # through the block's end, which is the parent's to make
    assert os.waitpid(child, 0)[1] == 0
    assert client.tracking.get_run(run.name).status == "RUNNING"
print(run.name)
"""


def _program(code: str, addresses: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FIVEFOLD_URL_TRACKING": addresses["tracking"]}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
    )


def test_the_child_of_a_fork_sends_nothing_of_its_parent_and_does_not_end_the_run(
    client: Client, addresses: dict[str, str]
) -> None:
    outcome = _program(FORKED, addresses)
    assert outcome.returncode == 0, outcome.stderr
    run = outcome.stdout.strip()
    assert list(client.tracking.history(run, "parent").steps) == list(range(20_000))
    assert client.tracking.get_run(run).params == {}
    assert set(client.tracking.get_run(run).metrics) == {"parent"}
    assert outcome.stderr.count("nothing is logged from the child of a fork") == 1
    assert client.tracking.get_run(run).status == "FINISHED"


@pytest.mark.parametrize(("ending", "status"), [("", "FINISHED"), ("raise ValueError('no')", "FAILED")])
def test_a_run_without_a_block_is_ended_with_its_program(
    client: Client, addresses: dict[str, str], ending: str, status: str
) -> None:
    code = f"""
import fivefold
run = fivefold.connect().tracking.run("no block")
print(run.name, flush=True)
for step in range(1000):
    run.log_metric("loss", step, step)
{ending}
"""
    run = _program(code, addresses).stdout.strip()
    assert client.tracking.get_run(run).status == status
    assert len(client.tracking.history(run, "loss")) == 1000


def test_the_library_of_logging_shows_warnings_without_being_set_up(addresses: dict[str, str]) -> None:
    code = """
import fivefold
client = fivefold.connect()
with client.tracking.run("warned") as run:
    client.tracking.delete_run(run.name)
    run.log_metric("loss", 1)
"""
    assert "nothing more can be logged" in _program(code, addresses).stderr


def test_a_key_that_is_not_allowed_is_refused_where_it_is_logged(client: Client) -> None:
    with client.tracking.run("keys") as run:
        for key in ("a?b", "", "/a", "a//b", "..", "a/../b", "x" * 251, "a\n"):
            with pytest.raises(fivefold.InvalidArgument) as caught:
                run.log(metrics={key: 1.0})
            assert caught.value.reason == "NAME_INVALID"
        run.log(metrics={"a/b-c_d.e: 1": 1.0, "größe": 2.0})
    assert set(client.tracking.get_run(run.name).metrics) == {"a/b-c_d.e: 1", "größe"}


def test_points_wait_for_a_token_that_is_good_and_the_caller_is_the_user(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    config = Config(data=str(tmp_path / "data"), auth="jwt", jwt_keys=str(make_key(keys)))
    token = tmp_path / "token"
    token.write_text(sign_token(keys, "mia"))
    with serve(build, config) as running:
        transport = Transport("tracking", running.address, Access(token_file=str(token)))
        tracked = Tracking(transport)
        with tracked.run("tokens") as run:
            token.write_text("no token")
            run.log_metric("loss", 1.0)
            assert not run.flush(0.5)
            token.write_text(sign_token(keys, "mia"))
            assert run.flush(PATIENCE)
        kept = tracked.get_run(run.name)
        assert (kept.user, kept.status, kept.metrics) == ("mia", "FINISHED", {"loss": 1.0})
        token.write_text(sign_token(keys, "sam"))
        with pytest.raises(fivefold.NotFound):
            tracked.get_run(run.name)
        transport.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": 1.5},
        {"step": 1 << 63},
        {"step": "1"},
        {"time": datetime(1969, 1, 1, tzinfo=UTC)},
        {"time": datetime(2026, 1, 1)},
        {"metrics": {"loss": "high"}},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_where_it_is_logged_and_nothing_is_written(
    client: Client, wrong: dict[str, Any]
) -> None:
    with client.tracking.run("wrong") as run:
        with pytest.raises(fivefold.InvalidArgument):
            run.log(**{"metrics": {"loss": 1.0}, "params": {"depth": 1}} | wrong)
        run.log_metric("loss", np.float32(0.5), np.int64(-7))
    kept = client.tracking.get_run(run.name)
    assert (kept.params, kept.metrics) == ({}, {"loss": 0.5})
    assert run.refused == 0


@pytest.mark.parametrize(("code", "status"), [(None, "FINISHED"), (0, "FINISHED"), (1, "FAILED"), ("no", "FAILED")])
def test_a_program_that_exits_in_a_block_ends_the_run_by_its_exit_code(
    client: Client, code: object, status: str
) -> None:
    with pytest.raises(SystemExit), client.tracking.run("exits") as run:
        raise SystemExit(code)
    assert client.tracking.get_run(run.name).status == status


def test_a_param_that_is_changed_is_an_error_where_it_is_changed(client: Client) -> None:
    with client.tracking.run("params") as run:
        run.log_param("depth", 6)
        run.log_param("depth", 6)
        with pytest.raises(fivefold.FailedPrecondition) as caught:
            run.log(params={"depth": 7}, metrics={"auc": 1})
        assert caught.value.reason == "PARAM_CHANGED"
    assert client.tracking.get_run(run.name).metrics == {}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fivefold.tracking")
