"""Where versions come from: a real tracking service with runs, and one that breaks as a real one rarely does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceServicer, add_TrackingServiceServicer_to_server
from fivefold_runtime.testing import serve
from fivefold_tracking.__main__ import Config, build
from tests.tracking.client import Tracking, sha256

MLMODEL = b"""\
flavors:
  python_function: {loader_module: mlflow.sklearn}
  sklearn: {serialization_format: skops}
signature:
  inputs: '[{"name": "distance", "type": "double", "required": true}, {"name": "carrier", "type": "string",
    "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
metadata:
  fivefold: {feature_spec: {name: specs/delays}, training_set: trainingSets/0123456789abcdef0123456789abcdef}
"""
MODEL = {"MLmodel": MLMODEL, "model.skops": b"\x00weights" * 1000, "data/example.json": b"{}"}


@dataclass(frozen=True)
class Sources:
    """A tracking service, and what runs it has."""

    address: str
    tracking: Tracking
    experiment: str
    model: str  # the source of MODEL, "runs/…/artifacts/model"

    @classmethod
    @contextmanager
    def serve(cls, folder: Path, **settings: Any) -> Iterator[Sources]:
        with serve(build, Config(data=str(folder / "data"), **settings)) as running:
            tracking = Tracking(running.channel)
            experiment = tracking.experiment("flights").name
            yield cls(running.address, tracking, experiment, uploaded(tracking, experiment, MODEL))

    def upload(self, files: Mapping[str, bytes], **fields: Any) -> str:
        """Makes a run with these files below its folder `model`; returns that folder as a source."""
        return uploaded(self.tracking, self.experiment, files, **fields)


def uploaded(tracking: Tracking, experiment: str, files: Mapping[str, bytes], **fields: Any) -> str:
    run = tracking.run(experiment, **fields).name
    for path, data in files.items():
        tracking.upload(run, f"model/{path}", data)
    return f"{run}/artifacts/model"


RUN = f"runs/{'0' * 32}"
SOURCE = f"{RUN}/artifacts/model"


class Faulty(TrackingServiceServicer):
    """Lists one file `model/weights`; what its download does is the test's choice, in `send`."""

    listed = b"the bytes that were announced"
    paths: tuple[str, ...] = ("model/weights",)

    def __init__(self) -> None:
        self.send: Callable[[grpc.ServicerContext], Iterator[bytes]] = lambda context: iter([self.listed])

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.Run:
        return pb.Run(name=request.name, experiment="experiments/7")

    def ListArtifacts(
        self, request: pb.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> pb.ListArtifactsResponse:
        files = [pb.Artifact(path=path, size_bytes=len(self.listed), sha256=sha256(self.listed)) for path in self.paths]
        return pb.ListArtifactsResponse(artifacts=files)

    def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadArtifactResponse]:
        yield pb.DownloadArtifactResponse(artifact=pb.Artifact(path=request.path))
        for data in self.send(context):
            yield pb.DownloadArtifactResponse(data=data)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serves it on a loopback port; yields the address."""
        server = grpc.server(ThreadPoolExecutor(16))
        add_TrackingServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()
