"""The contracts of logged models and datasets on SQLite, on PostgreSQL and through gRPC; what only calls can get wrong."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import event

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_tracking.logged import SEARCHED
from fivefold_tracking.store.model_records import LoggedModelQuery
from fivefold_tracking.store.sql import Store
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking
from tests.tracking.client_models import ClientModelStores
from tests.tracking.contract_logged_models import DatasetContract, LoggedModelContract, LoggedModelSearchContract
from tests.tracking.test_stores import Postgres, Sqlite


class ThroughGrpc:
    @pytest.fixture
    def stores(self, tracking: Tracking) -> ClientModelStores:
        return ClientModelStores(tracking)


class TestLoggedModelsOnSqlite(Sqlite, LoggedModelContract): ...


class TestLoggedModelsOnPostgres(Postgres, LoggedModelContract): ...


class TestLoggedModelsThroughGrpc(ThroughGrpc, LoggedModelContract): ...


class TestSearchOnSqlite(Sqlite, LoggedModelSearchContract): ...


class TestSearchOnPostgres(Postgres, LoggedModelSearchContract): ...


class TestSearchThroughGrpc(ThroughGrpc, LoggedModelSearchContract): ...


class TestDatasetsOnSqlite(Sqlite, DatasetContract): ...


class TestDatasetsOnPostgres(Postgres, DatasetContract): ...


class TestDatasetsThroughGrpc(ThroughGrpc, DatasetContract): ...


@pytest.fixture
def experiment(tracking: Tracking) -> str:
    return tracking.experiment().name


def create(tracking: Tracking, experiment: str, request_id: str = "", **fields) -> pb.LoggedModel:
    asked = pb.LoggedModel(experiment=experiment, **fields)
    request = pb.CreateLoggedModelRequest(logged_model=asked, request_id=request_id)
    return tracking.stub.CreateLoggedModel(request)


def test_a_model_without_a_name_gets_a_readable_one_and_is_pending(tracking: Tracking, experiment: str) -> None:
    made = create(tracking, experiment)

    assert made.display_name.count("-") == 2
    assert made.status == pb.LOGGED_MODEL_STATUS_PENDING


@pytest.mark.parametrize("char", list("/:.%\"'"))
def test_a_display_name_keeps_clear_of_what_clients_put_it_between(
    tracking: Tracking, experiment: str, char: str
) -> None:
    with refused("NAME_INVALID"):
        create(tracking, experiment, display_name=f"a{char}b")
    made = create(tracking, experiment)
    with refused("NAME_INVALID"):
        tracking.stub.UpdateLoggedModel(
            pb.UpdateLoggedModelRequest(logged_model=pb.LoggedModel(name=made.name, display_name=f"a{char}b"))
        )


@pytest.mark.parametrize("key", ["", "a//b", "../a", "a;b", "a\nb", "/a"])
def test_a_key_that_is_not_allowed_is_refused_everywhere(tracking: Tracking, experiment: str, key: str) -> None:
    made = create(tracking, experiment)
    for field in ("params", "tags"):
        with refused("NAME_INVALID"):
            create(tracking, experiment, **{field: {key: "1"}})
        with refused("NAME_INVALID"):
            tracking.stub.UpdateLoggedModel(
                pb.UpdateLoggedModelRequest(logged_model=pb.LoggedModel(name=made.name, **{field: {key: "1"}}))
            )


def test_an_update_without_a_mask_changes_what_is_set(tracking: Tracking, experiment: str) -> None:
    made = create(tracking, experiment, display_name="one", tags={"a": "1"})
    asked = pb.LoggedModel(
        name=made.name, status=pb.LOGGED_MODEL_STATUS_FAILED, status_message="why", params={"p": "1"}
    )

    changed = tracking.stub.UpdateLoggedModel(pb.UpdateLoggedModelRequest(logged_model=asked))

    assert (changed.status, changed.status_message) == (pb.LOGGED_MODEL_STATUS_FAILED, "why")
    assert (changed.display_name, dict(changed.tags), dict(changed.params)) == ("one", {"a": "1"}, {"p": "1"})


def test_a_new_status_takes_the_old_message_away(tracking: Tracking, experiment: str) -> None:
    made = create(tracking, experiment, status=pb.LOGGED_MODEL_STATUS_FAILED, status_message="why")
    asked = pb.LoggedModel(name=made.name, status=pb.LOGGED_MODEL_STATUS_READY)

    changed = tracking.stub.UpdateLoggedModel(
        pb.UpdateLoggedModelRequest(logged_model=asked, update_mask=FieldMask(paths=["status"]))
    )

    assert (changed.status, changed.status_message) == (pb.LOGGED_MODEL_STATUS_READY, "")


@pytest.mark.parametrize("path", ["experiment", "model_type", "source_run", "metrics", "name", "nothing", "params.a"])
def test_a_mask_that_names_something_else_is_refused(tracking: Tracking, experiment: str, path: str) -> None:
    made = create(tracking, experiment)

    with refused("FIELD_INVALID"):
        tracking.stub.UpdateLoggedModel(
            pb.UpdateLoggedModelRequest(
                logged_model=pb.LoggedModel(name=made.name), update_mask=FieldMask(paths=[path])
            )
        )


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("filter", "metrics.auc >"),
        ("filter", "nothing.a = 1"),
        ("filter", "status = 3"),
        ("filter", "datasets.name = 'a'"),
        ("filter", "name = 'a' AND"),
        ("order_by", "params.a"),
        ("order_by", "tags.a"),
        ("order_by", "name sideways"),
        ("order_by", "name, name desc"),
    ],
)
def test_a_filter_or_order_with_a_mistake_is_refused_with_its_place(
    tracking: Tracking, experiment: str, field: str, text: str
) -> None:
    with refused("FILTER_INVALID") as refusal:
        tracking.stub.SearchLoggedModels(pb.SearchLoggedModelsRequest(experiments=[experiment], **{field: text}))
    assert refusal.facts["field"] == field


@pytest.mark.parametrize(
    "text", ["name = 'a'' OR 1=1 --'", "name LIKE '%_[*?'", "params.`a'b` = 'x'", "name = '\u2028'"]
)
def test_texts_of_filters_stay_texts(tracking: Tracking, experiment: str, text: str) -> None:
    create(tracking, experiment, display_name="one")

    try:
        found = tracking.stub.SearchLoggedModels(pb.SearchLoggedModelsRequest(experiments=[experiment], filter=text))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert len(found.logged_models) == 0


def test_a_page_token_of_another_search_or_made_up_is_refused(tracking: Tracking, experiment: str) -> None:
    for place in range(3):
        create(tracking, experiment, display_name=str(place))

    def search(**more):
        return tracking.stub.SearchLoggedModels(
            pb.SearchLoggedModelsRequest(experiments=[experiment], page_size=1, **more)
        )

    token = search(order_by="metrics.auc").next_page_token
    assert len(search(order_by="metrics.auc", page_token=token).logged_models) == 1
    for more in ({"order_by": "name"}, {"order_by": "metrics.auc", "filter": "name = '1'"}, {}):
        with refused("PAGE_TOKEN_INVALID"):
            search(page_token=token, **more)
    with refused("PAGE_TOKEN_INVALID"):
        search(page_token="abc")


def test_a_creation_with_a_request_id_happens_once(tracking: Tracking, experiment: str) -> None:
    answers = {create(tracking, experiment, "1").name for _ in range(5)}

    assert len(answers) == 1
    with refused("REQUEST_ID_REUSED"):
        create(tracking, experiment, "1", display_name="other")


@pytest.mark.parametrize(
    "id", ["", "..", "m-1", "0" * 32, "m-" + "A" * 32, "m-" + "0" * 32 + "/x", "%2e%2e", "m-\u2025"]
)
def test_a_name_that_is_no_models_is_refused_everywhere(tracking: Tracking, experiment: str, id: str) -> None:
    stub, run, name = tracking.stub, tracking.run(experiment).name, f"logged_models/{id}"
    for call in (
        lambda: stub.GetLoggedModel(pb.GetLoggedModelRequest(name=name)),
        lambda: stub.DeleteLoggedModel(pb.DeleteLoggedModelRequest(name=name)),
        lambda: stub.UpdateLoggedModel(
            pb.UpdateLoggedModelRequest(logged_model=pb.LoggedModel(name=name, display_name="x"))
        ),
        lambda: stub.LogInputs(pb.LogInputsRequest(run=run, models=[name])),
        lambda: stub.LogOutputs(pb.LogOutputsRequest(run=run, outputs=[pb.ModelOutput(logged_model=name)])),
        lambda: tracking.log(run, [pb.Metric(key="a", value=1.0, logged_model=name)]),
    ):
        with refused("NAME_INVALID") as refusal:
            call()
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT


def test_inputs_are_recorded_all_or_none(tracking: Tracking, experiment: str) -> None:
    run = tracking.run(experiment).name
    inputs = [pb.DatasetInput(dataset="d", digest="1")]

    with refused("RESOURCE_NOT_FOUND"):
        tracking.stub.LogInputs(pb.LogInputsRequest(run=run, inputs=inputs, models=["logged_models/m-" + "0" * 32]))

    assert not tracking.get(run).inputs


@pytest.mark.parametrize(("text", "order"), [("", "metrics.auc desc"), ("metrics.auc > 0.5", ""), ("", "")])
def test_a_search_looks_up_the_metrics_of_each_model_and_reads_no_others(
    sqlite_store: Store, text: str, order: str
) -> None:
    number = sqlite_store.experiments.create("a", {}, 1).number
    engine = sqlite_store.logged_models._database.engine  # type: ignore[attr-defined]
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "LIMIT" in statement:
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    query = LoggedModelQuery((number,), filter=SEARCHED.parse(text), order=SEARCHED.parse_order(order))
    sqlite_store.logged_models.search(query, None, 10)

    assert any("SEARCH logged_models USING INDEX logged_models_by_creation" in step for step in plans), plans
    read = [step for step in plans if "logged_model_metrics" in step]
    assert all(step.startswith("SEARCH") and "model=? AND key=?" in step for step in read), plans
    assert bool(read) == bool(text or order)
