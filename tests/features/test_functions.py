"""On-demand functions: the same code and values in training sets and online, known by module, name and source hash."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fivefold
from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.__main__ import Config, build
from fivefold_features.installing import install
from fivefold_runtime import errors
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import serve
from tests.features.calling import MOMENT, Client, Serve, at, key_column, lookup, statuses, unpacked

SHOP = "tests.features.shop"
_numbers = itertools.count()


@pytest.fixture
def shop(start: Serve) -> Client:
    client = start(functions=SHOP)
    client.create("trips", {"k": "STRING", "km": "DOUBLE", "n": "INT64", "x": "DOUBLE"}, ["k"])
    rows = {"k": ["a", "b", "c"], "km": [30.0, 100.0, None], "n": [1, None, 3], "x": [0.5, 1.5, None]}
    client.write("trips", pa.table(rows))
    client.publish("trips")
    return client


def use(name: str, module: str = SHOP, **fields: Any) -> pb.FunctionUse:
    return pb.FunctionUse(module=module, name=name, **fields)


def spec(client: Client, name: str, *functions: pb.FunctionUse, **fields: Any) -> pb.FeatureSpec:
    message = pb.FeatureSpec(name=f"specs/{name}", lookups=[lookup("trips")], functions=functions, **fields)
    return client.call("CreateFeatureSpec", pb.CreateFeatureSpecRequest(feature_spec=message))


def asked(client: Client, spec: str, columns: list[data_pb2.Column]) -> pb.GetOnlineFeaturesResponse:
    request = pb.GetOnlineFeaturesRequest(spec=f"specs/{spec}", keys=columns, with_statuses=True)
    return client.call("GetOnlineFeatures", request)


def doubles(name: str, values: list[float | None]) -> data_pb2.Column:
    nulls = [row for row, value in enumerate(values) if value is None]
    return data_pb2.Column(name=name, doubles=data_pb2.DoubleValues(values=[v or 0 for v in values]), nulls=nulls)


def both(client: Client, name: str, keys: list[str | None], **inputs: list[Any]) -> dict[str, list[Any]]:
    """The features of a spec, online, after comparing them with those of a training set."""
    columns = [key_column("k", keys), *(doubles(column, values) for column, values in inputs.items())]
    online = asked(client, name, columns)
    frame = pa.table({"k": keys, "at": pa.array([at(0)] * len(keys), MOMENT)} | {
        column: pa.array(values, pa.float64()) for column, values in inputs.items()
    })  # fmt: skip
    trained = client.rows(client.train(name, frame, "at", exclude_columns=["k", "at", *inputs]))
    found = unpacked(online)
    assert found == trained.to_pydict()
    return found


def test_functions_are_listed_with_types_hash_and_description_page_by_page(shop: Client) -> None:
    listed = shop.call("ListFunctions", pb.ListFunctionsRequest()).functions
    assert [one.name for one in listed] == ["greedy", "of_all", "picky", "rated", "speed", "total"]
    (speed,) = (one for one in listed if one.name == "speed")
    assert speed.module == SHOP and speed.description == "Kilometres in an hour." and len(speed.source_hash) == 64
    assert [column.name for column in speed.parameters] == ["km", "minutes"]
    assert [(column.name, column.type) for column in speed.results] == [("speed", data_pb2.DATA_TYPE_DOUBLE)]
    names, token = [], ""
    while True:
        page = shop.call("ListFunctions", pb.ListFunctionsRequest(page_size=4, page_token=token))
        names += [one.name for one in page.functions]
        token = page.next_page_token
        if not token:
            break
    assert names == [one.name for one in listed]


def test_a_spec_says_what_its_functions_need_and_make(shop: Client) -> None:
    made = spec(shop, "s", use("speed"), use("rated", renames={"class": "pace"}))
    assert [column.name for column in made.features] == ["km", "n", "x", "speed", "fast", "pace"]
    assert [(one.name, one.type) for one in made.inputs] == [("minutes", data_pb2.DATA_TYPE_DOUBLE)]
    assert made.functions[0].inputs == {"km": "km", "minutes": "minutes"} and len(made.functions[0].source_hash) == 64
    assert shop.call("GetFeatureSpec", pb.GetFeatureSpecRequest(name="specs/s")) == made
    assert spec(shop, "s", use("speed"), use("rated", renames={"class": "pace"})) == made
    with pytest.raises(grpc.RpcError) as caught:
        spec(shop, "s", use("speed"))
    assert errors.parse(caught.value)[0] == "RESOURCE_EXISTS"


def test_functions_make_the_same_online_and_in_training(shop: Client) -> None:
    spec(shop, "s", use("speed"), use("rated", renames={"class": "pace"}), use("total"))
    found = both(shop, "s", ["a", "b", "c", "nobody", None, "a"], minutes=[60.0, 60.0, 60.0, 60.0, 60.0, None])
    assert found["speed"] == [30.0, 100.0, None, None, None, None]
    assert found["fast"] == [False, True, None, None, None, None]
    assert found["pace"] == ["slow", "fast", None, None, None, None]
    assert found["total"] == [1.5, 1.5, 3.0, 0.0, 0.0, 1.5]


def test_results_have_statuses_of_their_own_and_no_event_time(shop: Client) -> None:
    spec(shop, "s", use("speed"))
    answer = asked(shop, "s", [key_column("k", ["a", "b"]), doubles("minutes", [1.0, None])])
    assert statuses(answer)[3] == ["PRESENT", "NULL"]
    request = pb.GetOnlineFeaturesRequest(
        spec="specs/s", keys=[key_column("k", ["a", "b"]), doubles("minutes", [1.0, 2.0])], with_event_times=True
    )
    assert np.frombuffer(shop.call("GetOnlineFeatures", request).event_times, "<i8").tolist() == [0] * 8


def test_defaults_stand_in_before_functions_run(shop: Client) -> None:
    message = pb.FeatureSpec(
        name="specs/d", lookups=[lookup("trips", ["km"], defaults={"km": "120"})], functions=[use("speed")]
    )
    shop.call("CreateFeatureSpec", pb.CreateFeatureSpecRequest(feature_spec=message))
    assert both(shop, "d", ["a", "c", "nobody"], minutes=[60.0, 60.0, 60.0])["speed"] == [30.0, 120.0, 120.0]


KINDS = {"b": pa.bool_(), "i": pa.int32(), "f": pa.float32(), "s": pa.string(), "y": pa.binary(), "t": MOMENT,
         "d": pa.date32()}  # fmt: skip
VALUES = {
    "b": st.booleans(),
    "i": st.integers(-10, 10),
    "f": st.floats(width=32, allow_nan=False),
    "s": st.text(st.characters(codec="utf-8"), max_size=4) | st.just("none"),
    "y": st.binary(max_size=4),
    "t": st.sampled_from([at(0), at(1), at(2.5)]),
    "d": st.dates(),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({name: st.none() | of for name, of in VALUES.items()}), max_size=5))
def test_every_type_goes_in_and_out_alike_online_and_in_training(typed: Client, rows: list[dict[str, Any]]) -> None:
    name = f"table{next(_numbers)}"
    kinds = {"b": "BOOL", "i": "INT32", "f": "FLOAT", "s": "STRING", "y": "BYTES", "t": "TIMESTAMP", "d": "DATE"}
    typed.create(name, {"k": "STRING", **kinds}, ["k"])
    rows = [*rows, dict.fromkeys(KINDS)]
    keys = [str(number) for number in range(len(rows))]
    columns = {column: pa.array([row[column] for row in rows], of) for column, of in KINDS.items()}
    typed.write(name, pa.table({"k": keys} | columns))
    typed.publish(name)
    message = pb.FeatureSpec(name=f"specs/{name}", lookups=[lookup(name)], functions=[use("of_all")])
    typed.call("CreateFeatureSpec", pb.CreateFeatureSpecRequest(feature_spec=message))
    keys.append("nobody")
    frame = pa.table({"k": keys, "at": pa.array([at(9)] * len(keys), MOMENT)})
    trained = typed.rows(typed.train(name, frame, "at", exclude_columns=["k", "at"]))
    online = unpacked(typed.online(name, {"k": keys}, with_statuses=True))
    for column, of in ((one.name, one.type) for one in trained.schema):
        values = trained.column(column)
        plain = values.cast(pa.int64()) if of == MOMENT else values.cast(pa.int32()) if of == pa.date32() else values
        assert online[column] == plain.to_pylist()


@pytest.fixture
def typed(start: Serve) -> Client:
    return start(functions=SHOP)


@pytest.mark.parametrize(
    ("function", "reason", "words"),
    [
        (use("nothing"), "FUNCTION_UNKNOWN", "is not installed"),
        (use("speed", "os"), "FUNCTION_UNKNOWN", "is not installed"),
        (use("speed", source_hash="0" * 64), "FUNCTION_UNKNOWN", "but the spec needs 000000000000…"),
        (use("speed", inputs={"kilometres": "km"}), "SCHEMA_MISMATCH", "no parameter 'kilometres'"),
        (use("speed", renames={"pace": "p"}), "SCHEMA_MISMATCH", "no result 'pace'"),
        (use("speed", inputs={"km": "k"}), "SCHEMA_MISMATCH", "'k' is STRING"),
        (use("speed", renames={"speed": "km"}), "SCHEMA_MISMATCH", "occurs twice"),
    ],
)
def test_a_spec_with_a_function_that_cannot_be_is_refused(
    shop: Client, function: pb.FunctionUse, reason: str, words: str
) -> None:
    with pytest.raises(grpc.RpcError, match=words) as caught:
        spec(shop, "s", function)
    assert errors.parse(caught.value)[0] == reason


def test_a_function_cannot_take_what_a_later_one_makes(shop: Client) -> None:
    with pytest.raises(grpc.RpcError, match="before another makes it"):
        spec(shop, "s", use("rated"), use("speed"))


def test_a_request_that_lacks_an_input_or_sends_another_type_is_refused(shop: Client) -> None:
    spec(shop, "s", use("speed"))
    keys = key_column("k", ["a"])
    for columns, reason in (
        ([keys], "LOOKUP_KEY_MISSING"),
        ([keys, key_column("minutes", ["long"])], "FIELD_INVALID"),
        ([keys, doubles("minutes", [1.0, 2.0])], "FIELD_INVALID"),
    ):
        with pytest.raises(grpc.RpcError, match="minutes") as caught:
            asked(shop, "s", columns)
        assert errors.parse(caught.value)[0] == reason
    with pytest.raises(grpc.RpcError) as caught:
        shop.train("s", pa.table({"k": ["a"], "at": pa.array([at(0)], MOMENT)}), "at")
    assert errors.parse(caught.value)[0] == "LOOKUP_KEY_MISSING"


@pytest.mark.parametrize(
    ("n", "words"),
    [(101, "n must be at most 100"), (7, r"shape \(0,\)"), (8, "type float64"), (9, "returned 2"), (10, "shape")],
)
def test_a_function_that_refuses_or_returns_something_else_fails_the_call(start: Serve, n: int, words: str) -> None:
    client = start(functions=SHOP)
    client.create("trips", {"k": "STRING", "n": "INT64"}, ["k"])
    client.write("trips", pa.table({"k": ["a"], "n": [n]}))
    client.publish("trips")
    spec(client, "s", use("picky"))
    frame = pa.table({"k": ["a"], "at": pa.array([at(0)], MOMENT)})
    for call in (lambda: client.online("s", {"k": ["a"]}), lambda: client.train("s", frame, "at")):
        with pytest.raises(grpc.RpcError, match=words) as caught:
            call()
        assert errors.parse(caught.value)[0] == "FUNCTION_FAILED"


def test_a_function_cannot_change_what_it_gets(shop: Client) -> None:
    spec(shop, "s", use("greedy"))
    with pytest.raises(grpc.RpcError, match="read-only"):
        shop.online("s", {"k": ["a"]})


MODULE = """
import fivefold

