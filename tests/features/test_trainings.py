"""Training sets: against a plain loop over several tables, larger than memory, verified, listed, and deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import training
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, lookup

Row = tuple[Any, ...]
HOURS = st.integers(0, 5)
MAYBE = st.none() | st.integers(0, 9)
LOOK_BACKS = st.none() | st.integers(0, 3)


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return errors.parse(caught.value)[0]


class Model:
    """What the contract says, by looking at every row of every write."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, list[dict[str, Any]]]] = []

    def write(self, mode: str, rows: list[dict[str, Any]]) -> None:
        self.writes.append((mode, rows))

    def find(self, keys: dict[str, Any], hour: float, look_back: int | None) -> dict[str, Any] | None:
        best: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        start = max((n for n, (mode, _) in enumerate(self.writes) if mode == "OVERWRITE"), default=0)
        for number, (_, rows) in enumerate(self.writes[start:]):
            for row in rows:
                if any(value is None or row[key] != value for key, value in keys.items()):
                    continue
                event, known = row.get("t", -1), row.get("known", -1)
                if event > hour or known > hour:
                    continue
                rank = (event, number, known)
                if best is None or rank > best[0]:
                    best = (rank, row)
        if best is None or (look_back is not None and best[0][0] < hour - look_back):
            return None
        return best[1]


def arrow(rows: list[dict[str, Any]], types: dict[str, str]) -> pa.Table:
    made: dict[str, pa.Array] = {}
    for name, of in types.items():
        values = [row.get(name) for row in rows]
        if of == "TIMESTAMP":
            made[name] = pa.array([None if v is None else at(v) for v in values], MOMENT)
        else:
            made[name] = pa.array(values, {"INT64": pa.int64(), "STRING": pa.string()}[of])
    return pa.table(made)


CITIES = {"city": "STRING", "v": "INT64", "late": "INT64"}
TRIPS = {"user": "INT64", "city": "STRING", "t": "TIMESTAMP", "known": "TIMESTAMP", "v": "INT64", "s": "STRING"}
LABELS = {"who": "INT64", "city": "STRING", "home": "STRING", "at": "TIMESTAMP", "y": "INT64"}
WORDS = st.sampled_from(["a", "ü", "", "ccc"])


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    def trips() -> list[dict[str, Any]]:
        made = draw(st.lists(st.tuples(st.integers(0, 2), WORDS, HOURS, HOURS, MAYBE), min_size=1, max_size=10))
        rows = {one[:4]: one[4] for one in made}
        return [
            {"user": u, "city": c, "t": t, "known": k, "v": v, "s": None if v is None else f"s{v}"}
            for (u, c, t, k), v in rows.items()
        ]

    def cities() -> list[dict[str, Any]]:
        made = draw(st.dictionaries(WORDS, st.tuples(MAYBE, MAYBE), min_size=1, max_size=4))
        return [{"city": city, "v": v, "late": late} for city, (v, late) in made.items()]

    modes = st.sampled_from(["MERGE", "MERGE", "OVERWRITE"])
    labels = draw(
        st.lists(
            st.tuples(st.none() | st.integers(0, 3), st.none() | WORDS, st.none() | WORDS, HOURS, MAYBE),
            min_size=1,
            max_size=15,
        )
    )
    return {
        "trips": [(draw(modes), trips()) for _ in range(draw(st.integers(0, 4)))],
        "cities": [(draw(modes), cities()) for _ in range(draw(st.integers(0, 3)))],
        "labels": [dict(zip(LABELS, one, strict=True)) for one in labels],
        "look_back": draw(LOOK_BACKS),
        "compact": draw(st.booleans()),
        "steps": draw(st.sampled_from([1, 1, 3])),
    }


