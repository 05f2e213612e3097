"""The stubs of one tracking service, with the shortest calls that tests need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc

from fivefold.permissions.v1.permissions_pb2_grpc import PermissionsServiceStub
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def upload(run: str, path: str, data: bytes, **header: Any) -> Iterator[pb.UploadArtifactRequest]:
    """Yields the messages of an upload, in pieces of at most 1000 bytes. `header` overrides what is announced."""
    announced = {"parent": run, "path": path, "sha256": sha256(data), "size_bytes": len(data)} | header
    yield pb.UploadArtifactRequest(header=pb.UploadArtifactRequest.Header(**announced))
    for start in range(0, len(data), 1000):
        yield pb.UploadArtifactRequest(data=data[start : start + 1000])


class Tracking:
    """Calls a service, as one caller."""

    def __init__(self, channel: grpc.Channel, token: str = "") -> None:
        if token:
            channel = grpc.intercept_channel(channel, _Token(token))
        self.stub = TrackingServiceStub(channel)
        self.permissions = PermissionsServiceStub(channel)

    def experiment(self, display_name: str = "flights", **more: Any) -> pb.Experiment:
        asked = pb.Experiment(display_name=display_name, tags=more.pop("tags", None))
        return self.stub.CreateExperiment(pb.CreateExperimentRequest(experiment=asked, **more))

    def run(self, experiment: str, **fields: Any) -> pb.Run:
        return self.stub.CreateRun(pb.CreateRunRequest(run=pb.Run(experiment=experiment, **fields)))

    def get(self, run: str) -> pb.Run:
        return self.stub.GetRun(pb.GetRunRequest(name=run))

    def log(self, run: str, metrics: Sequence[pb.Metric] = (), **more: Any) -> None:
        self.stub.LogBatch(pb.LogBatchRequest(run=run, metrics=metrics, **more))

    def search(self, *experiments: str, **more: Any) -> pb.SearchRunsResponse:
        return self.stub.SearchRuns(pb.SearchRunsRequest(experiments=experiments, **more))

    def upload(self, run: str, path: str, data: bytes, **header: Any) -> pb.Artifact:
        return self.stub.UploadArtifact(upload(run, path, data, **header))

    def download(self, run: str, path: str, offset: int = 0) -> tuple[pb.Artifact, bytes]:
        first, *rest = self.stub.DownloadArtifact(pb.DownloadArtifactRequest(parent=run, path=path, offset=offset))
        return first.artifact, b"".join(message.data for message in rest)

    def artifacts(self, run: str, path: str = "", **more: Any) -> list[str]:
        """Returns the paths of a listing."""
        answer = self.stub.ListArtifacts(pb.ListArtifactsRequest(parent=run, path=path, **more))
        return [artifact.path for artifact in answer.artifacts]

    def metrics(self, run: str) -> Mapping[str, float]:
        return {metric.key: metric.value for metric in self.get(run).metrics}


class _Token(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends a bearer token with every call."""

    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=[*(details.metadata or ()), self._header]), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _call