FACTOR = {factor}


def scaled(x):
    return x * FACTOR


@fivefold.on_demand(takes={{"x": "double"}}, gives={{"y": "double"}})
def scale(x):
    return scaled(x)


def unrelated():
    return {unrelated}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "operators.py"
    sys.modules.pop("operators", None)


def installed(package: Path, source: str) -> None:
    package.write_text(source)
    sys.modules.pop("operators", None)


def test_a_spec_whose_function_changed_is_refused_until_its_source_is_back(package: Path, tmp_path: Path) -> None:
    config = Config(data=str(tmp_path / "data"), functions="operators")
    frame = pa.table({"k": ["a"], "at": pa.array([at(0)], MOMENT)})
    installed(package, MODULE.format(factor=2, unrelated=1))
    with serve(build, config) as running:
        client = Client(running)
        client.create("trips", {"k": "STRING", "x": "DOUBLE"}, ["k"])
        client.write("trips", pa.table({"k": ["a"], "x": [1.5]}))
        client.publish("trips")
        spec(client, "s", use("scale", "operators"))
        made = client.train("s", frame, "at")
        assert unpacked(client.online("s", {"k": ["a"]}))["y"] == [3.0]
    verify = pb.VerifyTrainingSetRequest(name=made.name)

    installed(package, MODULE.format(factor=3, unrelated=1))
    with serve(build, config) as running:
        client = Client(running)
        for call in (lambda: client.online("s", {"k": ["a"]}), lambda: client.train("s", frame, "at")):
            with pytest.raises(grpc.RpcError, match="install that source, or make a spec for the new one") as caught:
                call()
            assert errors.parse(caught.value)[0] == "FUNCTION_UNKNOWN"
        verified = client.call("VerifyTrainingSet", verify)
        assert not verified.verified and "operators.scale" in verified.differences[0].message

    installed(package, MODULE.format(factor=2, unrelated=2))
    with serve(build, config) as running:
        client = Client(running)
        assert unpacked(client.online("s", {"k": ["a"]}))["y"] == [3.0], "what it does not refer to does not count"
        assert client.call("VerifyTrainingSet", verify).verified


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "no function marked"),
        ("import nothing_like_this", "cannot be used"),
        ("import fivefold\n@fivefold.on_demand(takes={'a': 'double'}, gives={'b': 'double'})\ndef f(x): ...", "cannot"),
        ("import fivefold\n@fivefold.on_demand(takes={'x': 'number'}, gives={'b': 'double'})\ndef f(x): ...", "cannot"),
        ("import fivefold\n@fivefold.on_demand(takes={'x': 'double'}, gives={})\ndef f(x): ...", "cannot be used"),
    ],
)
def test_a_module_that_cannot_be_used_stops_the_start(package: Path, source: str, words: str) -> None:
    installed(package, source)
    with pytest.raises(StartError, match=words):
        install("operators")


def test_called_by_hand_a_function_is_a_function() -> None:
    from tests.features.shop import speed

    assert speed(np.array([30.0]), np.array([60.0])).tolist() == [30.0]
    with pytest.raises(fivefold.InvalidArgument, match="has the parameters"):
        fivefold.on_demand(takes={}, gives={"x": "double"})(speed)


def test_the_sdk_names_functions_sends_their_inputs_and_reads_event_times(
    shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIVEFOLD_URL_FEATURES", shop.running.address)
    features = fivefold.connect().features
    features.create_spec("s", [fivefold.Lookup("trips", ["km"])], functions=[f"{SHOP}.speed"])
    found = features.get("s", {"k": ["a", "b"], "minutes": [60.0, 30.0]}, with_event_times=True)
    assert found.columns["speed"].tolist() == [30.0, 200.0] and found.present["speed"].all()
    assert np.isnat(found.event_times["km"]).all(), "the table has no time stamps"
    with pytest.raises(fivefold.InvalidArgument, match="with_event_times"):
        _ = features.get("s", {"k": ["a"], "minutes": [1.0]}).event_times
