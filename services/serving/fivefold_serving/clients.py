"""The services that serving calls: the registry (what to serve, its files) and features (look-ups).

Following the registry and fetching files is this server's own work; look-ups and questions of rights are made in the
caller's name, with their token and what is left of their time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2
from fivefold.features.v1.features_pb2_grpc import FeatureServiceStub
from fivefold.models.package import FeatureSpec
from fivefold.models.signature import Column
from fivefold.registry.v1 import registry_pb2
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.outgoing import channel, passed_on
from fivefold_runtime.settings import ServerConfig
from fivefold_serving.columns import Values
from fivefold_serving.errors import InputMismatch
from fivefold_serving.inputs import EXPECTED, checked
from fivefold_serving.versions import File, Version

_PAGE = 1000


class Registry:
    """The registry, asked by this server."""

    def __init__(self, address: str, config: ServerConfig) -> None:
        self._channel = channel(address, config, acting_for="self")
        self._callers = channel(address, config, acting_for="caller")
        self._stub = RegistryServiceStub(self._channel)
        self._callers_stub = RegistryServiceStub(self._callers)

    def close(self) -> None:
        self._channel.close()
        self._callers.close()

    def models(self) -> list[str]:
        """Returns the ids of all models. Raises Unavailable."""
        found, token = [], ""
        while True:
            request = registry_pb2.ListModelsRequest(page_size=_PAGE, page_token=token)
            with passed_on("registry"):
                page = self._stub.ListModels(request)
            found += [model.name.removeprefix("models/") for model in page.models]
            token = page.next_page_token
            if not token:
                return found

    def production(self, model: str) -> list[Version] | None:
        """Returns the READY versions in Production, without files, highest number first; None for a model that is
        gone.
        """
        found, token = [], ""
        while True:
            request = registry_pb2.ListModelVersionsRequest(
                parent=f"models/{model}", stages=[registry_pb2.STAGE_PRODUCTION], page_size=_PAGE, page_token=token
            )
            try:
                with passed_on("registry"):
                    page = self._stub.ListModelVersions(request)
            except FivefoldError as error:
                if error.code == grpc.StatusCode.NOT_FOUND:
                    return None
                raise
            found += [
                Version(model, one.version, one.digest)
                for one in page.model_versions
                if one.status == registry_pb2.VERSION_STATUS_READY and one.stage == registry_pb2.STAGE_PRODUCTION
            ]
            token = page.next_page_token
            if not token:
                return sorted(found, key=lambda version: -version.number)

    def version(self, model: str, number: int) -> Version:
        """Returns one version with its files."""
        request = registry_pb2.GetModelVersionRequest(name=f"models/{model}/versions/{number}")
        with passed_on("registry"):
            one = self._stub.GetModelVersion(request)
        files = tuple(File(file.path, file.size_bytes, file.sha256) for file in one.files)
        return Version(model, one.version, one.digest, files)

    def download(self, version: Version, path: str) -> Iterator[bytes]:
        """Streams one file."""
        request = registry_pb2.DownloadModelFileRequest(name=version.name, path=path)
        with passed_on("registry"):
            for message in self._stub.DownloadModelFile(request):
                if message.WhichOneof("part") == "data":
                    yield message.data

    def watch(self) -> Watch:
        """Opens the stream of what happens from now on."""
        return Watch(self._stub.WatchEvents(registry_pb2.WatchEventsRequest(only_new=True)))

    def may_read(self, model: str) -> bool:
        """Says whether the running call's caller may read the model `models/{model}`. Raises Unavailable."""
        try:
            with passed_on("registry"):
                self._callers_stub.GetModel(registry_pb2.GetModelRequest(name=model))
        except FivefoldError as error:
            if error.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED):
                return False
            raise
        return True


