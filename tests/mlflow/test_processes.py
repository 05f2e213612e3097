"""Stores that live as long as a process: threads, forks, pickling, tokens that change."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

import fivefold_tracking.__main__ as tracking
from fivefold.sdk.transport import Transport
from fivefold_mlflow.connection import Connection
from fivefold_mlflow.failures import Failure
from fivefold_mlflow.registry import RegistryStore
from fivefold_mlflow.tracking import TrackingStore
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import serve
from tests.mlflow.conftest import URI


def test_threads_share_one_store(store: TrackingStore, name: str) -> None:
    experiment = store.create_experiment(name)
    begin = threading.Barrier(8)

    def work(place: int) -> str:
        begin.wait()
        run: str = store.create_run(experiment, "ada", place, [], f"r{place}").info.run_id
        for step in range(20):
            store.log_metric(run, Metric("m", float(step), step, step))
        store.log_batch(run, [], [Param("p", str(place))], [RunTag("t", str(place))])
        return run

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(work, range(8)))
    found = {each.info.run_id: each for each in store.search_runs([experiment], "", ViewType.ALL)}
    assert set(found) == set(runs)
    assert {found[run].data.params["p"] for run in runs} == {str(place) for place in range(8)}
    assert all(len(store.get_metric_history(run, "m")) == 20 for run in runs)


def test_a_call_that_is_sent_twice_happens_once(
    store: TrackingStore, models: RegistryStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Transport.call

    def twice(self: Transport, method: Any, request: Any, **more: Any) -> Any:
        call(self, method, request, **more)
        return call(self, method, request, **more)

    monkeypatch.setattr(Transport, "call", twice)
    experiment = store.create_experiment(name)
    store.create_run(experiment, "ada", 1, [], None)
    assert len(store.search_runs([experiment], "", ViewType.ALL)) == 1
    models.create_registered_model(name)
    models.create_model_version(name, "s3://x/y")
    models.delete_model_version(name, 1)
    assert int(models.create_model_version(name, "s3://x/y").version) == 2


def test_threads_that_start_at_once_make_one_default_experiment(environment: None) -> None:
    begin = threading.Barrier(8)

    def work(_: int) -> str:
        begin.wait()
        return TrackingStore(URI).get_experiment("0")._artifact_location  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1


def test_stores_are_pickled_with_the_client(store: TrackingStore, models: RegistryStore, name: str) -> None:
    experiment = store.create_experiment(name)
    assert pickle.loads(pickle.dumps(store)).get_experiment(experiment).name == name
    run = store.create_run(experiment, "ada", 1, [RunTag("t", "1")], "named")
    store.log_metric(run.info.run_id, Metric("m", 1.0, 1, 0))
    run = store.get_run(run.info.run_id)
    copy = pickle.loads(pickle.dumps(run))
    assert copy.to_dictionary() == run.to_dictionary() == type(run).from_proto(run.to_proto()).to_dictionary()
    models.create_registered_model(name)
    assert pickle.loads(pickle.dumps(models)).get_registered_model(name).name == name


SCRIPT = """
import multiprocessing, os, pathlib, sys
import mlflow

folder = pathlib.Path("folder")
folder.mkdir()
for file in "abc":
    (folder / file).write_text(file)

mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.set_experiment(sys.argv[2]).experiment_id
with mlflow.start_run(run_name="parent") as run:
    mlflow.log_metric("before", 1)
    mlflow.log_metric("a", 1, synchronous=False).wait()
    mlflow.log_artifacts(folder, "parent", run_id=run.info.run_id)

    def child(place):
        mlflow.log_metric(f"child{place}", place, run_id=run.info.run_id)
        mlflow.log_metric(f"later{place}", place, run_id=run.info.run_id, synchronous=False).wait()
        mlflow.log_artifacts(folder, f"child{place}", run_id=run.info.run_id)
        mlflow.log_text("x", f"child{place}.txt", run_id=run.info.run_id)
        with mlflow.start_run(run_name=f"child{place}", nested=True):
            mlflow.log_param("p", place)

    for place in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(place)
                code = 0
            except Exception as error:
                print(error, file=sys.stderr)
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(child, range(2, 5))
    mlflow.log_metric("after", 1)
