"""Whatever a request holds, the answer is an answer or a refusal with a reason: never INTERNAL, never our insides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_runtime import errors
from fivefold_runtime.testing import serve
from tests.registry.client import STAGING, Registry
from tests.registry.sources import RUN, SOURCE, Faulty
from tests.runtime.asserting import LEAKS

SERVICE = pb.DESCRIPTOR.services_by_name["RegistryService"]
METHODS = {method.name: method for method in SERVICE.methods}
NAMES = st.sampled_from(
    ["models/churn", "models/-", "models/other", "models/churn/versions/1", "models/churn/versions/2",
     "models/churn/versions/999999999999999999", "models/churn/aliases/champion", "models/churn/aliases/v1",
     "models/churn/versions/1/requests/1", "models/churn/versions/1/comments/2", "models/../x", "models/%2e%2e",
     SOURCE, f"{RUN}/artifacts", "MLmodel", "model/weights", "name = 'churn'", "tags.k LIKE '%'", "version DESC"]
)  # fmt: skip
TEXTS = NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 2, 3, 4])
LARGE = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2])


def value(field: Any, depth: int) -> st.SearchStrategy[Any]:
    kinds = type(field)
    if field.type == kinds.TYPE_MESSAGE:
        return message(field.message_type, depth + 1)
    if field.type == kinds.TYPE_BYTES:
        return st.binary(max_size=8)
    if field.type == kinds.TYPE_BOOL:
        return st.booleans()
    if field.type == kinds.TYPE_ENUM:
        return st.integers(-1, 12)
    if field.cpp_type == kinds.CPPTYPE_STRING:
        return TEXTS
    return LARGE if field.cpp_type in (kinds.CPPTYPE_INT64,) else NUMBERS


@st.composite
def message(draw: st.DrawFn, descriptor: Any, depth: int = 0) -> Any:
    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if depth > 4 or not draw(st.integers(0, 3)):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            for key in draw(st.lists(TEXTS, max_size=2)):
                getattr(made, field.name)[key] = draw(value(entry, depth))
        elif field.is_repeated:
            getattr(made, field.name).extend(draw(st.lists(value(field, depth), max_size=2)))
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(draw(value(field, depth)))
        else:
            setattr(made, field.name, draw(value(field, depth)))
    return made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    data = str(tmp_path_factory.mktemp("fuzz") / "data")
    with Faulty().served() as address, serve(build, Config(data=data, tracking=address)) as running:
        registry = Registry(running.channel, SOURCE)
        registry.model(tags={"k": "v"})
        version = registry.make().name
        registry.ask(version, STAGING)
        registry.comment(version, "hello")
        registry.alias("champion", 1)
        yield registry


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_breaks_a_method(registry: Registry, method: str, data: st.DataObject) -> None:
    request = data.draw(message(METHODS[method].input_type))
    call = getattr(registry.stub, method)
    try:
        answer = call(request, timeout=0.05 if method == "WatchEvents" else 20)
        if method in ("WatchEvents", "DownloadModelFile"):
            list(answer)
    except grpc.RpcError as error:
        if method == "WatchEvents" and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return
        reason, facts = errors.parse(error)
        assert reason not in ("", "INTERNAL"), error
        said = " ".join([error.details() or "", *facts.values()])
        assert not [leak for leak in LEAKS if leak in said and leak not in str(request)], said
