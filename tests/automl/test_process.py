"""The service as a process: how it starts and stops, what Ray's processes see, and a search that survives kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold.automl.v1 import automl_pb2_grpc
from tests.automl.conftest import table
from tests.automl.peers import Peers

TRIALS = 24
LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
SECRET = "canary-4f1d"


@dataclass
class Process:
    """A running `python -m fivefold_automl`."""

    popen: subprocess.Popen[bytes]
    channel: grpc.Channel
    port: int

    @property
    def stub(self) -> automl_pb2_grpc.AutoMLServiceStub:
        return automl_pb2_grpc.AutoMLServiceStub(self.channel)

    def health(self) -> int:
        request = health_pb2.HealthCheckRequest()
        return health_pb2_grpc.HealthStub(self.channel).Check(request, wait_for_ready=True, timeout=60).status

    def family(self) -> list[psutil.Process]:
        """Returns all processes below it: Ray's."""
        return psutil.Process(self.popen.pid).children(recursive=True)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


class Starter:
    """Starts the service again and again on one data folder."""

    def __init__(self, folder: Path, peers: Peers) -> None:
        self._folder = folder
        self._peers = peers
        self.started: list[Process] = []

    def __call__(self) -> Process:
        log = self._folder / f"log-{len(self.started)}"
        addresses = [f"--{name}={self._peers.address}" for name in ("tracking", "features", "registry")]
        settings = ["--listen=127.0.0.1:0", f"--data={self._folder / 'data'}", "--ray-cpus=2", *addresses]
        environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": SECRET, "FIVEFOLD_AUTOML_STORE_URL": self._store_url()}
        environment.pop("RAY_AUTH_TOKEN", None)
        with open(log, "wb") as out:
            popen = subprocess.Popen([sys.executable, "-m", "fivefold_automl", *settings], env=environment, stderr=out)
        port = _awaited(lambda: _port(log), popen)
        process = Process(popen, grpc.insecure_channel(f"127.0.0.1:{port}"), port)
        self.started.append(process)
        return process

    def _store_url(self) -> str:
        """A database whose URL must not reach a worker."""
        return f"sqlite:///{self._folder}/{SECRET}.db"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    peers = Peers()
    peers.start()
    starter = Starter(tmp_path, peers)
    yield starter
    for process in starter.started:
        process.channel.close()
        process.kill()
    peers.stop()


def _port(log: Path) -> int:
    for line in log.read_text().splitlines():
        if line.startswith("{") and (said := json.loads(line))["message"] == "serving":
            return int(said["port"])
    return 0


def _awaited(question: Callable[[], int], popen: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and popen.poll() is None:
        if answer := question():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"it did not start; exit code {popen.poll()}")


def _until_ready(process: Process) -> None:
    request = health_pb2.HealthCheckRequest()
    for message in health_pb2_grpc.HealthStub(process.channel).Watch(request, timeout=110):
        if message.status == health_pb2.HealthCheckResponse.SERVING:
            return


def _watched(process: Process, name: str, until: Callable[[pb.Job], bool]) -> pb.Job:
    for message in process.stub.WatchJob(pb.WatchJobRequest(name=name), timeout=110):
        if until(message.job):
            return message.job
    raise AssertionError("the job ended before")


@pytest.mark.timeout(240)
def test_a_killed_service_goes_on_with_its_search_and_counts_no_trial_twice(start: Starter) -> None:
    process = start()
    assert process.health() == health_pb2.HealthCheckResponse.NOT_SERVING
    training_set = start._peers.features.put(table(), labels=["y", "amount"])
    job = pb.Job(
        problem_type=pb.PROBLEM_TYPE_CLASSIFICATION, training_set=training_set, target="y", max_trials=TRIALS, seed=3
    )
    job.budget.FromSeconds(200)
    name = process.stub.CreateJob(pb.CreateJobRequest(job=job)).name
    _watched(process, name, lambda job: job.trials_finished >= 5)
    _check_rays_processes(process)
    before = {t.number: t for t in process.stub.ListTrials(pb.ListTrialsRequest(parent=name)).trials}
    family = process.family()
    process.kill()

    again = start()
    _until_ready(again)
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    last = _watched(again, name, lambda job: job.state == pb.JOB_STATE_SUCCEEDED)
    after = {t.number: t for t in again.stub.ListTrials(pb.ListTrialsRequest(parent=name)).trials}
    finished = [trial for trial in after.values() if trial.state == pb.TRIAL_STATE_FINISHED]
    assert len(finished) == last.trials_finished == TRIALS
    for number, trial in before.items():
        if trial.state == pb.TRIAL_STATE_FINISHED:
            assert (after[number].score, after[number].params) == (trial.score, trial.params)
    stopped = [trial for trial in after.values() if trial.state == pb.TRIAL_STATE_STOPPED]
    assert {trial.error for trial in stopped} <= {"the service was restarted"}
    tried = [(trial.learner, tuple(sorted(trial.params.items()))) for trial in finished]
    assert len(set(tried)) == TRIALS
    runs = [run.name for run in start._peers.tracking.nested(last.run)]
    assert sorted(runs) == sorted(trial.run for trial in after.values())
    _check_it_stops_cleanly(again, start._folder)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("vital", ["raylet", "gcs_server"])
