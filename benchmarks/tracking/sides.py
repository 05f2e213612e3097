"""The three ways to a tracking server that are compared: MLflow's client over REST, the same over our plugin, our SDK."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import fivefold

MLFLOW, PLUGIN, SDK = "mlflow", "plugin", "sdk"
BATCH = 1000  # metrics of one log_batch, MLflow's most


def environment(address: str) -> dict[str, str]:
    """What a client of our tracking service at this address has in its environment."""
    return {"FIVEFOLD_URL_TRACKING": address, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


def client_of(side: str, address: str) -> Any:
    """Returns an MlflowClient, or our SDK's client of tracking."""
    os.environ.update(environment(address))
    if side == SDK:
        return fivefold.connect().tracking
    from mlflow import MlflowClient

    return MlflowClient("fivefold://127.0.0.1:1" if side == PLUGIN else f"http://{address}")


def creating(side: str, address: str, experiment: str) -> Callable[[int], Any]:
    """One operation: a new run."""
    client = client_of(side, address)
    if side == SDK:
        return lambda number: client.create_run(experiment, name=f"run {number}").name
    return lambda number: (
        client.create_run(experiment.removeprefix("experiments/"), run_name=f"run {number}").info.run_id
    )


def logging(side: str, address: str, experiment: str) -> Callable[[int], Any]:
    """One operation: one point of one metric of a run of this process's own."""
    run, client = creating(side, address, experiment)(0), client_of(side, address)
    if side == SDK:
        return lambda number: (client.log(run, metrics={"loss": 1.0 / (number + 1)}, step=number), run)[1]
    return lambda number: (client.log_metric(run, "loss", 1.0 / (number + 1), step=number), run)[1]


def batching(side: str, address: str, experiment: str) -> Callable[[int], Any]:
    """One operation: BATCH points, of ten metrics."""
    run, client = creating(side, address, experiment)(0), client_of(side, address)
    keys, steps = [f"metric{number}" for number in range(10)], BATCH // 10
    if side == SDK:
        import grpc

        from fivefold.tracking.v1 import tracking_pb2 as pb
        from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

        stub = TrackingServiceStub(grpc.insecure_channel(address))

        def send(number: int) -> str:
            metrics = [
                pb.Metric(key=key, value=step / 7, step=number * steps + step) for step in range(steps) for key in keys
            ]
            stub.LogBatch(pb.LogBatchRequest(run=run, metrics=metrics))
            return run

        return send
    from mlflow.entities import Metric

    def log(number: int) -> str:
        now = int(time.time() * 1000)
        client.log_batch(
            run, [Metric(key, step / 7, now, number * steps + step) for step in range(steps) for key in keys]
        )
        return run

    return log
