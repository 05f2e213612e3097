"""Finding tables and specs by name, column, tag, description and owner; and the single changes of what describes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest

from fivefold.features.v1 import features_pb2 as pb
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, lookup


@pytest.fixture
def client(start: Serve, store_url: str) -> Client:
    """A service on each database with a few tables and specs."""
    client = start(store_url=store_url)
    client.create(
        "fares", {"zone": "INT64", "Fare %": "DOUBLE"}, ["zone"], description="What a ride costs", tags={"team": "pay"}
    )
    client.create("rides", {"ride": "STRING", "zone": "INT64"}, ["ride"], owner="group:rides", tags={"team": "ops"})
    client.create("zones", {"zone": "INT64", 'na"me': "STRING"}, ["zone"], tags={"a.b c": "1", "team": "it's"})
    client.spec("cheap", lookup("fares"), lookup("rides"))
    client.spec("names", lookup("zones"), description="Only names")
    return client


def tables(client: Client, filter: str = "", order_by: str = "", size: int = 0) -> list[str]:
    found, token = [], ""
    while True:
        request = pb.ListTablesRequest(filter=filter, order_by=order_by, page_size=size, page_token=token)
        page = client.call("ListTables", request)
        found += [one.name.removeprefix("tables/") for one in page.tables]
        token = page.next_page_token
        if not token:
            return found


def specs(client: Client, filter: str = "", order_by: str = "") -> list[str]:
    answer = client.call("ListFeatureSpecs", pb.ListFeatureSpecsRequest(filter=filter, order_by=order_by))
    return [one.name.removeprefix("specs/") for one in answer.feature_specs]


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return errors.parse(caught.value)[0]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("", ["fares", "rides", "zones"]),
        ("name = 'rides'", ["rides"]),
        ("name LIKE '%e%' AND name != 'rides'", ["fares", "zones"]),
        ("description ILIKE '%RIDE%'", ["fares"]),
        ("owner = 'group:rides'", ["rides"]),
        ("owner != 'group:rides'", ["fares", "zones"]),
        ("creator = 'local'", ["fares", "rides", "zones"]),
        ("tags.team = 'pay'", ["fares"]),
        ('tags.team = "it\'s"', ["zones"]),
        ("tags.team IN ('pay', 'ops')", ["fares", "rides"]),
        ("tags.`a.b c` = '1'", ["zones"]),
        ("tags.`a.b c` IS NULL", ["fares", "rides"]),
        ("tags.`a.b c` != '2'", ["zones"]),
        ("column = 'zone'", ["fares", "rides", "zones"]),
        ("column = 'Fare %'", ["fares"]),
        ("column ILIKE 'fare \\%'", ["fares"]),
        ("column = 'na\"me'", ["zones"]),
        ("column != 'ride'", ["fares", "zones"]),
        ("NOT column = 'ride'", ["fares", "zones"]),
        ("column NOT IN ('ride', 'Fare %')", ["zones"]),
        ("NOT (column = 'ride' OR tags.team = 'pay')", ["zones"]),
        ("create_time > '2013-01-01T00:00:00Z'", ["fares", "rides", "zones"]),
        ("update_time < 1000", []),
        ("name = 'x'' OR ''1'' = ''1'", []),
    ],
)
def test_tables_are_found_by_what_the_filter_says(client: Client, filter: str, expected: list[str]) -> None:
    assert tables(client, filter) == expected
    assert tables(client, filter, size=1) == expected


def test_specs_are_found_by_table_and_feature(client: Client) -> None:
    assert specs(client, "table = 'rides'") == ["cheap"]
    assert specs(client, "table != 'rides'") == ["names"]
    assert specs(client, "column LIKE 'na%'") == ["names"]
    assert specs(client, "description = 'Only names' OR name = 'cheap'", "name DESC") == ["names", "cheap"]


def test_tables_come_in_the_order_that_is_asked_for_page_by_page(client: Client) -> None:
    assert tables(client, order_by="create_time DESC", size=2) == ["zones", "rides", "fares"]
    client.call("UpdateTable", pb.UpdateTableRequest(table=pb.Table(name="tables/fares", description="new")))
    assert tables(client, order_by="update_time DESC, name", size=1)[0] == "fares"


@pytest.mark.parametrize(
    ("filter", "order_by"), [("size = 1", ""), ("name =", ""), ("column > 'a'", ""), ("", "owner"), ("", "name, name")]
)
def test_a_filter_or_order_with_a_mistake_is_refused_and_shown(client: Client, filter: str, order_by: str) -> None:
    assert reason(lambda: tables(client, filter, order_by)) == "FILTER_INVALID"


def test_a_page_token_of_another_search_is_refused(client: Client) -> None:
    page = client.call("ListTables", pb.ListTablesRequest(page_size=1, filter="owner != 'x'"))
    again = pb.ListTablesRequest(page_size=1, page_token=page.next_page_token)
    assert reason(lambda: client.call("ListTables", again)) == "PAGE_TOKEN_INVALID"


def update(client: Client, *paths: str, **fields: Any) -> pb.Table:
    request = pb.UpdateTableRequest(table=pb.Table(name="tables/zones", **fields))
    request.update_mask.paths.extend(paths)
    return client.call("UpdateTable", request)


def test_single_tags_are_set_and_removed_and_the_others_stay(client: Client) -> None:
    assert update(client, "tags.new", tags={"new": "x"}).tags == {"a.b c": "1", "team": "it's", "new": "x"}
    assert update(client, "tags.a.b c", "tags.team", tags={"team": "all"}).tags == {"team": "all", "new": "x"}
    assert reason(lambda: update(client, "tag.x")) == "FIELD_INVALID"
    assert reason(lambda: update(client, "tags.y", tags={"y": "z" * 5001})) == "FIELD_TOO_LONG"


def test_who_makes_a_table_owns_it_until_someone_else_does(client: Client) -> None:
    assert client.table("zones").owner == "local"
    assert update(client, "owner", owner="group:maps").owner == "group:maps"
    assert tables(client, "owner = 'group:maps'") == ["zones"]


def test_a_table_says_how_old_its_newest_row_is_and_whether_that_is_too_old(start: Serve) -> None:
    client = start()
    table = pb.Table(name="tables/x", primary_keys=["k"], timestamp_key="t")
    client.create("x", {"k": "INT64", "t": "TIMESTAMP"}, ["k"], timestamp_key="t")
    table = client.table("x")
    assert not table.HasField("staleness") and not table.stale
    table.freshness.FromTimedelta(timedelta(days=1))
    request = pb.UpdateTableRequest(table=table)
    request.update_mask.paths.append("freshness")
    client.call("UpdateTable", request)
    client.write("x", pa.table({"k": [1], "t": pa.array([at(0)], MOMENT)}))
    table = client.table("x")
    assert table.stale and table.staleness.ToTimedelta() > timedelta(days=10 * 365)
    ahead = at(0) + timedelta(days=100 * 365)
    client.write("x", pa.table({"k": [1], "t": pa.array([ahead], MOMENT)}))
    assert not client.table("x").stale and client.table("x").staleness.ToTimedelta() == timedelta(0)
    client.write("x", pa.table({"k": [1], "t": pa.array([at(1)], MOMENT)}), mode="OVERWRITE")
    assert client.table("x").stale
    table.ClearField("freshness")
    request.table.CopyFrom(table)
    request.table.etag = ""
    assert not client.call("UpdateTable", request).stale
    request.table.freshness.FromTimedelta(timedelta(0))
    assert reason(lambda: client.call("UpdateTable", request)) == "FIELD_INVALID"


def test_a_table_without_time_stamps_is_as_old_as_its_last_write(start: Serve) -> None:
    client = start()
    client.create("x", {"k": "INT64"}, ["k"])
    client.write("x", pa.table({"k": [1]}))
    assert client.table("x").staleness.ToTimedelta() < timedelta(minutes=5)
