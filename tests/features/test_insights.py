"""Profiles against plain Python, and lineage as each caller may see it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.features.v1 import features_pb2 as pb
from fivefold.permissions.v1 import permissions_pb2
from fivefold.permissions.v1.permissions_pb2_grpc import PermissionsServiceStub
from fivefold_features import profiling
from fivefold_features.__main__ import Config, build
from fivefold_features.frames import POLARS
from fivefold_features.lookups import parse
from fivefold_features.profiling import of_column, text_of
from fivefold_features.schema import Column, Kind
from fivefold_runtime import errors
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import serve
from tests.features.calling import MOMENT, Client, at, kind, lookup, pieces
from tests.features.calling import ipc as stream

pl = profiling.pl


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return errors.parse(caught.value)[0]


VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BOOL: st.booleans(),
    Kind.INT64: st.integers(-5, 5) | st.sampled_from([2**30, -(2**30)]),
    Kind.DOUBLE: st.sampled_from([0.5, -1.5, 2.25, 1e6, math.nan]),
    Kind.STRING: st.sampled_from(["a", "ü", "", "b" * 300]),
    Kind.BYTES: st.sampled_from([b"", b"\xff", b"ab"]),
    Kind.TIMESTAMP: st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)),
    Kind.DATE: st.dates(date(1950, 1, 1), date(2050, 1, 1)),
}


@pytest.mark.parametrize("of", list(VALUES))
def test_a_profile_is_what_plain_python_counts(of: Kind) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.none() | VALUES[of], max_size=20))
    def compare(values: list[Any]) -> None:
        found = of_column(Column("c", of), pl.Series("c", values, dtype=POLARS[of]), 3)
        there = [value for value in values if value is not None]
        real = [value for value in there if not (isinstance(value, float) and math.isnan(value))]
        assert (found.nulls, found.nans) == (values.count(None), len(there) - len(real))
        assert found.distinct == len(set(real))
        assert found.minimum == (text_of(min(real), of) if real else "")
        assert found.maximum == (text_of(max(real), of) if real else "")
        counted = sorted(Counter(real).items(), key=lambda one: (-one[1], one[0]))[:3]
        assert list(found.top_values) == [(text_of(value, of), count) for value, count in counted]
        if of in (Kind.INT64, Kind.DOUBLE) and real:
            assert found.mean == pytest.approx(statistics.fmean(real), rel=1e-12, abs=1e-9)
            assert found.quantiles[3] == pytest.approx(statistics.median(real))
            if len(real) > 1:
                assert found.standard_deviation == pytest.approx(statistics.stdev(real), rel=1e-9, abs=1e-9)

    compare()


@pytest.mark.parametrize("of", list(VALUES))
def test_a_value_as_text_is_read_back_as_a_default(of: Kind) -> None:
    plain = {Kind.TIMESTAMP: lambda v: (v - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)}
    plain[Kind.DATE] = lambda v: (v - date(1970, 1, 1)).days

    @settings(max_examples=50, deadline=None)
    @given(VALUES[of].filter(lambda value: value == value and not (isinstance(value, str) and len(value) > 256)))
    def compare(value: Any) -> None:
        assert parse(text_of(value, of), of, "x") == plain.get(of, lambda v: v)(value)

    compare()


def test_a_version_is_profiled_without_the_rows_that_were_replaced(client: Client) -> None:
    client.create("x", {"k": "INT64", "t": "TIMESTAMP", "v": "DOUBLE"}, ["k"], timestamp_key="t")
    assert reason(lambda: client.profile("x")) == "NOT_PUBLISHED"
    times = pa.array([at(1), at(2), at(1)], MOMENT)
    client.write("x", pa.table({"k": [1, 1, 2], "t": times, "v": [1.0, 2.0, 3.0]}))
    client.write("x", pa.table({"k": [2], "t": pa.array([at(1)], MOMENT), "v": [None]}, schema=None))
    found = client.profile("x", columns=["v"])
    assert (found.table_version, found.rows, found.keys) == ("tables/x/versions/2", 3, 2)
    (column,) = found.columns
    assert (column.name, column.nulls, column.distinct, column.mean) == ("v", 1, 2, 1.5)
    assert client.profile("x", 1, ["v"]).columns[0].nulls == 0
    client.compact("x")
    assert client.profile("x", columns=["v"]) == found
    assert reason(lambda: client.profile("x", columns=["none"])) == "SCHEMA_MISMATCH"
    assert reason(lambda: client.profile("x", 9)) == "RESOURCE_NOT_FOUND"
    assert len(client.profile("x", top=1).columns[0].top_values) == 1
    table = client.table("x")
    table.columns.add(name="late", type=kind("STRING"))
    client.call("UpdateTable", pb.UpdateTableRequest(table=table))
    late = client.profile("x", columns=["late"]).columns[0]
    assert (late.nulls, late.distinct, late.minimum) == (3, 0, "")


class World:
    """`mia` owns a table, `ted` trains on it, and what was made from both is recorded."""

    def __init__(self, channel: Any, client: Callable[[str], Client]) -> None:
        self.mia, self.ted, self.eve, self.root = (client(name) for name in ("mia", "ted", "eve", "root"))
        mia, ted = self.mia, self.ted
        mia.create("base", {"k": "INT64", "v": "INT64"}, ["k"])
        header = pb.WriteTableRequest.Header(table="tables/base", mode=pb.WRITE_MODE_MERGE, producer="runs/etl")
        data = [pb.WriteTableRequest(arrow=one) for one in pieces(stream(pa.table({"k": [1], "v": [2]})))]
        mia.call("WriteTable", iter([pb.WriteTableRequest(header=header), *data]))
        self.share(mia, channel, "tables/base", ("mia", "CAN_MANAGE"), ("ted", "CAN_READ"), ("eve", "CAN_READ"))
        ted.spec("churn", lookup("base"))
        frame = pa.table({"k": [1], "at": pa.array([at(1)], MOMENT)})
        self.set = ted.train("churn", frame, "at").name
        ted.consume(self.set, "models/churn/versions/1")
        ted.consume("specs/churn", "endpoints/churn")
        mia.consume("tables/base/versions/1", "runs/ab")

    def share(self, client: Client, channel: Any, resource: str, *levels: tuple[str, str]) -> None:
        granted = [
            permissions_pb2.Grant(principal=who, level=permissions_pb2.Level.Value(f"LEVEL_{level}"))
            for who, level in levels
        ]
        permissions = permissions_pb2.Permissions(resource=resource, grants=granted)
        PermissionsServiceStub(channel).SetPermissions(
            permissions_pb2.SetPermissionsRequest(permissions=permissions), metadata=client._metadata
        )


@pytest.fixture
def world(tmp_path: Path, store_url: str) -> Iterator[World]:
    keys = tmp_path / "keys"
    config = Config(
        data=str(tmp_path / "data"), store_url=store_url, auth="jwt", jwt_keys=str(make_key(keys)), admins="root"
    )
    with serve(build, config) as running:

        def client(subject: str) -> Client:
            return Client(running, sign_token(keys, subject, [], lifetime=timedelta(hours=1)))

        yield World(running.channel, client)


def edges(found: Any) -> set[tuple[str, str]]:
    return {(one.source, one.target) for one in found}


def test_an_administrator_walks_from_a_table_to_models_and_endpoints_and_back(world: World) -> None:
    version = "tables/base/versions/1"
    down = world.root.lineage("tables/base")
    assert edges(down.downstream) == {
        ("tables/base", "specs/churn"),
        ("specs/churn", world.set),
        (version, world.set),
        (world.set, "models/churn/versions/1"),
        ("specs/churn", "endpoints/churn"),
        (version, "runs/ab"),
    }
    assert edges(down.upstream) == {("runs/etl", version)}
    up = world.root.lineage("models/churn/versions/1")
    assert edges(up.upstream) == {
        (world.set, "models/churn/versions/1"),
        ("specs/churn", world.set),
        ("tables/base", "specs/churn"),
        (version, world.set),
        ("runs/etl", version),
    }
    assert not up.downstream
    few = world.root.lineage("tables/base", 2)
    assert len(few.downstream) == 2 and few.truncated and not down.truncated


def test_who_changes_a_table_sees_what_depends_on_it_but_not_the_names_of_what_may_not_be_read(world: World) -> None:
    found = edges(world.mia.lineage("tables/base").downstream)
    assert {target for _, target in found} == {"models/churn/versions/1", "endpoints/churn", "runs/ab"}
    assert all(source.startswith("tables/base") for source, _ in found)


def test_a_mere_reader_sees_no_consumers_of_others(world: World) -> None:
    found = world.eve.lineage("tables/base")
    assert not found.downstream and edges(found.upstream) == {("runs/etl", "tables/base/versions/1")}
    assert reason(lambda: world.eve.lineage("models/churn/versions/1")) == "RESOURCE_NOT_FOUND"
    assert reason(lambda: world.eve.lineage(world.set)) == "RESOURCE_NOT_FOUND"
    nothing = "models/none/versions/1"
    messages = []
    for name in (nothing, "models/churn/versions/1"):
        with pytest.raises(grpc.RpcError) as caught:
            world.eve.lineage(name)
        messages.append((caught.value.details() or "").replace(name, "X"))
    assert messages[0] == messages[1]


def test_who_recorded_a_consumer_sees_it(world: World) -> None:
    assert edges(world.ted.lineage("tables/base").downstream) >= {
        ("tables/base", "specs/churn"),
        (world.set, "models/churn/versions/1"),
    }
    assert ("tables/base/versions/1", "runs/ab") not in edges(world.ted.lineage("tables/base").downstream)


def test_recording_again_changes_nothing_and_a_deleted_source_takes_its_records_along(world: World) -> None:
    before = world.root.lineage(world.set)
    world.ted.consume(world.set, "models/churn/versions/1")
    assert world.root.lineage(world.set) == before
    world.ted.call("DeleteTrainingSet", pb.DeleteTrainingSetRequest(name=world.set))
    assert reason(lambda: world.root.lineage("models/churn/versions/1")) == "RESOURCE_NOT_FOUND"


HOSTILE = [
    "tables/../specs/churn",
    "tables/base/versions/0",
    "tables/base/versions/1/..",
    "tables/base/versions/99999999999999999999",
    "tables/BASE",
    "tables/base%2e%2e",
    "specs/a'b",
    "trainingSets/..",
    "file:///etc/passwd",
    "runs/../x",
    "models/a/versions/1;x",
    "endpoints/a#b",
    "tables\\base",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_no_documented_form_are_refused_as_sources_consumers_and_in_lineage(world: World, name: str) -> None:
    for call in (
        lambda: world.root.consume(name, "runs/ab"),
        lambda: world.root.consume("tables/base", name),
        lambda: world.root.lineage(name),
    ):
        assert reason(call) == "NAME_INVALID"


def test_a_source_that_does_not_exist_has_no_consumers(world: World) -> None:
    for source in ("tables/none", "tables/base/versions/2", "specs/none", f"trainingSets/{'0' * 32}"):
        assert reason(lambda source=source: world.root.consume(source, "runs/ab")) == "RESOURCE_NOT_FOUND"
        assert reason(lambda source=source: world.root.lineage(source)) == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    "bad", ["..", "../x", "a%2e%2e", "A", "a/b", "a\\b", "a;b", "a?b", "a#b", "ａ", "x" * 129, "c:"]
)
def test_no_call_takes_a_table_spec_or_training_set_of_another_form(client: Client, bad: str) -> None:
    calls: list[tuple[str, Any]] = [
        ("CompactTable", pb.CompactTableRequest(name=f"tables/{bad}")),
        ("VacuumTable", pb.VacuumTableRequest(name=f"tables/{bad}")),
        ("ProfileTable", pb.ProfileTableRequest(name=f"tables/{bad}")),
        ("DeleteFeatureSpec", pb.DeleteFeatureSpecRequest(name=f"specs/{bad}")),
        ("VerifyTrainingSet", pb.VerifyTrainingSetRequest(name=f"trainingSets/{bad}")),
        ("DeleteTrainingSet", pb.DeleteTrainingSetRequest(name=f"trainingSets/{bad}")),
        ("GetLineage", pb.GetLineageRequest(name=f"tables/{bad}")),
        ("RecordConsumer", pb.RecordConsumerRequest(source=f"specs/{bad}", consumer="runs/a")),
    ]
    for method, request in calls:
        assert reason(lambda method=method, request=request: client.call(method, request)) in (
            "NAME_INVALID",
            "FIELD_TOO_LONG",
        ), method