_worlds = iter(range(1_000_000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_every_label_gets_of_every_table_what_a_plain_loop_finds(
    client: Client, monkeypatch: pytest.MonkeyPatch, world: dict[str, Any]
) -> None:
    number = next(_worlds)
    trips, cities = Model(), Model()
    client.create(f"trips{number}", TRIPS, ["user", "city"], timestamp_key="t", knowledge_key="known")
    client.create(f"cities{number}", CITIES, ["city"])
    for name, model, types in ((f"trips{number}", trips, TRIPS), (f"cities{number}", cities, CITIES)):
        for mode, rows in world[name.rstrip("0123456789")]:
            client.write(name, arrow(rows, types), mode)
            model.write(mode, rows)
        if world["compact"]:
            client.compact(name)
    look_back = None if world["look_back"] is None else timedelta(hours=world["look_back"])
    client.spec(
        f"s{number}",
        lookup(f"trips{number}", ["v", "s"], keys={"user": "who"}, look_back=look_back, defaults={"v": "-1"}),
        lookup(f"cities{number}", ["late", "v"], renames={"v": "city_v"}),
        lookup(f"cities{number}", ["v"], keys={"city": "home"}, renames={"v": "home_v"}),
    )
    frame = arrow(world["labels"], LABELS)
    with monkeypatch.context() as patch:
        if world["steps"] > 1:
            patch.setattr(training, "bytes_of", lambda *_: world["steps"] << 30)
        made = client.train(f"s{number}", frame, "at", labels=["y"], exclude_columns=["home"])
        assert client.verify(made.name).verified
    expected = []
    for label in world["labels"]:
        trip = trips.find({"user": label["who"], "city": label["city"]}, label["at"], world["look_back"])
        city = cities.find({"city": label["city"]}, label["at"], None) or {}
        home = cities.find({"city": label["home"]}, label["at"], None) or {}
        value = None if trip is None else trip["v"]
        expected.append(
            {
                **{name: label[name] for name in ("who", "city", "y")},
                "at": at(label["at"]),
                "v": -1 if value is None else value,
                "s": None if trip is None else trip["s"],
                "late": city.get("late"),
                "city_v": city.get("v"),
                "home_v": home.get("v"),
            }
        )
    found = client.rows(made)
    assert found.to_pylist() == [{name: row[name] for name in found.column_names} for row in expected]


def small(client: Client) -> pb.TrainingSet:
    client.create("x", {"k": "INT64", "t": "TIMESTAMP", "v": "INT64", "f": "DOUBLE"}, ["k"], timestamp_key="t")
    rows = [{"k": k, "t": 1, "v": k} for k in range(5)]
    table = arrow(rows, {"k": "INT64", "t": "TIMESTAMP", "v": "INT64"})
    client.write("x", table.append_column("f", pa.array([0.5, None, 1.5, -0.0, 2.5])))
    client.spec("s", lookup("x", ["v", "f"]))
    asked = [{"k": k, "at": 2, "y": k} for k in (4, 0, 9, 3)]
    frame = arrow(asked, {"k": "INT64", "at": "TIMESTAMP", "y": "INT64"})
    return client.train("s", frame, "at", labels=["y"], exclude_columns=["k", "at"])


def change(path: Path, column: str, row: int, value: Any) -> None:
    """Writes a Parquet file again with one other value in it."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    changed = table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    pq.write_table(changed, path)


def parts(found: pb.VerifyTrainingSetResponse) -> list[str]:
    return [pb.TrainingSetDifference.Part.Name(one.part).removeprefix("PART_") for one in found.differences]


def stored(tmp_path: Path, made: pb.TrainingSet) -> tuple[Path, Path, Path]:
    """The files of a training set: result, labels, and the table's rows."""
    history, name = tmp_path / "data" / "history", made.name.split("/")[1]
    (rows,) = (history / "tables").rglob("*.parquet")
    return history / f"training_sets/{name}.parquet", history / f"training_sets/{name}.labels.parquet", rows


def test_a_training_set_that_nobody_touched_is_verified(client: Client) -> None:
    made = small(client)
    found = client.verify(made.name)
    assert found.verified and not found.differences
    assert found.stored_digest == found.rebuilt_digest == made.digest and found.label_digest == made.label_digest
    client.write("x", arrow([{"k": 4, "t": 1, "v": 99}], {"k": "INT64", "t": "TIMESTAMP", "v": "INT64"}))
    assert client.verify(made.name).verified


def test_a_changed_value_of_the_stored_result_is_found_and_named(client: Client, tmp_path: Path) -> None:
    made = small(client)
    change(stored(tmp_path, made)[0], "v", 3, 77)
    found = client.verify(made.name)
    assert not found.verified and parts(found) == ["STORED", "REBUILT"]
    assert (found.differences[1].column, found.differences[1].row, found.differences[1].rows) == ("v", 3, 1)
    assert found.rebuilt_digest == made.digest != found.stored_digest


def test_a_changed_sign_of_zero_is_a_difference(client: Client, tmp_path: Path) -> None:
    made = small(client)
    change(stored(tmp_path, made)[0], "f", 3, 0.0)
    found = client.verify(made.name)
    assert [(one.column, one.row) for one in found.differences if one.column] == [("f", 3)]


def test_a_changed_value_of_the_table_is_found_where_the_training_set_was_built_from_it(
    client: Client, tmp_path: Path
) -> None:
    made = small(client)
    change(stored(tmp_path, made)[2], "v", 4, 5)
    found = client.verify(made.name)
    assert parts(found) == ["REBUILT", "REBUILT"] and found.stored_digest == made.digest
    assert [(one.column, one.row) for one in found.differences if one.column] == [("v", 0)]


def test_a_changed_label_is_found_even_in_a_column_that_is_left_out(client: Client, tmp_path: Path) -> None:
    made = small(client)
    change(stored(tmp_path, made)[1], "k", 0, 3)
    found = client.verify(made.name)
    assert "LABELS" in parts(found) and found.label_digest != made.label_digest


@pytest.mark.parametrize(("file", "part"), [(0, "STORED"), (1, "LABELS"), (2, "SOURCE")])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_a_damaged_file_is_a_difference_and_tells_no_path(
    client: Client, tmp_path: Path, file: int, part: str, damage: str
) -> None:
    made = small(client)
    path = stored(tmp_path, made)[file]
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[len(data) // 2 if damage == "cut" else -6] ^= 0xFF
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    found = client.verify(made.name)
    assert not found.verified and part in parts(found)
    assert str(tmp_path) not in str(found)


def test_of_tables_that_had_no_version_nothing_is_found_then_and_when_it_is_verified(client: Client) -> None:
    client.create("x", {"k": "INT64", "v": "INT64"}, ["k"])
    client.spec("s", lookup("x"))
    made = client.train("s", arrow([{"k": 1, "at": 1}], {"k": "INT64", "at": "TIMESTAMP"}), "at")
    assert list(made.table_versions) == ["tables/x/versions/0"]
    client.write("x", pa.table({"k": [1], "v": [5]}))
    assert client.rows(made)["v"].to_pylist() == [None] and client.verify(made.name).verified


def test_a_label_frame_of_several_batches_comes_out_in_its_order(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_ROWS", 16)
    small(client)
    asked = [{"k": n % 7, "at": 2, "y": n} for n in range(500)]
    frame = arrow(asked, {"k": "INT64", "at": "TIMESTAMP", "y": "INT64"})
    found = client.rows(client.train("s", frame, "at", labels=["y"]))
    assert found["y"].to_pylist() == list(range(500))
    assert found["v"].to_pylist() == [n % 7 if n % 7 < 5 else None for n in range(500)]


def test_training_sets_are_listed_newest_first_and_found_by_what_they_are_made_of(start: Serve, store_url: str) -> None:
    client = start(store_url=store_url)
    first = small(client)
    client.create("z", {"k": "INT64", "w": "INT64"}, ["k"])
    client.spec("other", lookup("z"))
    second = client.train("other", arrow([{"k": 1, "at": 1}], {"k": "INT64", "at": "TIMESTAMP"}), "at")

    def listed(**asked: Any) -> list[str]:
        return [one.name for one in client.call("ListTrainingSets", pb.ListTrainingSetsRequest(**asked)).training_sets]

    assert listed() == [second.name, first.name]
    assert listed(order_by="rows DESC") == [first.name, second.name]
    assert listed(filter="spec = 's'") == listed(filter="table = 'x'") == listed(filter="rows >= 2") == [first.name]
    assert listed(filter="table IN ('z')") == listed(filter="column = 'w'") == [second.name]
    assert listed(filter="table != 'x' AND creator = 'local'") == [second.name]
    page = client.call("ListTrainingSets", pb.ListTrainingSetsRequest(page_size=1))
    assert [one.name for one in page.training_sets] == [second.name]
    assert listed(page_token=page.next_page_token) == [first.name]
    assert reason(lambda: listed(filter="owner = 'x'")) == "FILTER_INVALID"


def test_a_deleted_training_set_lets_go_of_its_spec_and_that_of_its_table(client: Client) -> None:
    made = small(client)
    drop_spec = pb.DeleteFeatureSpecRequest(name="specs/s")
    assert reason(lambda: client.call("DeleteFeatureSpec", drop_spec)) == "SPEC_IN_USE"
    client.call("DeleteTrainingSet", pb.DeleteTrainingSetRequest(name=made.name))
    for call in (lambda: client.verify(made.name), lambda: client.rows(made)):
        assert reason(call) == "RESOURCE_NOT_FOUND"
    client.consume("specs/s", "endpoints/e")
    assert reason(lambda: client.call("DeleteFeatureSpec", drop_spec)) == "SPEC_IN_USE"


def test_the_name_of_a_deleted_spec_is_not_given_to_another(client: Client) -> None:
    client.create("x", {"k": "INT64", "v": "INT64"}, ["k"])
    client.spec("s", lookup("x"))
    client.call("DeleteFeatureSpec", pb.DeleteFeatureSpecRequest(name="specs/s"))
    assert reason(lambda: client.spec("s", lookup("x"))) == "RESOURCE_EXISTS"
    assert (
        reason(lambda: client.call("GetFeatureSpec", pb.GetFeatureSpecRequest(name="specs/s"))) == "RESOURCE_NOT_FOUND"
    )
    assert not client.call("ListFeatureSpecs", pb.ListFeatureSpecsRequest()).feature_specs
    client.call("DeleteTable", pb.DeleteTableRequest(name="tables/x"))
