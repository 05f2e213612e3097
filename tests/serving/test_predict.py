"""Predict: rows and keys in, outputs out, and every wrong input named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

from fivefold.data.v1 import data_pb2
from fivefold.sdk.errors import FivefoldError
from fivefold.serving.v1 import serving_pb2 as pb
from fivefold.serving.v1.serving_pb2_grpc import ServingServiceStub
from fivefold_runtime.errors import parse
from tests.serving import fitted
from tests.serving.conftest import PLANES
from tests.serving.world import Server, row


def rows(count: int = 20) -> dict[str, list[Any]]:
    given = row(0, count)
    return given | {"jet": [None if value is None else bool(value) for value in given["jet"]]}


def probability(frame: pd.DataFrame) -> Any:
    return fitted.pipeline("lightgbm pair").predict_proba(frame.astype(dict.fromkeys(fitted.TEXTS, object)))[:, 1]


def refusal(served: Server, model: str, columns: dict[str, list[Any]]) -> FivefoldError:
    with pytest.raises(FivefoldError) as raised:
        served.client.serving.predict(model, columns)
    return raised.value


@pytest.mark.parametrize(
    ("model", "name"),
    [("late", "lightgbm pair"), ("soon", "xgboost three"), ("minutes", "ridge"), ("slow", "histogram pair")],
)
def test_rows_get_the_answers_of_the_model_as_it_was_fitted(served: Server, model: str, name: str) -> None:
    answer = served.client.serving.predict(model, rows())
    wanted = fitted.expected(fitted.pipeline(name), fitted.table().head(20))
    assert answer.model_version == f"models/{model}/versions/1"
    if "prediction" in answer.outputs:
        np.testing.assert_allclose(answer.outputs["prediction"], wanted[:, 0], rtol=1e-6)
        return
    labels = ["fine", "late", "soon"][: wanted.shape[1]]
    got = answer.outputs.get("probability")
    table = np.column_stack([answer.outputs[f"probability_{one}"] for one in labels]) if got is None else np.array(got)
    np.testing.assert_allclose(table, wanted if got is None else wanted[:, 1], atol=1e-6)
    assert answer.outputs["label"] == [labels[place] for place in wanted.argmax(axis=1)]


def test_a_native_predictor_says_that_it_is_one_and_why(served: Server) -> None:
    compiled, native = served.served("models/late/versions/1"), served.served("models/slow/versions/1")
    assert compiled.predictor == "compiled lightgbm"
    assert native.predictor == "native sklearn (HistGradientBoostingClassifier has no compiled form)"


def test_keys_are_enough_for_a_model_that_was_trained_from_features(served: Server) -> None:
    asked = {"carrier": ["AA", "B6"], "jet": [True, False]}
    answer = served.client.serving.predict("late", asked, with_features=True)
    frame = PLANES.assign(jet=[1.0, 0.0])[list(fitted.table())]
    wanted = probability(frame.assign(origin=["JFK", np.nan]))
    np.testing.assert_allclose(answer.outputs["probability"], wanted, atol=1e-6)
    assert answer.features == {
        "delay": [5.0, -3.0], "seats": [100, 200], "speed": [400.0, 380.0], "origin": ["JFK", None],
    }  # fmt: skip
    assert answer.features_missing == 1


def test_values_that_the_caller_gives_override_those_that_are_looked_up(served: Server) -> None:
    asked = {"carrier": ["AA"], "jet": [True]}
    given = served.client.serving.predict("late", asked | {"delay": [500.0], "origin": [None]}, with_features=True)
    assert given.features == {"seats": [100], "speed": [400.0]}
    frame = pd.DataFrame(
        {"delay": [500.0], "seats": [100.0], "speed": [400.0], "jet": [1.0], "carrier": ["AA"], "origin": [np.nan]}
    )
    wanted = probability(frame)
    np.testing.assert_allclose(given.outputs["probability"], wanted, atol=1e-6)


def test_an_unknown_key_is_predicted_with_missing_features_and_counted(served: Server) -> None:
    answer = served.client.serving.predict("late", {"carrier": ["XX"], "jet": [None]}, with_features=True)
    assert answer.features_missing == 4
    assert answer.features["delay"] == [None] or np.isnan(answer.features["delay"][0])
    unknown = dict.fromkeys(fitted.table(), np.nan) | {"carrier": "XX"}
    wanted = probability(pd.DataFrame([unknown]))
    np.testing.assert_allclose(answer.outputs["probability"], wanted, atol=1e-6)


def test_features_are_looked_up_as_of_the_time_that_is_asked_for(served: Server) -> None:
    answer = served.client.serving.predict(
        "late", {"carrier": ["AA"], "jet": [True]}, as_of=datetime(2020, 1, 1, tzinfo=UTC), with_features=True
    )
    assert answer.features["delay"] == [5.0]


def test_a_missing_key_is_named_with_a_feature_that_needs_it(served: Server) -> None:
    refused = refusal(served, "late", {"jet": [True]})
    assert refused.reason == "LOOKUP_KEY_MISSING"
    assert refused.facts == {"column": "carrier", "feature": "delay"}


def test_an_input_that_no_look_up_gives_has_to_be_sent(served: Server) -> None:
    refused = refusal(served, "late", {"carrier": ["AA"]})
    assert (refused.reason, refused.facts["column"]) == ("INPUT_MISMATCH", "jet")


def test_a_model_that_is_not_there_is_not_served(served: Server) -> None:
    refused = refusal(served, "nobody", {"a": [1]})
    assert (refused.reason, refused.facts["model"]) == ("MODEL_NOT_SERVED", "models/nobody")


@pytest.mark.parametrize(
    ("change", "column", "came", "expected"),
    [
        ({"delay": None}, "delay", "no such column", "type double"),
        ({"delay": ["long"]}, "delay", "text", "floating point numbers"),
        ({"carrier": [7]}, "carrier", "integers", "text"),
        ({"jet": [1]}, "jet", "integers", "booleans"),
        ({"seats": [2.5]}, "seats", "2.5 in row 0", "64-bit integers"),
        ({"seats": [2**60]}, "seats", "beyond 2^53", "exactly"),
        ({"delay": [float("inf")]}, "delay", "inf in row 0", "finite"),
        ({"speed": [1e300]}, "speed", "single precision", "32-bit"),
        ({"Delay": [1.0]}, "Delay", "an unknown column", "delay"),
        ({"delay": [1.0, 2.0]}, "seats", "1 rows", "2 rows"),
    ],
)
def test_a_wrong_column_is_named_with_what_came_and_what_was_expected(
    stub: ServingServiceStub, change: dict[str, Any], column: str, came: str, expected: str
) -> None:
    given = {name: values for name, values in (rows(1) | change).items() if values is not None}
    request = pb.PredictRequest(
        model="models/minutes", columns=[message(name, values) for name, values in given.items()]
    )
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request)
    reason, facts = parse(raised.value)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (reason, facts["column"]) == ("INPUT_MISMATCH", column)
    assert came in facts["came"]
    assert expected in facts["expected"]
    assert column in raised.value.details()


def message(name: str, values: list[Any]) -> data_pb2.Column:
    """One column as its values are, without the SDK's care."""
    made = data_pb2.Column(name=name, nulls=[place for place, value in enumerate(values) if value is None])
    first = next((value for value in values if value is not None), None)
    kinds = {bool: made.bools, int: made.int64s, float: made.doubles, str: made.strings, type(None): made.doubles}
    filler = {bool: False, int: 0, float: 0.0, str: "", type(None): 0.0}[type(first)]
    kinds[type(first)].values.extend(filler if value is None else value for value in values)
    return made


