"""What Fivefold does not have says so, and breaks nothing on the way."""

from __future__ import annotations

import pickle

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException, MlflowNotImplementedException
from mlflow.store.model_registry.abstract_store import AbstractStore as AbstractRegistry
from mlflow.store.model_registry.rest_store import RestStore as RestRegistry
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.store.tracking.rest_store import RestStore

from fivefold.sdk.errors import Unreachable
from fivefold_mlflow.failures import Failure, translated
from fivefold_mlflow.registry import RegistryStore
from fivefold_mlflow.tracking import TrackingStore
from tests.mlflow.conftest import URI


def methods(*kinds: type) -> set[str]:
    return {name for kind in kinds for name in dir(kind) if name[0] != "_" and callable(getattr(kind, name))}


@pytest.mark.parametrize(
    ("ours", "theirs"), [(TrackingStore, (AbstractStore, RestStore)), (RegistryStore, (AbstractRegistry, RestRegistry))]
)
def test_every_method_of_mlflows_stores_is_ours_or_refuses(ours: type, theirs: tuple[type, ...]) -> None:
    assert methods(*theirs) <= methods(ours)


@pytest.mark.parametrize(
    "method",
    [
        "start_trace",
        "search_traces",
        "delete_traces",
        "log_spans",
        "create_assessment",
        "register_scorer",
        "create_dataset",
        "link_traces_to_run",
        "create_gateway_secret",
        "create_label_schema",
    ],
)
def test_what_fivefold_does_not_have_is_not_implemented(store: TrackingStore, method: str) -> None:
    for kind in (MlflowNotImplementedException, NotImplementedError):
        with pytest.raises(kind, match=f"{method} is not supported by Fivefold") as raised:
            getattr(store, method)("x", anything=1) if method != "link_traces_to_run" else store.link_traces_to_run(
                [], ""
            )
    assert raised.value.error_code == "NOT_IMPLEMENTED"


@pytest.mark.parametrize("method", ["create_prompt", "search_prompts", "create_webhook", "list_webhooks"])
def test_prompts_and_mlflows_webhooks_are_not_implemented(models: RegistryStore, method: str) -> None:
    with pytest.raises(MlflowException, match=f"{method} is not supported by Fivefold") as raised:
        getattr(models, method)("x")
    assert raised.value.error_code == "NOT_IMPLEMENTED"


def test_a_model_that_is_a_prompt_is_refused(models: RegistryStore, name: str) -> None:
    with pytest.raises(MlflowException, match="prompts are not supported"):
        models.create_registered_model(name, [RegisteredModelTag("mlflow.prompt.is_prompt", "true")])


def test_traced_code_runs_as_ever(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)

    @mlflow.trace
    def add(a: int, b: int) -> int:
        with mlflow.start_span("inner"):
            return a + b

    with mlflow.start_run() as run:
        assert add(1, 2) == 3
    mlflow.flush_trace_async_logging()
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    with pytest.raises(MlflowException, match="not supported by Fivefold"):
        mlflow.search_traces([client.get_experiment_by_name(name).experiment_id])


def test_nobody_at_an_address_is_said_to_be_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVEFOLD_URL_TRACKING", "127.0.0.1:9")
    with pytest.raises(MlflowException, match=r"tracking does not answer at 127.0.0.1:9") as raised:
        TrackingStore(URI).get_experiment("1")
    assert raised.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert raised.value.get_http_status_code() == 503


def test_a_uri_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("fivefold://host:port", "fivefold://h:1/path"):
        with pytest.raises(MlflowException, match="must be") as raised:
            TrackingStore(uri)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_failure_is_the_same_after_pickling() -> None:
    before = translated(Unreachable("nobody", facts={"a": "b"}))
    after = pickle.loads(pickle.dumps(before))
    assert (type(after), after.message, after.error_code) == (Failure, before.message, "TEMPORARILY_UNAVAILABLE")
    assert (after.reason, after.facts) == (before.reason, {"a": "b"})
