"""Who may predict with a model: whoever may read it in the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from fivefold.inference.v1 import inference_pb2
from fivefold.registry.v1 import registry_pb2
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.serving.v1 import serving_pb2 as pb
from fivefold.serving.v1.serving_pb2_grpc import ServingServiceStub
from fivefold_registry import __main__ as registry
from fivefold_runtime.errors import parse
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import Running, serve
from fivefold_serving import __main__ as serving


class Secured:
    """A registry and a serving service that want tokens, and a model that `ada` registered."""

    def __init__(self, keys: Path, registry: Running, serving: Running) -> None:
        self._keys = keys
        self.serving = ServingServiceStub(serving.channel)
        self.registry_service = registry
        self.channel = serving.channel
        models = RegistryServiceStub(registry.channel)
        models.CreateModel(registry_pb2.CreateModelRequest(model={"name": "models/hers"}), metadata=self.as_("ada"))

    def as_(self, subject: str, *groups: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {sign_token(self._keys, subject, list(groups))}")]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    keys = tmp_path / "keys"
    jwks = str(make_key(keys))
    (tmp_path / "token").write_text(sign_token(keys, "serving", ["fivefold:serving"]))
    settings: dict[str, Any] = {"auth": "jwt", "jwt_keys": jwks, "admins": "root"}
    with serve(registry.build, registry.Config(data=str(tmp_path / "registry"), **settings)) as one:
        config = serving.Config(
            data=str(tmp_path / "serving"), registry=one.address, token_file=str(tmp_path / "token"), **settings
        )
        with serve(serving.build, replace(config)) as two:
            yield Secured(keys, one, two)


def outcome(secured: Secured, metadata: list[tuple[str, str]], model: str = "models/hers") -> tuple[str, str]:
    """Returns the reason of the refusal of a prediction (none is served here), and its words."""
    column = {"name": "a", "doubles": {"values": [1.0]}}
    with pytest.raises(grpc.RpcError) as raised:
        secured.serving.Predict(pb.PredictRequest(model=model, columns=[column]), metadata=metadata)
    return parse(raised.value)[0], raised.value.details()


def test_only_who_may_read_the_model_learns_whether_it_is_served(secured: Secured) -> None:
    assert outcome(secured, secured.as_("ada"))[0] == "MODEL_NOT_SERVED"
    assert outcome(secured, secured.as_("root"))[0] == "MODEL_NOT_SERVED"
    theirs, unknown = outcome(secured, secured.as_("bob")), outcome(secured, secured.as_("bob"), "models/none")
    assert theirs == ("RESOURCE_NOT_FOUND", "models/hers does not exist")
    assert unknown == ("RESOURCE_NOT_FOUND", "models/none does not exist")
    assert outcome(secured, [])[0] == "TOKEN_MISSING"


def test_tensors_go_by_the_same_rights(secured: Secured) -> None:
    def ready(metadata: list[tuple[str, str]]) -> Any:
        return secured.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelReady",
            request_serializer=inference_pb2.ModelReadyRequest.SerializeToString,
            response_deserializer=inference_pb2.ModelReadyResponse.FromString,
        )(inference_pb2.ModelReadyRequest(name="hers"), metadata=metadata)

    assert ready(secured.as_("ada")).ready is False
    with pytest.raises(grpc.RpcError) as raised:
        ready(secured.as_("bob"))
    assert parse(raised.value)[0] == "RESOURCE_NOT_FOUND"


def test_loading_and_unloading_by_hand_is_for_administrators(secured: Secured) -> None:
    load = secured.channel.unary_unary(
        "/inference.GRPCInferenceService/RepositoryModelLoad",
        request_serializer=inference_pb2.RepositoryModelLoadRequest.SerializeToString,
        response_deserializer=inference_pb2.RepositoryModelLoadResponse.FromString,
    )
    request = inference_pb2.RepositoryModelLoadRequest(model_name="hers")
    with pytest.raises(grpc.RpcError) as raised:
        load(request, metadata=secured.as_("ada"))
    assert parse(raised.value)[0] == "PERMISSION_DENIED"
    with pytest.raises(grpc.RpcError) as raised:
        load(request, metadata=secured.as_("root"))
    assert parse(raised.value)[0] == "MODEL_NOT_SERVED"


def test_an_answer_of_the_registry_counts_on_while_it_is_away_and_nothing_else_does(secured: Secured) -> None:
    assert outcome(secured, secured.as_("ada"))[0] == "MODEL_NOT_SERVED"
    secured.registry_service.server.close()
    assert outcome(secured, secured.as_("ada"))[0] == "MODEL_NOT_SERVED"
    assert outcome(secured, secured.as_("eve"))[0] == "SERVICE_UNAVAILABLE"


def test_a_model_that_is_made_after_someone_asked_for_it_is_theirs_seconds_later(secured: Secured) -> None:
    bob = secured.as_("bob")
    assert outcome(secured, bob, "models/later")[0] == "RESOURCE_NOT_FOUND"
    models = RegistryServiceStub(secured.registry_service.channel)
    models.CreateModel(registry_pb2.CreateModelRequest(model={"name": "models/later"}), metadata=bob)
    end = time.monotonic() + 30
    while outcome(secured, bob, "models/later")[0] != "MODEL_NOT_SERVED":
        assert time.monotonic() < end, "a no is remembered for ever"
        time.sleep(0.1)
