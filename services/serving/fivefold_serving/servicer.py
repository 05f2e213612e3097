"""fivefold.serving.v1.ServingService: translate, call, translate."""

from __future__ import annotations

from fivefold.serving.v1 import serving_pb2 as pb
from fivefold_runtime import calls
from fivefold_runtime.names import Pattern
from fivefold_runtime.policy import Authorizer
from fivefold_serving import wire
from fivefold_serving.clients import Features
from fivefold_serving.follower import Follower
from fivefold_serving.predict import find, predict
from fivefold_serving.served import Table

SERVICE = "fivefold.serving.v1.ServingService"
_MODEL = Pattern("models/{model}")


class ServingServicer:
    """Predictions by rows or keys, and what is served."""

    def __init__(self, table: Table, features: Features, follower: Follower, authorizer: Authorizer) -> None:
        self._table = table
        self._features = features
        self._follower = follower
        self._authorizer = authorizer

    def Predict(self, request, context):
        loaded = find(self._table, _MODEL.parse(request.model, "model")["model"])
        calls.note(model_version=loaded.version.name)
        as_of = request.as_of if request.HasField("as_of") else None
        answer = predict(loaded, wire.Given(request.columns), self._features, as_of)
        return wire.to_predicted(answer, request.with_features)

    def ListServedModels(self, request, context):
        found = self._authorizer.visible(wire.to_served(self._table.entries), wire.model_of)
        return pb.ListServedModelsResponse(served_models=found, registry_connected=self._follower.connected)
