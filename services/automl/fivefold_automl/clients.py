"""Calls to other services: tracking (experiments, runs, artifacts), features (training sets, specs), registry.

A client acts for the caller of an RPC, or for this service itself in work that outlives a call. A refusal keeps its
code and reason; a service that does not answer is SERVICE_UNAVAILABLE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.features.v1 import features_pb2, features_pb2_grpc
from fivefold.registry.v1 import registry_pb2, registry_pb2_grpc
from fivefold.tracking.v1 import tracking_pb2, tracking_pb2_grpc
from fivefold_runtime.outgoing import channel, passed_on
from fivefold_runtime.settings import ServerConfig

ActingFor = Literal["caller", "self"]
_PIECE = 1 << 20  # bytes of an artifact in one message


def request_id(*parts: object) -> str:
    """Returns a request id of 32 hexadecimal digits that is the same for the same parts, after a restart too."""
    return hashlib.sha256("/".join(str(part) for part in parts).encode()).hexdigest()[:32]


class Tracking:
    """What AutoML needs of the tracking service."""

    def __init__(self, address: str, config: ServerConfig, acting_for: ActingFor) -> None:
        self._channel = channel(address, config, acting_for=acting_for)
        self._stub = tracking_pb2_grpc.TrackingServiceStub(self._channel)

    def experiment(self, display_name: str) -> str:
        """Returns the name of the experiment that is called so; makes it if need be."""
        experiment = tracking_pb2.Experiment(display_name=display_name)
        with passed_on("tracking"):
            return self._stub.CreateExperiment(
                tracking_pb2.CreateExperimentRequest(experiment=experiment, allow_existing=True)
            ).name

    def create_run(self, run: tracking_pb2.Run, request: str) -> str:
        """Starts a run, once for each `request`, and returns its name."""
        with passed_on("tracking"):
            return self._stub.CreateRun(tracking_pb2.CreateRunRequest(run=run, request_id=request)).name

    def log(
        self,
        run: str,
        *,
        metrics: Mapping[str, float] = {},
        params: Mapping[str, str] = {},
        tags: Mapping[str, str] = {},
        at: datetime | None = None,
        request: str = "",
    ) -> None:
        """Logs values to a run, once for each `request`."""
        # A service that was killed records again what it may have recorded, also of a run that it had ended.
        batch = tracking_pb2.LogBatchRequest(run=run, params=params, tags=tags, request_id=request, allow_ended=True)
        for key, value in metrics.items():
            batch.metrics.append(tracking_pb2.Metric(key=key, value=value, time=moment(at)))
        with passed_on("tracking"):
            self._stub.LogBatch(batch)

    def log_input(self, run: str, dataset: tracking_pb2.DatasetInput) -> None:
        """Records a dataset of a run."""
        with passed_on("tracking"):
            self._stub.LogInputs(tracking_pb2.LogInputsRequest(run=run, inputs=[dataset]))

    def upload(self, run: str, path: str, content: bytes) -> None:
        """Stores a file among a run's artifacts."""
        header = tracking_pb2.UploadArtifactRequest.Header(
            parent=run, path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )

        def messages() -> Iterator[tracking_pb2.UploadArtifactRequest]:
            yield tracking_pb2.UploadArtifactRequest(header=header)
            for start in range(0, len(content), _PIECE):
                yield tracking_pb2.UploadArtifactRequest(data=content[start : start + _PIECE])

        with passed_on("tracking"):
            self._stub.UploadArtifact(messages(), timeout=300.0)

    def finish(self, run: str, status: tracking_pb2.RunStatus.ValueType, ended: datetime | None) -> None:
        """Ends a run."""
        change = tracking_pb2.Run(name=run, status=status, end_time=moment(ended))
        with passed_on("tracking"):
            self._stub.UpdateRun(tracking_pb2.UpdateRunRequest(run=change))

    def close(self) -> None:
        self._channel.close()


class Features:
    """What AutoML needs of the features service."""

    def __init__(self, address: str, config: ServerConfig, acting_for: ActingFor) -> None:
        self._channel = channel(address, config, acting_for=acting_for)
        self._stub = features_pb2_grpc.FeatureServiceStub(self._channel)

    def training_set(self, name: str) -> features_pb2.TrainingSet:
        with passed_on("features"):
            return self._stub.GetTrainingSet(features_pb2.GetTrainingSetRequest(name=name))

    def spec(self, name: str) -> features_pb2.FeatureSpec:
        with passed_on("features"):
            return self._stub.GetFeatureSpec(features_pb2.GetFeatureSpecRequest(name=name))

    def read(self, name: str) -> Any:
        """Returns the rows of a training set as a pyarrow.Table."""
        import pyarrow as pa

        with passed_on("features"):
            pieces = self._stub.ReadTrainingSet(features_pb2.ReadTrainingSetRequest(name=name), timeout=600.0)
            with pa.ipc.open_stream(_Pieces(pieces)) as reader:
                return reader.read_all()

    def close(self) -> None:
        self._channel.close()


class Registry:
    """What AutoML needs of the registry service."""

    def __init__(self, address: str, config: ServerConfig, acting_for: ActingFor) -> None:
        self._channel = channel(address, config, acting_for=acting_for)
        self._stub = registry_pb2_grpc.RegistryServiceStub(self._channel)

    def create_model(self, name: str) -> None:
        """Makes the registered model if there is none."""
        with passed_on("registry"):
            self._stub.CreateModel(
                registry_pb2.CreateModelRequest(model=registry_pb2.Model(name=name), allow_existing=True)
            )

    def create_version(self, model: str, version: registry_pb2.ModelVersion, request: str) -> str:
        """Makes the next version of a model, once for each `request` that is not empty; returns its name."""
        asked = registry_pb2.CreateModelVersionRequest(parent=model, model_version=version, request_id=request)
        with passed_on("registry"):
            return self._stub.CreateModelVersion(asked, timeout=300.0).name

    def close(self) -> None:
        self._channel.close()


class _Pieces:
    """A stream of messages with Arrow bytes, as the file that pyarrow reads."""

    closed = False

    def __init__(self, messages: Iterator[features_pb2.ReadTrainingSetResponse]) -> None:
        self._messages = messages
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        taken: list[memoryview] = []
        wanted = size
        while wanted:
            if not self._rest:
                message = next(self._messages, None)
                if message is None:
                    break
                self._rest = memoryview(message.arrow)
                continue
            piece = self._rest if wanted < 0 else self._rest[:wanted]
            self._rest = self._rest[len(piece) :]
            taken.append(piece)
            wanted -= len(piece) if wanted > 0 else 0
        return b"".join(taken)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def moment(at: datetime | None) -> Timestamp | None:
    """Returns a time as messages carry it."""
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def is_final(error: Exception) -> bool:
    """Says whether repeating a call that failed so cannot help."""
    code = getattr(error, "code", None)
    return code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)
