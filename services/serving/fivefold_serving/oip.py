"""The Open Inference Protocol, version 2: `inference.GRPCInferenceService`.

Served under its standard name; the messages are those of fivefold/inference/v1 and equal on the wire.
"""

from __future__ import annotations

from importlib.metadata import version as version_of

from fivefold.inference.v1 import inference_pb2 as pb
from fivefold_runtime import calls
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.grants import Level
from fivefold_runtime.names import check_id
from fivefold_runtime.policy import Authorizer
from fivefold_serving import tensors
from fivefold_serving.clients import Features
from fivefold_serving.errors import ModelLoading, ModelNotServed
from fivefold_serving.follower import Follower
from fivefold_serving.predict import find, predict
from fivefold_serving.served import Entry, Loaded, State, Table, states

SERVICE = ("inference.GRPCInferenceService", "fivefold.inference.v1.GRPCInferenceService")
_STATES = {State.LIVE: "READY", State.STANDBY: "READY", State.LOADING: "LOADING", State.REFUSED: "UNAVAILABLE"}


class InferenceServicer:
    """Predictions by tensors."""

    def __init__(self, table: Table, features: Features, follower: Follower, authorizer: Authorizer) -> None:
        self._table = table
        self._features = features
        self._follower = follower
        self._authorizer = authorizer

    def ServerLive(self, request: pb.ServerLiveRequest, context: object) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: pb.ServerReadyRequest, context: object) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=not self._follower.ready())

    def ServerMetadata(self, request: pb.ServerMetadataRequest, context: object) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name="fivefold", version=version_of("fivefold-serving"), extensions=["model_repository"]
        )

    def ModelReady(self, request: pb.ModelReadyRequest, context: object) -> pb.ModelReadyResponse:
        try:
            self._find(request.name, request.version)
        except (ModelNotServed, ModelLoading):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: pb.ModelMetadataRequest, context: object) -> pb.ModelMetadataResponse:
        loaded = self._find(request.name, request.version)
        entry = self._table.entries.get(loaded.version.model, Entry(live=loaded))
        numbers = {one.version.number for one in (entry.live, entry.standby) if one is not None}
        answer = pb.ModelMetadataResponse(
            name=request.name, versions=[str(number) for number in sorted(numbers)], platform=loaded.platform
        )
        for target, columns in ((answer.inputs, loaded.signature.inputs), (answer.outputs, loaded.outputs)):
            for column in columns:
                target.add(name=column.name, datatype=tensors.datatype(column), shape=[-1])
        return answer

    def ModelInfer(self, request: pb.ModelInferRequest, context: object) -> pb.ModelInferResponse:
        loaded = self._find(request.model_name, request.model_version)
        calls.note(model_version=loaded.version.name)
        given = tensors.Given(request, loaded.signature)
        return tensors.answered(predict(loaded, given, self._features), request)

    def ModelStreamInfer(self, requests, context):  # type: ignore[no-untyped-def]  # generators of messages both ways
        for request in requests:
            calls.check()
            try:
                yield pb.ModelStreamInferResponse(infer_response=self.ModelInfer(request, context))
            except FivefoldError as error:
                # The id tells the client which of its requests went wrong.
                answer = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
                yield pb.ModelStreamInferResponse(error_message=error.message, infer_response=answer)

    def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: object) -> pb.RepositoryIndexResponse:
        answer = pb.RepositoryIndexResponse()
        for model, number, state, why, _ in self._authorizer.visible(
            states(self._table.entries), lambda one: f"models/{one[0]}"
        ):
            if _STATES[state] == "READY" or not request.ready:
                answer.models.add(name=model, version=str(number), state=_STATES[state], reason=why)
        return answer

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: object
    ) -> pb.RepositoryModelLoadResponse:
        self._follower.load(check_id(request.model_name, "model_name"))
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: object
    ) -> pb.RepositoryModelUnloadResponse:
        self._follower.unload(check_id(request.model_name, "model_name"))
        return pb.RepositoryModelUnloadResponse()

    def _find(self, name: str, version: str) -> Loaded:
        """Returns what a request names, if the caller may read it. Raises NotFound, ModelNotServed, ModelLoading."""
        model = check_id(name, "model name")
        self._authorizer.require(f"models/{model}", Level.CAN_READ)
        if version and not (version.isascii() and version.isdigit()):
            raise ModelNotServed(f"models/{model} has no version {version!r}: versions are numbers", model=name)
        return find(self._table, model, int(version) if version else None)
