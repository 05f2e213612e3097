"""Tracking and registry in this process, and MLflow pointed at them. MLflow's own stores stand beside for comparison."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before MLflow is imported
os.environ.setdefault("DO_NOT_TRACK", "true")

import mlflow
from mlflow import MlflowClient

import fivefold_registry.__main__ as registry
import fivefold_tracking.__main__ as tracking
from fivefold_mlflow.registry import RegistryStore
from fivefold_mlflow.tracking import TrackingStore
from fivefold_runtime.testing import serve
from tests.mlflow.acting import start

URI = "fivefold://127.0.0.1:7100"  # where nobody is: the environment says where each service is


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the two services are, which the environment tells for as long as the tests run."""
    root = tmp_path_factory.mktemp("services")
    with (
        serve(tracking.build, tracking.Config(data=str(root / "tracking"))) as first,
        serve(registry.build, registry.Config(data=str(root / "registry"), tracking=first.address)) as second,
    ):
        yield {"FIVEFOLD_URL_TRACKING": first.address, "FIVEFOLD_URL_REGISTRY": second.address}


@pytest.fixture
def environment(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, address in addresses.items():
        monkeypatch.setenv(variable, address)


@pytest.fixture
def store(environment: None) -> TrackingStore:
    return TrackingStore(URI)


@pytest.fixture
def models(environment: None) -> RegistryStore:
    return RegistryStore(URI)


@pytest.fixture
def client(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """MLflow's client, and its fluent API, over Fivefold."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    mlflow.set_tracking_uri(URI)
    mlflow.set_registry_uri(None)
    yield MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None
    for left in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):  # which MLflow sets for its children
        os.environ.pop(left, None)


@pytest.fixture
def name() -> str:
    """A name that nothing has."""
    return f"n{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def mlflow_stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """MLflow's own tracking store and registry, on SQLite."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return Tracking(uri, str(folder / "artifacts")), Registry(uri)


@pytest.fixture(params=["mlflow", "fivefold"])
def either(request: pytest.FixtureRequest) -> Any:
    """A tracking store: what a test says of ours is true of MLflow's own."""
    if request.param == "fivefold":
        return request.getfixturevalue("store")
    return request.getfixturevalue("mlflow_stores")[0]


@pytest.fixture(params=["mlflow", "fivefold"])
def either_registry(request: pytest.FixtureRequest) -> Any:
    """A model registry: what a test says of ours is true of MLflow's own."""
    if request.param == "fivefold":
        return request.getfixturevalue("models")
    return request.getfixturevalue("mlflow_stores")[1]


@pytest.fixture
def experiment(either: Any, name: str) -> str:
    made: str = either.create_experiment(name)
    return made


@pytest.fixture
def run(either: Any, experiment: str) -> str:
    return start(either, experiment)
