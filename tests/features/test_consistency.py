"""Online at a moment equals the offline join at that moment, values and statuses, whatever was written before (G16)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.features.v1 import features_pb2 as pb
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
