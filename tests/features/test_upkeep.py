"""Compaction and vacuum: answers stay the same, what training sets need stays, and readers that have begun can end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import pointintime
from fivefold_features.compacting import Compactor
from fivefold_features.store import Mode
from fivefold_features.upkeep import Upkeep
from fivefold_features.vacuuming import Compaction, Vacuum, Version, superseded, vacuum
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, Serve, at, lookup

COLUMNS = {"k": "INT64", "t": "TIMESTAMP", "known": "TIMESTAMP", "v": "INT64", "s": "STRING"}
NOW = timedelta(0)


def frame(*rows: tuple[int, float, float, int | None]) -> pa.Table:
    return pa.table(
        {
            "k": [row[0] for row in rows],
            "t": pa.array([at(row[1]) for row in rows], MOMENT),
            "known": pa.array([at(row[2]) for row in rows], MOMENT),
            "v": pa.array([row[3] for row in rows], pa.int64()),
            "s": [f"{row[3]}" for row in rows],
        }
    )


def labels(*asked: tuple[int, float]) -> pa.Table:
    return pa.table({"k": [one[0] for one in asked], "at": pa.array([at(one[1]) for one in asked], MOMENT)})


def filled(client: Client) -> None:
    """A table of five versions, of which the third corrects what was known, the fourth overwrites a row."""
    client.create("x", COLUMNS, ["k"], timestamp_key="t", knowledge_key="known")
    client.write("x", frame((2, 1, 1, 10), (1, 1, 1, 20)))
    client.write("x", frame((1, 2, 2, 21)))
    client.write("x", frame((1, 1, 5, 22)))
    client.write("x", frame((2, 1, 1, 11), (3, 0, 0, None)))
    client.write("x", frame((3, 4, 4, 30)))
    client.spec("s", lookup("x", ["v", "s"]))


ASKED = labels(*((key, hour) for key in (1, 2, 3, 4) for hour in (0, 1, 2, 4, 5, 6)))


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return errors.parse(caught.value)[0]


def history(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "data" / "history" / "tables").rglob("*.parquet"))


def upkeep(client: Client) -> Upkeep:
    return next(work for work in client.running.app.background if isinstance(work, Upkeep))


def test_a_compacted_table_reads_and_joins_as_before(start: Serve) -> None:
    client = start()
    filled(client)
    before = [client.read("x", version) for version in range(6)]
    joined = client.rows(client.train("s", ASKED, "at"))
    done = client.compact("x")
    assert (done.table_version, done.files_before, done.rows_before, done.rows_after) == (
        "tables/x/versions/5",
        5,
        7,
        6,
    )
    assert [client.read("x", version) for version in range(6)] == before
    assert client.rows(client.train("s", ASKED, "at")) == joined
    client.write("x", frame((1, 2, 2, 99)))
    assert client.read("x", 5) == before[0]
    assert 99 in client.read("x")["v"].to_pylist()
    assert client.compact("x").files_before == 2
    assert client.compact("x").files_before == 1


def test_a_table_larger_than_memory_is_read_and_compacted_in_steps_and_stays_in_order(
    start: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    filled(client)
    client.write("x", frame(*((key, 1, 1, key) for key in range(100, 300))))
    before = client.read("x")
    monkeypatch.setattr("fivefold_features.steps.bytes_of", lambda *_: 7 * (1 << 30))
    steps: list[int] = []
    current = pointintime.current

    def counted(rows: Any, **of: Any) -> Any:
        steps.append(rows.height)
        return current(rows, **of)

    monkeypatch.setattr("fivefold_features.steps.pointintime.current", counted)
    assert client.read("x") == before
    assert len(steps) > 3 and max(steps) < before.num_rows / 2
    steps.clear()
    client.compact("x")
    assert len(steps) > 3 and max(steps) < before.num_rows / 2
    assert client.read("x") == before


def test_columns_that_are_added_later_are_null_in_compacted_rows(start: Serve) -> None:
    client = start()
    filled(client)
    client.compact("x")
    table = client.table("x")
    table.columns.add(name="late", type=table.columns[3].type)
    client.call("UpdateTable", pb.UpdateTableRequest(table=table))
    assert client.read("x", columns=["k", "late"])["late"].null_count == 6
    client.write("x", frame((9, 9, 9, 9)).append_column("late", pa.array([5], pa.int64())))
    assert client.read("x")["late"].to_pylist() == [None] * 6 + [5]
    client.compact("x")
    assert client.read("x")["late"].to_pylist() == [None] * 6 + [5]


def test_a_vacuum_keeps_what_training_sets_were_built_from(start: Serve, store_url: str, tmp_path: Path) -> None:
    client = start(store_url=store_url, vacuum_grace_seconds=0.0)
    filled(client)
    client.write("x", frame((1, 9, 9, 1)), mode="OVERWRITE")
    made = client.train("s", ASKED, "at")
    client.write("x", frame((1, 10, 10, 2)), mode="OVERWRITE")
    rows = client.rows(made)
    dry = client.vacuum("x", NOW, dry_run=True)
    assert client.read("x", 1).num_rows == 2 and len(history(tmp_path)) == 7
    done = client.vacuum("x", NOW)
    assert done == dry
    assert list(done.table_versions) == [f"tables/x/versions/{number}" for number in range(1, 6)]
    assert list(done.pinned_versions) == ["tables/x/versions/6"]
    assert done.files == 5 and done.size_bytes > 0
    assert upkeep(client).delete() == 5 and len(history(tmp_path)) == 2
    assert reason(lambda: client.read("x", 3)) == "VERSION_VACUUMED"
    assert client.read("x", 6)["v"].to_pylist() == [1] and client.read("x")["v"].to_pylist() == [2]
    assert client.verify(made.name).verified and client.rows(made) == rows
    versions = client.call("ListTableVersions", pb.ListTableVersionsRequest(parent="tables/x")).table_versions
    assert [one.version for one in versions if one.vacuumed] == [5, 4, 3, 2, 1]

    client.call("DeleteTrainingSet", pb.DeleteTrainingSetRequest(name=made.name))
    assert list(client.vacuum("x", NOW).table_versions) == ["tables/x/versions/6"]
    assert upkeep(client).delete() == 3  # the version's file, and both of the training set
    assert len(history(tmp_path)) == 1 and client.read("x")["v"].to_pylist() == [2]


def test_merged_versions_are_given_up_once_the_newest_is_compacted(
    start: Serve, store_url: str, tmp_path: Path
) -> None:
    client = start(store_url=store_url, vacuum_grace_seconds=0.0)
    filled(client)
    client.publish("x")
    before = client.read("x")
    assert client.vacuum("x", NOW).files == 0
    client.compact("x")
    assert client.vacuum("x", NOW).files == 5
    assert upkeep(client).delete() == 5 and len(history(tmp_path)) == 1
    assert client.read("x") == before
    client.write("x", frame((7, 7, 7, 7)))
    assert client.read("x").num_rows == before.num_rows + 1
    assert client.publish("x").keys_total == 4


def test_versions_of_the_last_days_stay(start: Serve) -> None:
    client = start()
    filled(client)
    client.compact("x")
    assert not client.vacuum("x").table_versions
    assert not client.vacuum("x", timedelta(hours=1)).table_versions
    assert client.read("x", 1).num_rows == 2
    refused = pb.VacuumTableRequest(name="tables/x")
    refused.keep.FromTimedelta(timedelta(hours=-1))
    assert reason(lambda: client.call("VacuumTable", refused)) == "FIELD_INVALID"


def test_files_that_were_given_up_stay_for_readers_that_have_begun(start: Serve, tmp_path: Path) -> None:
    client = start(vacuum_grace_seconds=600.0)
    filled(client)
    client.compact("x")
    client.vacuum("x", NOW)
    assert upkeep(client).delete() == 0 and len(history(tmp_path)) == 6


def test_a_table_of_many_writes_is_compacted_by_itself(start: Serve, store_url: str) -> None:
    client = start(store_url=store_url, compact_after=3)
    client.create("x", COLUMNS, ["k"], timestamp_key="t", knowledge_key="known")
    for number in range(3):
        client.write("x", frame((number, 1, 1, number)))
    assert upkeep(client).compact() == 0
    client.write("x", frame((9, 1, 1, 9)))
    assert upkeep(client).compact() == 1 and upkeep(client).compact() == 0
    assert client.compact("x").files_before == 1
    assert client.read("x")["k"].to_pylist() == [0, 1, 2, 9]


def test_a_large_table_is_not_written_again_for_a_few_rows_until_they_are_in_many_files(
    start: Serve, store_url: str
) -> None:
    client = start(store_url=store_url, compact_after=2)
    client.create("x", COLUMNS, ["k"], timestamp_key="t", knowledge_key="known")
    client.write("x", frame(*((number, 1, 1, 0) for number in range(1000))))
    for number in range(2):
        client.write("x", frame((number, 2, 2, 1)))
    assert upkeep(client).compact() == 1
    for number in range(16):
        client.write("x", frame((number, 3, 3, 2)))
        assert upkeep(client).compact() == 0
    client.write("x", frame((0, 4, 4, 3)))
    assert upkeep(client).compact() == 1
    for _ in range(3):
        client.write("x", frame(*((number, 5, 5, 4) for number in range(50))))
    assert upkeep(client).compact() == 1


def test_a_table_that_cannot_be_compacted_holds_up_no_other(start: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start(compact_after=2)
    for name in ("a", "b"):
        client.create(name, COLUMNS, ["k"], timestamp_key="t", knowledge_key="known")
        for number in range(4):
            client.write(name, frame((number, 1, 1, number)))
    original = Compactor.compact

    def failing(self: Compactor, table: str) -> Any:
        if table == "a":
            raise errors.NotFound.of("tables/a")
        return original(self, table)

    monkeypatch.setattr(Compactor, "compact", failing)
    assert upkeep(client).compact() == 1
    assert client.compact("b").files_before == 1


def test_of_two_who_compact_at_once_one_leaves_its_file_and_the_other_none(start: Serve, tmp_path: Path) -> None:
    client = start()
    filled(client)
    servicer = client.running.app.servicers["fivefold.features.v1.FeatureService"]
    store, compactor = servicer._store, servicer.compactor()
    (snapshot,) = store.snapshot(["x"])

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def snapshot(self, *_: Any) -> Any:
            return [snapshot]

    compactor.compact("x")
    Compactor(Late(), compactor.history, compactor.memory_bytes).compact("x")
    assert len(history(tmp_path)) == 6


def test_an_incremental_publish_reads_compacted_rows_where_the_writes_are_gone(start: Serve) -> None:
    client = start(vacuum_grace_seconds=0.0)
    filled(client)
    client.publish("x")
    for hour in (7, 8):
        client.write("x", frame((5, hour, hour, int(hour))))
    client.compact("x")
    client.vacuum("x", NOW)
    upkeep(client).delete()
    client.running.app.servicers["fivefold.features.v1.FeatureService"]._publisher().catch_up("x")
    answer = client.online("s", {"k": [5, 1]}, at(20))
    assert not answer.statuses


# The plan of a vacuum, against a plain count of what each kept version is read from.


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Version], list[Compaction], set[int], int]:
    count = draw(st.integers(1, 12))
    modes = draw(st.lists(st.sampled_from(list(Mode)), min_size=count, max_size=count))
    versions, base = [], 0
    for number, mode in enumerate(modes, start=1):
        base = number if mode is Mode.OVERWRITE else base
        versions.append(Version(number, base, number * 10))
    compacted = draw(st.sets(st.integers(1, count)))
    compactions = [Compaction(number, versions[number - 1].base) for number in sorted(compacted)]
    return versions, compactions, draw(st.sets(st.integers(1, count))), draw(st.integers(0, count * 10 + 20))


def read_from(version: Version, compactions: list[Compaction]) -> tuple[set[int], set[int]]:
    """The files and compactions that a version is read from, as store.rows.snapshot finds them."""
    whole = max((c.version for c in compactions if c.base == version.base and c.version <= version.number), default=0)
    files = {n for n in range(max(version.base, 1), version.number + 1) if n > whole}
    return files, {whole} - {0}


@settings(max_examples=300, deadline=None)
@given(tables())
def test_a_vacuum_gives_up_exactly_what_no_kept_version_is_read_from(
    drawn: tuple[list[Version], list[Compaction], set[int], int],
) -> None:
    versions, compactions, pins, oldest = drawn
    plan: Vacuum = vacuum(versions, compactions, pins, oldest)
    newest_since = {one.number for one in versions if one is versions[-1] or versions[one.number].created > oldest}
    kept = [one for one in versions if one.number in newest_since | pins]
    assert set(plan.given_up) == {one.number for one in versions} - {one.number for one in kept}
    files, wholes = set[int](), set[int]()
    for one in kept:
        f, c = read_from(one, compactions)
        files |= f
        wholes |= c
    assert set(plan.files) == {one.number for one in versions} - files
    assert set(plan.compactions) == {c.version for c in compactions} - wholes


@settings(max_examples=300, deadline=None)
@given(tables())
def test_a_superseded_compaction_is_needed_by_no_version_that_can_still_be_read(
    drawn: tuple[list[Version], list[Compaction], set[int], int],
) -> None:
    versions, compactions, pins, oldest = drawn
    plan = vacuum(versions, compactions, pins, oldest)
    after = [Version(v.number, v.base, v.created, v.number in plan.given_up, v.number in plan.files) for v in versions]
    left = [c for c in compactions if c.version not in plan.compactions]
    if not left:
        return
    gone = superseded(after, left, max(c.version for c in left))
    remaining = [c for c in left if c.version not in gone]
    for one in after:
        if not one.vacuumed:
            files, _ = read_from(one, remaining)
            assert not any(after[number - 1].retired for number in files)
