"""Tracking, features and registry in small: real gRPC servers of the contracts, in memory.

Each counts as down while `down` is set. Nothing here checks permissions or limits; the services' own tests do.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pyarrow as pa

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2, features_pb2_grpc
from fivefold.registry.v1 import registry_pb2, registry_pb2_grpc
from fivefold.tracking.v1 import tracking_pb2, tracking_pb2_grpc

_TYPES = {
    pa.bool_(): data_pb2.DATA_TYPE_BOOL,
    pa.int32(): data_pb2.DATA_TYPE_INT32,
    pa.int64(): data_pb2.DATA_TYPE_INT64,
    pa.float32(): data_pb2.DATA_TYPE_FLOAT,
    pa.float64(): data_pb2.DATA_TYPE_DOUBLE,
    pa.string(): data_pb2.DATA_TYPE_STRING,
    pa.date32(): data_pb2.DATA_TYPE_DATE,
    pa.timestamp("us", "UTC"): data_pb2.DATA_TYPE_TIMESTAMP,
}


@dataclass
class TrackingPeer(tracking_pb2_grpc.TrackingServiceServicer):
    """Keeps experiments, runs with all that was logged, and artifacts by (run, path)."""

    experiments: dict[str, str] = field(default_factory=dict)  # display name -> name
    runs: dict[str, tracking_pb2.Run] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], bytes] = field(default_factory=dict)
    down: threading.Event = field(default_factory=threading.Event)
    _answers: dict[str, str] = field(default_factory=dict)  # request id -> run
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def nested(self, parent: str) -> list[tracking_pb2.Run]:
        """Returns the runs nested in a run, by display name's number."""
        found = [run for run in self.runs.values() if run.parent_run == parent]
        return sorted(found, key=lambda run: int(run.display_name.split()[0]))

    def package(self, run: str) -> dict[str, bytes]:
        """Returns the files below `model/` of a run, by relative path."""
        return {
            path.removeprefix("model/"): content
            for (of, path), content in self.artifacts.items()
            if of == run and path.startswith("model/")
        }

    def CreateExperiment(self, request: Any, context: grpc.ServicerContext) -> tracking_pb2.Experiment:
        self._up(context)
        with self._lock:
            name = self.experiments.setdefault(
                request.experiment.display_name, f"experiments/{len(self.experiments) + 1}"
            )
        return tracking_pb2.Experiment(name=name, display_name=request.experiment.display_name)

    def CreateRun(self, request: Any, context: grpc.ServicerContext) -> tracking_pb2.Run:
        self._up(context)
        with self._lock:
            known = self._answers.get(request.request_id)
            if known:
                return self.runs[known]
            run = tracking_pb2.Run()
            run.CopyFrom(request.run)
            run.name = f"runs/{uuid.uuid4().hex}"
            run.status = run.status or tracking_pb2.RUN_STATUS_RUNNING
            self.runs[run.name] = run
            if request.request_id:
                self._answers[request.request_id] = run.name
        return run

    def LogBatch(self, request: Any, context: grpc.ServicerContext) -> tracking_pb2.LogBatchResponse:
        self._up(context)
        run = self.runs[request.run]
        run.metrics.extend(request.metrics)
        run.params.update(request.params)
        run.tags.update(request.tags)
        return tracking_pb2.LogBatchResponse()

    def LogInputs(self, request: Any, context: grpc.ServicerContext) -> tracking_pb2.LogInputsResponse:
        self._up(context)
        self.runs[request.run].inputs.extend(request.inputs)
        return tracking_pb2.LogInputsResponse()

    def UploadArtifact(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> tracking_pb2.Artifact:
        self._up(context)
        header = next(request_iterator).header
        content = b"".join(message.data for message in request_iterator)
        assert hashlib.sha256(content).hexdigest() == header.sha256
        assert len(content) == header.size_bytes
        self.artifacts[header.parent, header.path] = content
        return tracking_pb2.Artifact(path=header.path, size_bytes=len(content), sha256=header.sha256)

    def UpdateRun(self, request: Any, context: grpc.ServicerContext) -> tracking_pb2.Run:
        self._up(context)
        run = self.runs[request.run.name]
        run.MergeFrom(request.run)
        return run

    def _up(self, context: grpc.ServicerContext) -> None:
        if self.down.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")


@dataclass
class FeaturesPeer(features_pb2_grpc.FeatureServiceServicer):
    """Keeps training sets that tests put in, and one spec for all of them."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    sets: dict[str, features_pb2.TrainingSet] = field(default_factory=dict)
    looked_up: tuple[str, ...] = ()
    down: threading.Event = field(default_factory=threading.Event)

    def put(self, table: pa.Table, **described: Any) -> str:
        """Adds a training set and returns its name."""
        name = f"trainingSets/{uuid.uuid4().hex}"
        self.tables[name] = table
        self.sets[name] = features_pb2.TrainingSet(
            name=name,
            spec="specs/things",
            rows=len(table),
            digest=hashlib.sha256(name.encode()).hexdigest(),
            table_versions=["tables/things/versions/3"],
            columns=[features_pb2.TableColumn(name=column.name, type=_TYPES[column.type]) for column in table.schema],
            **described,
        )
        return name

    def GetTrainingSet(self, request: Any, context: grpc.ServicerContext) -> features_pb2.TrainingSet:
        self._up(context)
        if request.name not in self.sets:
            _refuse(context, grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist", "RESOURCE_NOT_FOUND")
        return self.sets[request.name]

    def GetFeatureSpec(self, request: Any, context: grpc.ServicerContext) -> features_pb2.FeatureSpec:
        self._up(context)
        features = [features_pb2.TableColumn(name=name, type=data_pb2.DATA_TYPE_DOUBLE) for name in self.looked_up]
        keys = [features_pb2.TableColumn(name="id", type=data_pb2.DATA_TYPE_STRING)]
        return features_pb2.FeatureSpec(name=request.name, features=features, keys=keys)

    def ReadTrainingSet(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._up(context)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.tables[request.name].schema) as writer:
            writer.write_table(self.tables[request.name], max_chunksize=1000)
        content = sink.getvalue().to_pybytes()
        for start in range(0, len(content), 100_003):
            yield features_pb2.ReadTrainingSetResponse(arrow=content[start : start + 100_003])

    def _up(self, context: grpc.ServicerContext) -> None:
        if self.down.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")


@dataclass
class RegistryPeer(registry_pb2_grpc.RegistryServiceServicer):
    """Keeps models and the versions that were asked for."""

    versions: dict[str, list[registry_pb2.ModelVersion]] = field(default_factory=dict)
    down: threading.Event = field(default_factory=threading.Event)

    def CreateModel(self, request: Any, context: grpc.ServicerContext) -> registry_pb2.Model:
        self._up(context)
        self.versions.setdefault(request.model.name, [])
        return request.model

    def CreateModelVersion(self, request: Any, context: grpc.ServicerContext) -> registry_pb2.ModelVersion:
        self._up(context)
        versions = self.versions[request.parent]
        version = registry_pb2.ModelVersion()
        version.CopyFrom(request.model_version)
        version.version = len(versions) + 1
        version.name = f"{request.parent}/versions/{version.version}"
        versions.append(version)
        return version

    def _up(self, context: grpc.ServicerContext) -> None:
        if self.down.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")


@dataclass
class Peers:
    """The three services that AutoML calls, on one loopback port."""

    tracking: TrackingPeer = field(default_factory=TrackingPeer)
    features: FeaturesPeer = field(default_factory=FeaturesPeer)
    registry: RegistryPeer = field(default_factory=RegistryPeer)
    address: str = ""
    _end: Callable[[], object] = lambda: None

    def start(self) -> None:
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        tracking_pb2_grpc.add_TrackingServiceServicer_to_server(self.tracking, server)
        features_pb2_grpc.add_FeatureServiceServicer_to_server(self.features, server)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(self.registry, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self._end = lambda: server.stop(0).wait()

    def stop(self) -> None:
        self._end()


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str, reason: str) -> None:
    from fivefold_runtime.errors import NotFound

    error = type("Refused", (NotFound,), {"code": code, "reason": reason})(message)
    context.set_trailing_metadata(error.trailers())
    context.abort(code, message)
