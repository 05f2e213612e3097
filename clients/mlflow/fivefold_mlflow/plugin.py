"""What MLflow's entry points name. MLflow loads this module whenever it is imported, so it imports nothing of size."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivefold_mlflow.artifacts import FivefoldArtifacts
    from fivefold_mlflow.registry import RegistryStore
    from fivefold_mlflow.tracking import TrackingStore

if "grpc" not in sys.modules:
    # gRPC reads this once, when it is imported. Training code forks (data loaders, joblib), and MLflow's users expect
    # that a child can log; without it a channel of a child of a process that used gRPC hangs.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")


def tracking_store(store_uri: str, artifact_uri: str | None = None, **_: Any) -> TrackingStore:
    """Returns the tracking store of `fivefold://host:port`."""
    from fivefold_mlflow.tracking import TrackingStore

    return TrackingStore(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None, **_: Any) -> RegistryStore:
    """Returns the model registry of `fivefold://host:port`."""
    from fivefold_mlflow.registry import RegistryStore

    return RegistryStore(store_uri, tracking_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> FivefoldArtifacts:
    """Returns the files at a `fivefold-artifacts:` URI."""
    from fivefold_mlflow.artifacts import FivefoldArtifacts

    return FivefoldArtifacts(artifact_uri, tracking_uri, registry_uri)
