"""Online at a moment equals the offline join at that moment, values and statuses, whatever was written before (G16)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.packing import pack_keys
from fivefold_features.schema import Kind
from fivefold_features.servicer import FeatureServicer
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, kind, lookup, statuses, unpacked

KINDS = {"n": pa.int64(), "x": pa.float64(), "s": pa.string(), "b": pa.bool_()}
NAMES = {"n": "INT64", "x": "DOUBLE", "s": "STRING", "b": "BOOL"}
VALUES = {
    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "x": st.none() | st.floats(allow_nan=False),
    "s": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
    "b": st.none() | st.booleans(),
}
HOURS = st.integers(0, 8)
_numbers = itertools.count()


@st.composite
def writes(draw: st.DrawFn) -> list[tuple[str, list[dict[str, Any]], bool]]:
    """Writes one after the other: mode, rows, and whether a column is added before it."""
    done = []
    for _ in range(draw(st.integers(1, 4))):
        identities = draw(
            st.lists(st.tuples(st.sampled_from(["p", "q", "r"]), HOURS, HOURS), min_size=1, max_size=6, unique=True)
        )
        rows = [
            {"k": k, "t": t, "known": known, **{name: draw(of) for name, of in VALUES.items()}}
            for k, t, known in identities
        ]
        done.append((draw(st.sampled_from(["MERGE", "MERGE", "OVERWRITE"])), rows, draw(st.booleans())))
    return done


def arrow(rows: list[dict[str, Any]], more: int) -> pa.Table:
    columns: dict[str, pa.Array] = {"k": pa.array([row["k"] for row in rows])}
    for name in ("t", "known"):
        columns[name] = pa.array([at(row[name]) for row in rows], MOMENT)
    for name, of in KINDS.items():
        columns[name] = pa.array([row[name] for row in rows], of)
    for number in range(more):
        columns[f"more{number}"] = pa.array([row["n"] for row in rows], pa.int64())
    return pa.table(columns)


@pytest.fixture
def service(start: Serve, online_url: str) -> Client:
    return start(online_url=online_url)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes(), HOURS, st.none() | st.integers(0, 4), st.booleans(), st.booleans())
def test_online_answers_are_those_of_the_offline_join(
    service: Client,
    done: list[tuple[str, list[dict[str, Any]], bool]],
    moment: int,
    look_back: int | None,
    published_between: bool,
    published_on_write: bool,
) -> None:
    name = f"table{next(_numbers)}"
    # What publishes on write may be ahead of the moment that is asked for; a snapshot brings it back.
    columns = {"k": "STRING", "t": "TIMESTAMP", "known": "TIMESTAMP", **NAMES}
    service.create(name, columns, ["k"], timestamp_key="t", knowledge_key="known", publish_on_write=published_on_write)
    more = 0
    for index, (mode, rows, adds) in enumerate(done):
        if adds and index:
            present = list(service.table(name).columns)
            added = pb.TableColumn(name=f"more{more}", type=kind("INT64"))
            more += 1
            table = pb.Table(name=f"tables/{name}", columns=[*present, added])
            service.call("UpdateTable", pb.UpdateTableRequest(table=table))
        service.write(name, arrow(rows, more), mode)
        if published_between:
            service.publish(name, at(moment / 2))
    service.publish(name, at(moment), reset=published_on_write)
    wanted = [*NAMES, *(f"more{number}" for number in range(more))]
    window = None if look_back is None else timedelta(hours=look_back)
    service.spec(name, lookup(name, wanted, look_back=window))
    service.spec(f"{name}_d", lookup(name, wanted, look_back=window, defaults={"n": "-7", "s": "none", "b": "true"}))
    keys = ["p", "q", "r", "nobody", None]
    labels = pa.table({"k": keys, "at": pa.array([at(moment)] * len(keys), MOMENT)})
    for spec in (name, f"{name}_d"):
        offline = service.rows(service.train(spec, labels, "at")).select(wanted).to_pydict()
        answer = service.online(spec, {"k": keys}, at(moment), with_statuses=True)
        assert unpacked(answer) == offline
        checked = service.check(spec, {"k": keys}, at(moment))
        assert (checked.rows, checked.values, checked.different_values) == (5, 5 * len(wanted), 0)
        plain = dict(
            zip(wanted, statuses(service.online(name, {"k": keys}, at(moment), with_statuses=True)), strict=True)
        )
        for feature, found in zip(wanted, statuses(answer), strict=True):
            defaulted = spec != name and feature in ("n", "s", "b")
            expected = [one if one == "PRESENT" or not defaulted else "DEFAULTED" for one in plain[feature]]
            assert found == expected
    _statuses_say_why(service, name, wanted, done, moment, look_back, keys)


def _statuses_say_why(
    service: Client,
    spec: str,
    wanted: list[str],
    done: list[tuple[str, list[dict[str, Any]], bool]],
    moment: int,
    look_back: int | None,
    keys: list[str | None],
) -> None:
    """Compares NOT_FOUND and EXPIRED with a plain look at the rows that were written."""
    base = max((index for index, (mode, *_) in enumerate(done) if mode == "OVERWRITE"), default=0)
    rows = [row for _, written, _ in done[base:] for row in written]
    answer = service.online(spec, {"k": keys}, at(moment), with_statuses=True)
    for place, key in enumerate(keys):
        events = [row["t"] for row in rows if row["k"] == key and row["t"] <= moment and row["known"] <= moment]
        found = {column[place] for column in statuses(answer)}
        if not events:
            assert found == {"NOT_FOUND"}
        elif look_back is not None and max(events) < moment - look_back:
            assert found == {"EXPIRED"}
        else:
            assert found <= {"PRESENT", "NULL"}


LATE = 100  # hours: after all events
STEPS = st.sampled_from(["nothing", "SNAPSHOT", "INCREMENTAL", "lost"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes(), st.lists(STEPS, min_size=4, max_size=4), st.none() | st.integers(LATE - 8, LATE))
def test_what_incremental_publishes_brought_online_is_what_is_offline(
    service: Client, done: list[tuple[str, list[dict[str, Any]], bool]], steps: list[str], look_back: int | None
) -> None:
    name = f"table{next(_numbers)}"
    columns = {"k": "STRING", "t": "TIMESTAMP", "known": "TIMESTAMP", **NAMES}
    service.create(name, columns, ["k"], timestamp_key="t", knowledge_key="known")
    window = None if look_back is None else timedelta(hours=look_back)
    service.spec(name, lookup(name, list(NAMES), look_back=window, defaults={"n": "3"}))
    for (mode, rows, _), step in zip(done, steps, strict=False):
        service.write(name, arrow(rows, 0), mode)
        if step == "lost":
            lose(service, name)
        elif step != "nothing":
            service.publish(name, mode=step)
    service.publish(name, mode="INCREMENTAL")
    assert service.publish(name, mode="INCREMENTAL").keys_written == 0, "nothing is new"
    keys = ["p", "q", "r", "nobody", None]
    checked = service.check(name, {"k": keys}, at(LATE))
    assert (checked.different_values, list(checked.inconsistencies)) == (0, [])
    frame = pa.table({"k": keys, "at": pa.array([at(LATE)] * len(keys), MOMENT)})
    offline = service.rows(service.train(name, frame, "at")).select(list(NAMES)).to_pydict()
    assert unpacked(service.online(name, {"k": keys}, at(LATE), with_statuses=True)) == offline


def lose(service: Client, table: str) -> None:
    """Takes a table's online values away behind the service's back."""
    servicer = next(one for one in service.running.app.servicers.values() if isinstance(one, FeatureServicer))
    servicer._online.drop(servicer._store.table(table).uid)


@pytest.fixture
def published(service: Client) -> Client:
    """A table `x` of three keys that is online, and a spec `s` of it."""
    service.create("x", {"k": "STRING", "t": "TIMESTAMP", **NAMES, "d": "DATE", "y": "BYTES"}, ["k"], timestamp_key="t")
    service.write("x", three([1, 2, 3]))
    service.publish("x")
    service.spec("s", lookup("x", defaults={"n": "-7"}))
    return service


def three(numbers: list[int | None]) -> pa.Table:
    return pa.table(
        {
            "k": ["p", "q", "r"],
            "t": pa.array([at(1)] * 3, MOMENT),
            "n": pa.array(numbers, pa.int64()),
            "x": [0.5, float("nan"), None],
            "s": ["ü", None, ""],
            "b": [True, None, False],
            "d": pa.array([1, None, -1], pa.int32()).cast(pa.date32()),
            "y": pa.array([b"\xff", None, b""]),
        }
    )


def test_a_check_without_keys_takes_a_sample_of_the_first_table(published: Client) -> None:
    assert published.check("s").rows == 3
    checked = published.check("s", sample=2)
    assert (checked.rows, checked.values, checked.different_values) == (2, 12, 0)
    assert list(checked.table_versions) == ["tables/x/versions/1"]


def test_what_is_written_but_not_published_differs_and_is_told_by_key_and_feature(published: Client) -> None:
    published.write("x", three([1, None, 4]))
    checked = published.check("s", {"k": ["r", "p", "q", "nobody"]}, at(2))
    assert checked.different_values == 2 and list(checked.table_versions) == ["tables/x/versions/2"]
    first, second = checked.inconsistencies
    assert (first.row, list(first.keys), first.feature) == (0, ["r"], "n")
    assert (first.online_value, first.offline_value) == ("3", "4")
    assert first.online_status == first.offline_status == pb.FEATURE_STATUS_PRESENT
    assert (second.row, list(second.keys), second.online_value, second.offline_value) == (2, ["q"], "2", "-7")
    assert second.offline_status == pb.FEATURE_STATUS_DEFAULTED


def test_values_that_were_changed_in_the_online_store_are_found(published: Client) -> None:
    servicer = next(one for one in published.running.app.servicers.values() if isinstance(one, FeatureServicer))
    online, uid = servicer._online, servicer._store.table("x").uid
    (key,) = pack_keys([Kind.STRING], [["p"]])
    assert key is not None
    found = online.read(uid, [key])
    assert found is not None and found[0] is not None
    online.write(uid, 0, [(key, found[0].replace("ü".encode(), b"xx"))], replace=False)
    (told,) = published.check("s").inconsistencies
    assert (list(told.keys), told.feature, told.online_value, told.offline_value) == (["p"], "s", "xx", "ü")


def test_a_check_is_refused_like_a_look_up(published: Client) -> None:
    published.create("y", {"id": "INT64", "v": "DOUBLE"}, ["id"])
    published.spec("two", lookup("x", ["n"]), lookup("y", ["v"]))
    for spec, keys, reason in (
        ("two", None, "LOOKUP_KEY_MISSING"),
        ("two", {"k": ["p"]}, "LOOKUP_KEY_MISSING"),
        ("two", {"k": ["p"], "id": [1]}, "NOT_PUBLISHED"),
        ("s", {"k": [1]}, "FIELD_INVALID"),
        ("none", None, "RESOURCE_NOT_FOUND"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            published.check(spec, keys)
        assert errors.parse(caught.value)[0] == reason