def test_a_search_goes_on_after_its_ray_was_killed_and_counts_no_trial_twice(start: Starter, vital: str) -> None:
    process = start()
    training_set = start._peers.features.put(table(), labels=["y", "amount"])
    job = pb.Job(
        problem_type=pb.PROBLEM_TYPE_CLASSIFICATION, training_set=training_set, target="y", max_trials=12, seed=3
    )
    name = process.stub.CreateJob(pb.CreateJobRequest(job=job)).name
    _watched(process, name, lambda job: job.trials_finished >= 3)
    family = process.family()
    (killed,) = [each for each in family if each.name() == vital]
    killed.kill()

    last = _watched(process, name, lambda job: job.state not in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING))
    assert (last.state, last.error, process.popen.poll()) == (pb.JOB_STATE_SUCCEEDED, "", None)
    trials = process.stub.ListTrials(pb.ListTrialsRequest(parent=name)).trials
    finished = [trial for trial in trials if trial.state == pb.TRIAL_STATE_FINISHED]
    assert len(finished) == last.trials_finished == 12
    assert len({(trial.learner, tuple(sorted(trial.params.items()))) for trial in finished}) == 12
    assert len({trial.ray_node for trial in finished}) == 2
    assert {trial.error for trial in trials if trial not in finished} <= {"its worker was lost"}
    runs = [run.name for run in start._peers.tracking.nested(last.run)]
    assert sorted(runs) == sorted(trial.run for trial in trials)
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    _check_it_stops_cleanly(process, start._folder)


def _check_rays_processes(process: Process) -> None:
    """Nothing of Ray listens beyond loopback, and none of its processes sees a credential of the service."""
    family = process.family()
    assert any("raylet" in " ".join(each.cmdline()) for each in family)
    for each in family:
        try:
            listening = [c.laddr.ip for c in each.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            environment = each.environ()
        except psutil.NoSuchProcess:
            continue
        assert set(listening) <= LOOPBACK
        assert SECRET not in json.dumps(environment)
        if "RAY_JOB_ID" in environment:
            assert environment["RAY_AUTH_MODE"] == "token"


def _check_it_stops_cleanly(process: Process, folder: Path) -> None:
    """SIGTERM ends it with exit code 0; no process and no temp folder of Ray is left."""
    family = process.family()
    temp = Path(json.loads((folder / "data" / "ray.json").read_text())["temp"])
    assert temp.is_dir()
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(60) == 0
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    assert not temp.exists()


@pytest.mark.timeout(240)
def test_a_stopped_service_goes_on_where_it_was(start: Starter) -> None:
    process = start()
    training_set = start._peers.features.put(table(), labels=["y", "amount"])
    job = pb.Job(problem_type=pb.PROBLEM_TYPE_CLASSIFICATION, training_set=training_set, target="y", max_trials=8)
    name = process.stub.CreateJob(pb.CreateJobRequest(job=job)).name
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(60) == 0
    again = start()
    _until_ready(again)
    assert _watched(again, name, lambda job: job.state == pb.JOB_STATE_SUCCEEDED).trials_finished == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ray-adress=x"], "Did you mean --ray-address?"),
        (["--jobs=none"], "it must be a whole number"),
        (["--store-url=oracle://x"], "sqlite:///FILE"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fivefold_automl", f"--data={tmp_path}", "--listen=127.0.0.1:0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]


def test_neither_starting_nor_asking_for_help_imports_a_learning_library() -> None:
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "import fivefold_automl.__main__ as m; m.main()\n"
        "print(sorted({'ray', 'pandas', 'sklearn', 'optuna', 'lightgbm', 'xgboost', 'pyarrow'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip().endswith("[]")
    assert "--ray-address" in ended.stdout
