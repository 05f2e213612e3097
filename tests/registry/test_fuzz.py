"""Whatever a request holds, the answer is an answer or a refusal with a reason: never INTERNAL, never our insides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.testing import serve
from tests.registry.client import STAGING, Registry
from tests.registry.sources import RUN, SOURCE, Faulty
from tests.runtime.fuzzing import FUZZING, Requests, check, methods_of

METHODS = methods_of(pb.DESCRIPTOR.services_by_name["RegistryService"])
REQUESTS = Requests(
    ["models/churn", "models/-", "models/other", "models/churn/versions/1", "models/churn/versions/2",
     "models/churn/versions/999999999999999999", "models/churn/aliases/champion", "models/churn/aliases/v1",
     "models/churn/versions/1/requests/1", "models/churn/versions/1/comments/2", "models/../x", "models/%2e%2e",
     SOURCE, f"{RUN}/artifacts", "MLmodel", "model/weights", "name = 'churn'", "tags.k LIKE '%'", "version DESC"]
)  # fmt: skip


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
@FUZZING
@given(data=st.data())
def test_no_request_breaks_a_method(registry: Registry, method: str, data: st.DataObject) -> None:
    check(registry.stub, METHODS[method], data, REQUESTS, endless=method == "WatchEvents")
