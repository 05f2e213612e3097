"""Searches find what they say, in every order and page by page, on both databases; and no text makes them break."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName
from fivefold_registry.store.records import Lineage, ModelChange, VersionDraft
from fivefold_registry.store.tables import versions as versions_table
from fivefold_runtime import errors
from fivefold_runtime.sql import Database
from tests.registry.client import Registry
from tests.registry.drivers import StoreDriver, pages
from tests.runtime.asserting import refused

RUNS = [f"{digit * 32}" for digit in "ab"]
ODD = "a.b \"c\" 'd' \\ $[0] % ü 😀 `"


@pytest.fixture
def filled(database: Database) -> StoreDriver:
    """Three models and six versions; see the tests for what is in them."""
    registry = StoreDriver(database)
    for id, tags in (("alpha", {"team": "red"}), ("Alpha", {"team": "Blue", ODD: "x_y%z"}), ("beta", {})):
        registry.store.models.create(id, ModelChange(tags=tags), "local")
    for id, run, tags, stage in (
        ("alpha", 0, {"k": "1"}, None),
        ("alpha", 1, {"k": "2", ODD: "v"}, Stage.PRODUCTION),
        ("alpha", 0, {}, Stage.ARCHIVED),
        ("beta", 1, {"k": "1"}, Stage.STAGING),
        ("beta", None, {}, None),
    ):
        named = f"runs/{RUNS[run]}" if run is not None else ""
        draft = VersionDraft(
            source=f"{named}/artifacts/m" if named else "",
            external_uri="" if named else "s3://bucket/m",
            tags=tags,
            lineage=Lineage(run=named),
        )
        reserved = registry.store.versions.reserve(ModelName(id), draft, "local")
        made = registry.store.versions.finish(reserved, "", Lineage(run=named), None)
        if stage is not None:
            registry.move(str(made.name), stage)
    registry.store.versions.fail(
        registry.store.versions.reserve(ModelName("beta"), VersionDraft(source="runs/0/artifacts"), "local"), "no"
    )
    registry.alias("champion", 2, "alpha")
    registry.alias("rival", 2, "alpha")
    registry.alias("rival", 1, "beta")
    return registry


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("", ["Alpha", "alpha", "beta"]),
        ("name = 'alpha'", ["alpha"]),
        ("name != 'alpha'", ["Alpha", "beta"]),
        ("name LIKE 'al%'", ["alpha"]),
        ("name ILIKE 'AL%'", ["Alpha", "alpha"]),
        ("name LIKE '_lpha'", ["Alpha", "alpha"]),
        ("name IN ('beta', 'alpha', 'gamma')", ["alpha", "beta"]),
        ("NOT name = 'alpha' AND NOT (name = 'beta')", ["Alpha"]),
        ("name = 'beta' OR tags.team = 'red'", ["alpha", "beta"]),
        ("tags.team ILIKE 'b%'", ["Alpha"]),
        ("tags.team != 'red'", ["Alpha"]),
        ("tags.team IS NULL", ["beta"]),
        ("tag.team IS NOT NULL", ["Alpha", "alpha"]),
        ('tags."a.b" IS NULL', ["Alpha", "alpha", "beta"]),
        ("name = ''' OR 1=1 --'", []),
        ("create_time > 0 AND update_time < '2900-01-01'", ["Alpha", "alpha", "beta"]),
    ],
)
def test_models_are_found_by_name_and_tags(filled: StoreDriver, filter: str, found: list[str]) -> None:
    assert filled.models(filter) == found


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("", "a3 a2 a1 b3 b2 b1"),
        ("name = 'alpha'", "a3 a2 a1"),
        ("version > 1 AND name = 'beta'", "b3 b2"),
        ("version_number IN (1, 3)", "a3 a1 b3 b1"),
        (f"run = 'runs/{RUNS[0]}'", "a3 a1"),
        (f"run_id = '{RUNS[1]}'", "a2 b1"),
        (f"run != '{RUNS[1]}'", "a3 a1"),
        (f"run_id IN ('{RUNS[0]}', '{RUNS[1]}')", "a3 a2 a1 b1"),
        ("run LIKE 'aaa%'", "a3 a1"),
        ("run IS NULL", "b3 b2"),
        ("source = 's3://bucket/m'", "b2"),
        ("source_path LIKE 'runs/%/artifacts/m'", "a3 a2 a1 b1"),
        ("stage = 'production'", "a2"),
        ("stage IN ('Staging', 'ARCHIVED', 'what')", "a3 b1"),
        ("stage != 'None'", "a3 a2 b1"),
        ("status = 'failed'", "b3"),
        ("status != 'READY'", "b3"),
        ("status LIKE 'READ_'", "a3 a2 a1 b2 b1"),
        ("tags.k = '1'", "a1 b1"),
        ("tags.k = '1' OR stage = 'Production'", "a2 a1 b1"),
        ("tags.k IS NULL AND name = 'beta'", "b3 b2"),
        ("aliases = 'champion'", "a2"),
        ("aliases = 'rival'", "a2 b1"),
        ("aliases LIKE 'ch%' OR aliases ILIKE 'RIV%'", "a2 b1"),
        ("aliases != 'champion'", "a3 a1 b3 b2 b1"),
        ("NOT aliases = 'champion'", "a3 a1 b3 b2 b1"),
        ("aliases IS NULL", "a3 a1 b3 b2"),
        ("aliases IS NOT NULL", "a2 b1"),
        ("aliases NOT IN ('rival')", "a3 a1 b3 b2"),
    ],
)
def test_versions_of_all_models_are_found_by_what_they_are(filled: StoreDriver, filter: str, found: str) -> None:
    assert _short(filled.versions(filter=filter)) == found


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("", ["beta 3", "beta 2", "beta 1"]),
        ("stage = 'None'", ["beta 3", "beta 2"]),
        ("name = 'alpha'", []),
    ],
)
def test_versions_of_one_model_are_found_among_its_own(filled: StoreDriver, filter: str, found: list[str]) -> None:
    assert filled.versions("beta", filter) == found


def _short(listed: list[str]) -> str:
    return " ".join(f"{one.split()[0][0]}{one.split()[1]}" for one in listed)


@pytest.mark.parametrize("value", ["x_y%z", "X_Y%Z"])
def test_a_tag_with_an_odd_key_and_value_is_found_as_it_is(filled: StoreDriver, value: str) -> None:
    key = ODD.replace("`", "")
    filled.store.models.update(ModelName("beta"), ModelChange(tag_entries={key: "x_y%z"}), "", "local")
    assert filled.models(f"tags.`{key}` = '{value}'") == (["beta"] if value == "x_y%z" else [])
    assert filled.models(f"tags.`{key}` ILIKE '{value.replace('_', chr(92) + '_').replace('%', chr(92) + '%')}'") == [
        "beta"
    ]


ORDERS = ["name", "name DESC", "version", "version desc", "create_time", "update_time DESC", "creation_timestamp ASC"]


@pytest.mark.parametrize("order_by", [", ".join(keys) for keys in itertools.permutations(ORDERS[:6:2], 2)] + ORDERS)
def test_every_order_is_paged_without_gaps_or_repeats(filled: StoreDriver, database: Database, order_by: str) -> None:
    with database.write() as tx:  # Times that tie.
        tx.execute(versions_table.update().values(created=5, updated=versions_table.c.number % 2))
    everything = filled.versions()
    found = filled.versions(order_by=order_by)
    assert sorted(found) == sorted(everything)
    with database.read() as tx:
        rows = {row.number: row for row in tx.execute(select(versions_table))}
    assert found == sorted(everything, key=_key(order_by, rows))


def _key(order_by: str, rows: dict[int, Any]) -> Callable[[str], list[Any]]:
    def key(one: str) -> list[Any]:
        model, number = one.split()
        facts = {
            "name": [ord(char) for char in model],
            "version": int(number),
            "create_time": 5,
            "creation_timestamp": 5,
            "update_time": int(number) % 2,
        }
        parts: list[Any] = []
        for each in [*order_by.split(", "), "name", "version desc"]:
            name, _, direction = each.partition(" ")
            value = facts[name]
            down = direction.lower() == "desc"
            parts.append(
                ([-char for char in value] + [1] if down else value)
                if isinstance(value, list)
                else -value
                if down
                else value
            )
        return parts

    return key


@pytest.mark.parametrize("order_by", ["create_time", "create_time DESC", "update_time, name DESC", "name DESC"])
def test_models_come_in_every_order(filled: StoreDriver, order_by: str) -> None:
    names = {"create_time": ["alpha", "Alpha", "beta"], "name DESC": ["beta", "alpha", "Alpha"]}
    found = filled.models(order_by=order_by)
    assert sorted(found) == ["Alpha", "alpha", "beta"]
    assert order_by not in names or found == names[order_by]


@pytest.mark.parametrize(
    ("filter", "order_by", "position"),
    [
        ("nam = 'x'", "", 0),
        ("name = x", "", 7),
        ("name > 'x'", "", 5),
        ("version = '1'", "", 10),
        ("(name = 'x'", "", 11),
        ("name = 'x' AND", "", 14),
        ("metrics.auc > 1", "", 0),
        ("", "stage", 0),
        ("", "tags.k", 0),
        ("", "name, name DESC", 6),
        ("", "name sideways", 5),
    ],
)
def test_a_mistake_in_a_search_is_shown_at_its_place(
    registry: Registry, filter: str, order_by: str, position: int
) -> None:
    registry.model()
    with refused("FILTER_INVALID") as refusal:
        request = pb.ListModelVersionsRequest(parent="models/churn", filter=filter, order_by=order_by)
        registry.stub.ListModelVersions(request)
    assert refusal.facts["position"] == str(position)
    assert refusal.facts["field"] == ("filter" if filter else "order_by")


def test_a_page_token_belongs_to_its_search(registry: Registry) -> None:
    registry.model("a")
    registry.model("b")
    first = registry.stub.ListModels(pb.ListModelsRequest(page_size=1, order_by="create_time"))
    for other in ({}, {"order_by": "update_time"}, {"order_by": "create_time", "filter": "name = 'a'"}):
        with refused("PAGE_TOKEN_INVALID"):
            registry.stub.ListModels(pb.ListModelsRequest(page_token=first.next_page_token, **other))


def test_the_name_of_all_models_is_no_models_name(registry: Registry) -> None:
    registry.model("churn")
    for make in (lambda: registry.model("-"), lambda: registry.rename("churn", "-")):
        with refused("NAME_INVALID"):
            make()
    assert (
        pages(registry.stub.ListModelVersions, pb.ListModelVersionsRequest(parent="models/-"), "model_versions") == []
    )


PIECES = st.sampled_from(
    [
        "name",
        "version",
        "run",
        "source",
        "stage",
        "status",
        "aliases",
        "tags.k",
        "tags.`a",
        "b`",
        "tag.",
        "create_time",
        "metrics.m",
        "=",
        "!=",
        "<",
        ">=",
        "LIKE",
        "ILIKE",
        "IN",
        "NOT",
        "IS",
        "NULL",
        "AND",
        "OR",
        "(",
        ")",
        ",",
        "'",
        '"',
        "`",
        "'x'",
        "'%'",
        "'\\'",
        '"y"',
        "1",
        "-1",
        "1e400",
        "99999999999999999999",
        "0x1",
        ";",
        "--",
        "/*",
        "*/",
        "$1",
        "?",
        ":a",
        "{}",
        "é",
        "😀",
        "\x01",
        "ASC",
        "DESC",
        "'2020-01-01'",
        "'''",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map(" ".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WELL_FORMED = st.builds(
    "{} {} {}".format,
    st.sampled_from(["name", "run", "source", "stage", "status", "aliases", "tags.k", "tags.`x'y\"`"]),
    st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
    st.text(st.characters(exclude_characters="'\0", exclude_categories=["Cs"]), max_size=8).map(
        lambda text: f"'{text}'"
    ),
)
TREES = st.recursive(
    WELL_FORMED | st.just("version > 0") | st.just("tags.k IS NULL"),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner)
        | st.builds("NOT ({})".format, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter=TEXTS | TREES, order_by=TEXTS | st.just(""))
def test_no_search_breaks_the_service_or_shows_more_than_it_should(
    on_both: Registry, filter: str, order_by: str
) -> None:
    if not on_both.stub.ListModels(pb.ListModelsRequest()).models:
        on_both.model("churn", tags={"k": "v"})
        on_both.make(tags={"k": "v"})
    for call in (
        lambda: on_both.stub.ListModelVersions(
            pb.ListModelVersionsRequest(parent="models/-", filter=filter, order_by=order_by)
        ),
        lambda: on_both.stub.ListModels(pb.ListModelsRequest(filter=filter, order_by=order_by)),
    ):
        try:
            call()
        except grpc.RpcError as error:
            assert errors.parse(error)[0] in {"FILTER_INVALID", "FIELD_INVALID", "FIELD_TOO_LONG"}, error
            assert "SELECT" not in str(error.details()) and "sqlalchemy" not in str(error.details())