def test_a_column_twice_a_null_beyond_the_end_and_no_values_are_refused(stub: ServingServiceStub) -> None:
    for columns, came in [
        ([message("delay", [1.0]), message("delay", [2.0])], "the name twice"),
        ([data_pb2.Column(name="delay", doubles={"values": [1.0]}, nulls=[3])], "row 3 named null"),
        ([data_pb2.Column(name="delay")], "no values"),
    ]:
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(pb.PredictRequest(model="models/minutes", columns=columns))
        reason, facts = parse(raised.value)
        assert (reason, facts["came"]) == ("INPUT_MISMATCH", came)


def test_no_rows_and_too_many_rows_are_refused(stub: ServingServiceStub) -> None:
    for count, reason in [(0, "INPUT_MISMATCH"), (10_001, "TOO_MANY_ITEMS")]:
        columns = [data_pb2.Column(name="delay", doubles={"values": [1.0] * count})]
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(pb.PredictRequest(model="models/minutes", columns=columns))
        assert parse(raised.value)[0] == reason


def test_ten_thousand_rows_are_answered(served: Server) -> None:
    asked = {name: values * 500 for name, values in rows().items()}
    answer = served.client.serving.predict("late", asked)
    assert len(answer.outputs["probability"]) == 10_000


def test_the_rows_that_a_version_predicted_are_counted(served: Server) -> None:
    before = served.served("models/soon/versions/1").rows_predicted
    served.client.serving.predict("soon", rows(7))
    assert served.served("models/soon/versions/1").rows_predicted == before + 7