print(run.info.run_id)
"""


@pytest.mark.timeout(120)
def test_children_of_a_process_that_logs_can_log(
    store: TrackingStore, addresses: dict[str, str], name: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environ = os.environ | addresses
    environ.pop("GRPC_ENABLE_FORK_SUPPORT", None)  # as in a user's process
    done = subprocess.run(
        [sys.executable, str(script), URI, name], env=environ, capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    run = store.get_run(done.stdout.split()[-1])
    by_children = {f"{word}{place}" for word in ("child", "later") for place in range(5)}
    assert set(run.data.metrics) == {"before", "a", "after"} | by_children
    experiment = run.info.experiment_id
    names = [each.info.run_name for each in store.search_runs([experiment], "", ViewType.ALL)]
    assert sorted(names) == ["child0", "child1", "child2", "child3", "child4", "parent"]


@pytest.mark.timeout(120)
def test_a_child_that_would_hang_says_why(addresses: dict[str, str], name: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environ = os.environ | addresses | {"GRPC_ENABLE_FORK_SUPPORT": "0"}
    done = subprocess.run(
        [sys.executable, str(script), URI, name], env=environ, capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "set GRPC_ENABLE_FORK_SUPPORT=1 before Python starts" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_mlflows_own_server_runs_over_fivefold(addresses: dict[str, str], name: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", URI, "--port", str(port), "--workers", "1"]
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, env=os.environ | addresses, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        client = MlflowClient(f"http://127.0.0.1:{port}")
        run = client.create_run(client.create_experiment(name)).info
        client.log_metric(run.run_id, "m", 1.0)
        found = client.search_runs([run.experiment_id], "metrics.m > 0.5")
        assert [each.info.run_id for each in found] == [run.run_id]
        client.create_registered_model(name)
        assert client.create_model_version(name, "s3://x/y", run.run_id).version == "1"
        assert "Traceback" not in log.read_text()
    finally:
        server.terminate()
        server.wait(30)


def test_reads_go_on_where_no_default_experiment_can_be_made(
    keys: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIVEFOLD_TOKEN", token(keys, "mia"))
    experiment = TrackingStore(URI).create_experiment(name)
    change = Connection.change

    def full(self: Connection, method: str, request: Any, **more: Any) -> Any:
        if method == "CreateExperiment":
            raise Failure("the disk is full", reason="STORAGE_FULL")
        return change(self, method, request, **more)

    monkeypatch.setattr(Connection, "change", full)
    store = TrackingStore(URI)
    assert store.get_experiment(experiment).experiment_id == experiment
    with pytest.raises(MlflowException, match="the disk is full"):
        store.get_experiment("0")


def test_mlflow_finds_the_plugin_which_loads_nothing_of_size() -> None:
    found = {
        group: {each.name: each.value for each in entry_points(group=group)}
        for group in ("mlflow.tracking_store", "mlflow.model_registry_store", "mlflow.artifact_repository")
    }
    assert found["mlflow.tracking_store"]["fivefold"] == "fivefold_mlflow.plugin:tracking_store"
    assert found["mlflow.model_registry_store"]["fivefold"] == "fivefold_mlflow.plugin:registry_store"
    assert found["mlflow.artifact_repository"]["fivefold-artifacts"] == "fivefold_mlflow.plugin:artifact_repository"
    code = "import fivefold_mlflow.plugin, sys; print([name for name in ('grpc', 'mlflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the keys are of a tracking service that wants tokens, which the environment names."""
    folder = tmp_path / "keys"
    config = tracking.Config(data=str(tmp_path / "tracking"), auth="jwt", jwt_keys=str(make_key(folder)), admins="root")
    with serve(tracking.build, config) as running:
        monkeypatch.setenv("FIVEFOLD_URL_TRACKING", running.address)
        yield folder


def token(keys: Path, subject: str) -> str:
    return sign_token(keys, subject, [], lifetime=timedelta(hours=1))


def test_the_token_of_the_environment_goes_with_each_call(
    keys: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TrackingStore(URI)
    with pytest.raises(MlflowException, match="token") as raised:
        store.get_experiment("1")
    assert raised.value.error_code == "UNAUTHENTICATED"
    monkeypatch.setenv("FIVEFOLD_TOKEN", token(keys, "mia"))
    experiment = store.create_experiment(name)
    run = store.create_run(experiment, "unknown", 1, [], None)
    assert run.info.user_id == "mia"
    monkeypatch.delenv("FIVEFOLD_TOKEN")
    (tmp_path / "token").write_text(token(keys, "sam"))
    monkeypatch.setenv("FIVEFOLD_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(MlflowException, match="not found") as raised:
        store.get_run(run.info.run_id)
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException) as raised:
        store.create_experiment(name)
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_a_default_experiment_of_someone_else_is_not_shown_as_number_0(
    keys: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIVEFOLD_TOKEN", token(keys, "mia"))
    assert TrackingStore(URI).get_experiment("0").name == "Default"
    monkeypatch.setenv("FIVEFOLD_TOKEN", token(keys, "sam"))
    theirs = TrackingStore(URI)
    with pytest.raises(MlflowException, match="No Experiment with id=0 exists"):
        theirs.create_run("0", "sam", 1, [], None)
    experiment = theirs.create_experiment(name)
    assert [each.experiment_id for each in theirs.search_experiments()] == [experiment]
