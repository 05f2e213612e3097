"""The three ways to a registry that are compared: MLflow's client over REST, the same over our plugin, our SDK."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import fivefold

MLFLOW, PLUGIN, SDK = "mlflow", "plugin", "sdk"
SOURCE = "s3://bucket/model"  # files elsewhere on every side, so that none copies any
STAGES = ("Staging", "Production")

Operation = Callable[[int], Any]


def client_of(side: str, address: str) -> Any:
    """Returns an MlflowClient, or our SDK's client of the registry."""
    os.environ.update({"FIVEFOLD_URL_REGISTRY": address, "MLFLOW_DISABLE_TELEMETRY": "true"})
    if side == SDK:
        return fivefold.connect().registry
    from mlflow import MlflowClient

    warnings.simplefilter("ignore", FutureWarning)  # MLflow is about to drop stages, and says so at every call.
    return MlflowClient("fivefold://127.0.0.1:1" if side == PLUGIN else f"http://{address}")


def model_of(number: int) -> str:
    """The name of one of the models that both registries are filled with."""
    return f"model-{number:04d}"


def own(client: Any, side: str, versions: int) -> str:
    """Makes a model of this process's own with some versions and returns its name."""
    name = f"own-{side}-{os.getpid()}"
    add = adding(client, side, name)
    client.create_model(name) if side == SDK else client.create_registered_model(name)
    for number in range(versions):
        add(number)
    return name


def adding(client: Any, side: str, name: str) -> Operation:
    """One operation: a new version of a model."""
    if side == SDK:
        return lambda number: client.create_version(name, external_uri=SOURCE).version
    return lambda number: int(client.create_model_version(name, SOURCE, await_creation_for=0).version)


def creating(side: str, address: str) -> Operation:
    client = client_of(side, address)
    return adding(client, side, own(client, side, 0))


def moving(side: str, address: str) -> Operation:
    """One operation: a version of twenty goes to Staging or Production, and what was there is archived."""
    client = client_of(side, address)
    name = own(client, side, 20)
    if side == SDK:
        return lambda number: (
            client.transition(
                f"models/{name}/versions/{number % 20 + 1}", STAGES[number // 20 % 2], archive_existing=True
            ).model_version.version
        )
    return lambda number: int(
        client.transition_model_version_stage(
            name, str(number % 20 + 1), STAGES[number // 20 % 2], archive_existing_versions=True
        ).version
    )


def latest(side: str, address: str) -> Operation:
    """One operation: the newest version in each stage of one of the thousand models."""
    client = client_of(side, address)
    if side == SDK:
        return lambda number: [
            (version.stage, version.version)
            for version in client.get_model(model_of(number * 7 % 1000)).latest_versions
        ]
    return lambda number: [
        (version.current_stage, int(version.version))
        for version in client.get_latest_versions(model_of(number * 7 % 1000))
    ]


def searching_models(side: str, address: str) -> Operation:
    """One operation: ten of the thousand models by the beginning of their names."""
    client = client_of(side, address)
    if side == SDK:
        return lambda number: [
            model.name.removeprefix("models/")
            for model in client.search_models(f"name LIKE 'model-{number % 100:03d}%'")
        ]
    return lambda number: [
        model.name for model in client.search_registered_models(f"name LIKE 'model-{number % 100:03d}%'")
    ]


def searching_versions(side: str, address: str) -> Operation:
    """One operation: the twenty versions of one of the thousand models."""
    client = client_of(side, address)
    if side == SDK:
        return lambda number: sorted(
            version.version for version in client.search_versions(f"name = '{model_of(number * 7 % 1000)}'")
        )
    return lambda number: sorted(
        int(version.version) for version in client.search_model_versions(f"name = '{model_of(number * 7 % 1000)}'")
    )