class Watch:
    """A stream of models that changed. It begins with an empty set: whoever then reads the state misses nothing.

    Iterating raises Unavailable when it breaks; `cancel` ends it from another thread.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[frozenset[str]]:
        with passed_on("registry"):
            for message in self._stream:
                names = [name for event in message.events for name in (event.model, event.old_model) if name]
                yield frozenset(name.removeprefix("models/") for name in names)

    def cancel(self) -> None:
        self._stream.cancel()


class Features:
    """The features service."""

    def __init__(self, address: str, config: ServerConfig) -> None:
        self._channel = channel(address, config, acting_for="self")
        self._callers = channel(address, config, acting_for="caller")
        self._stub = FeatureServiceStub(self._channel)
        self._callers_stub = FeatureServiceStub(self._callers)

    def close(self) -> None:
        self._channel.close()
        self._callers.close()

    def spec(self, name: str) -> FeatureSpec:
        """Returns a feature spec with its keys and features."""
        with passed_on("features"):
            return FeatureSpec.of(self._stub.GetFeatureSpec(features_pb2.GetFeatureSpecRequest(name=name)))

    def look_up(self, spec: str, keys: Sequence[data_pb2.Column], as_of: Timestamp | None) -> Looked:
        """Returns the features of some keys, in the caller's name. Raises what the features service refuses with."""
        request = features_pb2.GetOnlineFeaturesRequest(spec=spec, keys=keys, as_of=as_of)
        with passed_on("features"):
            return Looked(self._callers_stub.GetOnlineFeatures(request))


_FIXED: dict[int, Any] = {
    data_pb2.DATA_TYPE_BOOL: np.dtype(np.uint8),
    data_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    data_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    data_pb2.DATA_TYPE_FLOAT: np.dtype("<f4"),
    data_pb2.DATA_TYPE_DOUBLE: np.dtype("<f8"),
    data_pb2.DATA_TYPE_TIMESTAMP: np.dtype("<i8"),
    data_pb2.DATA_TYPE_DATE: np.dtype("<i4"),
}
_THERE = (features_pb2.FEATURE_STATUS_PRESENT, features_pb2.FEATURE_STATUS_DEFAULTED)


class Looked:
    """The answer of a look-up: values by feature, and which were not PRESENT."""

    def __init__(self, answer: features_pb2.GetOnlineFeaturesResponse) -> None:
        self._rows = answer.rows
        self._places = {name: place for place, name in enumerate(answer.features)}
        self._statuses = np.frombuffer(answer.statuses, np.uint8).reshape(-1, self._rows) if answer.statuses else None
        self._blocks = {place: (block, row) for block in answer.blocks for row, place in enumerate(block.columns)}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def values(self, column: Column) -> Values:
        """Returns one feature as an input. Raises InputMismatch when its type does not fit the signature."""
        place = self._places[column.name]
        block, row = self._blocks[place]
        absent = None if self._statuses is None else ~np.isin(self._statuses[place], _THERE)
        if block.type in _FIXED:
            if column.type == "string":
                raise InputMismatch.of(column.name, f"a feature of type {_name(block.type)}", "text")
            kind = _FIXED[block.type]
            start = row * self._rows * kind.itemsize
            numbers = np.frombuffer(block.data, kind, self._rows, start).astype(float)
            if absent is not None:
                numbers[absent] = np.nan
            return checked(numbers, column)
        if column.type != "string" or block.type != data_pb2.DATA_TYPE_STRING:
            raise InputMismatch.of(column.name, f"a feature of type {_name(block.type)}", EXPECTED[column.type])
        ends = np.frombuffer(block.offsets, "<u4", self._rows, row * self._rows * 4).tolist()
        first = row * self._rows
        start = 0 if first == 0 else int(np.frombuffer(block.offsets, "<u4", 1, (first - 1) * 4)[0])
        texts: list[str | None] = []
        for end in ends:
            texts.append(block.data[start:end].decode("utf-8", "replace"))
            start = end
        if absent is not None:
            texts = [None if gone else text for text, gone in zip(texts, absent, strict=True)]
        return texts

    def missing(self, names: Sequence[str]) -> int:
        """Returns how many values of some features were not PRESENT."""
        if self._statuses is None:
            return 0
        return int(sum((self._statuses[self._places[n]] != features_pb2.FEATURE_STATUS_PRESENT).sum() for n in names))


def _name(kind: Any) -> str:
    return data_pb2.DataType.Name(kind).removeprefix("DATA_TYPE_")
