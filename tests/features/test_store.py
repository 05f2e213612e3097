"""What a metadata store promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData

from fivefold_features import searches
from fivefold_features.errors import TableInUse, VersionVacuumed
from fivefold_features.lookups import Lookup
from fivefold_features.offline import Part
from fivefold_features.schema import Column, Kind, Schema
from fivefold_features.store import Compacted, Mode, TableRecord, TrainingSetRecord, Written
from fivefold_features.store.sql import MIGRATIONS, SqlStore
from fivefold_features.store.tables import metadata
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, AlreadyExists, NotFound
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import SettableClock

SCHEMA = Schema((Column("k", Kind.INT64), Column("t", Kind.TIMESTAMP), Column("v", Kind.DOUBLE)), ("k",), "t")


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    opened = Database.open(store_url, migrations=MIGRATIONS, clock=SettableClock())
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database)


def add(store: SqlStore, name: str = "x") -> TableRecord:
    return store.add_table(name, SCHEMA, description="", tags={}, publish_on_write=False)


def written(key: str, mode: Mode = Mode.MERGE, rows: int = 1) -> Written:
    return Written(mode, rows, "0" * 64, key, 1)


def test_the_migrations_make_the_schema_that_the_code_declares(database: Database) -> None:
    found = MetaData()
    with database.read() as tx:
        found.reflect(tx)
    made = {table.name: {column.name: column.nullable for column in table.columns} for table in found.sorted_tables}
    assert made.pop("alembic_version")
    assert made == {t.name: {c.name: c.nullable for c in t.columns} for t in metadata.sorted_tables}


def test_of_many_who_create_one_table_at_once_one_does(store: SqlStore) -> None:
    barrier = threading.Barrier(8)

    def create(_: int) -> bool:
        barrier.wait()
        try:
            add(store)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_of_many_who_create_one_spec_at_once_all_get_it_when_it_is_the_same(store: SqlStore) -> None:
    add(store)
    barrier = threading.Barrier(8)

    def create(number: int) -> str:
        barrier.wait()
        try:
            return store.add_spec("s", "", [Lookup("x", renames={"v": f"v{number % 2}"})]).features[0].name
        except AlreadyExists:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(create, range(8)))
    assert outcomes == ["refused"] * 4 + [store.spec("s").features[0].name] * 4


def test_concurrent_writers_all_get_a_version_and_none_is_missing(store: SqlStore) -> None:
    table = add(store)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: store.add_version(table, written(f"f{n}")).number, range(40)))
    assert sorted(made) == list(range(1, 41))
    (snapshot,) = store.snapshot(["x"])
    assert [part.version for part in snapshot.parts] == list(range(1, 41))
    assert store.versions("x", None, 1)[0].rows_total == 40


def test_a_version_reads_the_writes_since_its_overwrite(store: SqlStore) -> None:
    table = add(store)
    for key, mode in (("a", Mode.MERGE), ("b", Mode.MERGE), ("c", Mode.OVERWRITE), ("d", Mode.MERGE)):
        store.add_version(table, written(key, mode))
    parts = {version: store.snapshot(["x"], version)[0].parts for version in (1, 2, 3, 4)}
    assert parts == {
        1: (Part("a", 1),),
        2: (Part("a", 1), Part("b", 2)),
        3: (Part("c", 3),),
        4: (Part("c", 3), Part("d", 4)),
    }
    assert store.table("x").base == 3
    with pytest.raises(NotFound):
        store.snapshot(["x"], 5)


def test_a_snapshot_after_a_version_has_the_later_writes_alone_and_none_before_its_overwrite(store: SqlStore) -> None:
    table = add(store)
    for key, mode in (("a", Mode.MERGE), ("b", Mode.MERGE), ("c", Mode.OVERWRITE), ("d", Mode.MERGE)):
        store.add_version(table, written(key, mode))
    parts = {after: [part.key for part in store.snapshot(["x"], after=after)[0].parts] for after in range(5)}
    assert parts == {0: ["c", "d"], 1: ["c", "d"], 2: ["c", "d"], 3: ["d"], 4: []}
    (snapshot,) = store.snapshot(["x"], after=4)
    assert (snapshot.version, snapshot.base) == (4, 3)


@pytest.mark.parametrize("hours", [1, -1])
def test_times_of_versions_follow_their_order_though_the_clock_moves(
    store: SqlStore, database: Database, hours: int
) -> None:
    clock = database.clock
    assert isinstance(clock, SettableClock)
    table = add(store)
    start = micros(clock.now())
    store.add_version(table, written("a"))
    clock.advance(timedelta(hours=hours))
    store.add_version(table, written("b"))
    clock.advance(timedelta(hours=-hours, seconds=1))
    store.add_version(table, written("c"))
    times = [one.created for one in store.versions("x", None, 9)]
    assert times == sorted(times, reverse=True)
    found = store.snapshot(["x"], moment=start)[0].version
    assert found == (1 if hours > 0 else 2)
    latest = micros(times[0])
    assert store.snapshot(["x"], moment=latest)[0].version == 3
    with pytest.raises(NotFound):
        store.snapshot(["x"], moment=start - 1)


def test_a_training_set_of_a_version_that_was_given_up_meanwhile_is_refused(store: SqlStore) -> None:
    """Its rows were read before, but it could never be built again."""
    table = add(store)
    store.add_version(table, written("a"))
    store.add_version(table, written("b", Mode.OVERWRITE))
    store.add_spec("s", "", [Lookup("x")])
    assert store.vacuum("x", 1 << 60, dry_run=False).given_up == (1,)
    with pytest.raises(VersionVacuumed):
        store.add_training_set(
            TrainingSetRecord(
                id="0" * 32,
                spec="s",
                timestamp_column="t",
                labels=(),
                exclude=(),
                versions={"x": 1},
                rows=1,
                columns=SCHEMA.columns,
                label_digest="1" * 64,
                digest="2" * 64,
                key="training_sets/z.parquet",
                creator="",
                created=datetime(1999, 1, 1, tzinfo=UTC),
            )
        )
    with pytest.raises(VersionVacuumed):
        store.snapshot(["x"], 1)


def test_files_that_were_given_up_are_named_until_they_are_deleted(store: SqlStore) -> None:
    table = add(store)
    for key in ("a", "b"):
        store.add_version(table, written(key))
    (snapshot,) = store.snapshot(["x"])
    assert store.add_compaction(snapshot, Compacted("c", 2, 9)) and not store.add_compaction(
        snapshot, Compacted("d", 2, 9)
    )
    assert store.snapshot(["x"])[0].parts == (Part("c", 2, compacted=True),)
    assert store.snapshot(["x"], after=1)[0].parts == (Part("b", 2),)
    done = store.vacuum("x", 1 << 60, dry_run=False)
    assert (done.given_up, done.files, done.size_bytes) == ((1,), 2, 2)
    assert store.snapshot(["x"], after=1)[0].parts == (Part("c", 2, compacted=True),)
    assert store.retired(1 << 60, 9) == ["a", "b"] and store.retired(0, 9) == []
    assert store.unnamed({"a", "b", "c", "d"}) == {"d"}
    store.forget_retired(["a", "b"])
    assert store.retired(1 << 60, 9) == []


def test_the_second_of_two_who_read_one_etag_loses(store: SqlStore) -> None:
    read = add(store)
    store.update_table("x", read.revision, description="first")
    with pytest.raises(Aborted) as caught:
        store.update_table("x", read.revision, description="second")
    assert caught.value.reason == "ETAG_MISMATCH"
    assert store.table("x").description == "first"


def test_writing_rows_changes_no_etag(store: SqlStore) -> None:
    table = add(store)
    store.add_version(table, written("a"))
    assert store.table("x").revision == table.revision


def test_a_write_to_a_table_that_was_deleted_meanwhile_is_lost_with_it(store: SqlStore) -> None:
    table = add(store)
    store.delete_table("x")
    again = add(store)
    with pytest.raises(NotFound):
        store.add_version(table, written("a"))
    assert again.uid != table.uid and store.snapshot(["x"])[0].version == 0


def test_a_table_cannot_be_deleted_while_a_spec_refers_to_it(store: SqlStore) -> None:
    add(store)
    store.add_spec("s", "", [Lookup("x")])
    with pytest.raises(TableInUse):
        store.delete_table("x")
    assert store.table("x")


def test_a_spec_says_everything_so_that_later_columns_change_nothing(store: SqlStore) -> None:
    add(store)
    spec = store.add_spec("s", "why", [Lookup("x", look_back=timedelta(hours=1), defaults={"v": "1"})])
    store.update_table("x", None, columns=(*SCHEMA.columns, Column("w", Kind.BOOL)))
    assert store.spec("s") == spec
    assert (spec.lookups[0].features, spec.lookups[0].keys) == (("v",), {"k": "k"})
    assert spec.lookups[0].look_back == timedelta(hours=1)


def test_offered_versions_never_go_back(store: SqlStore) -> None:
    table = add(store)
    store.offered_online(table, 5)
    store.offered_online(table, 3)
    assert (store.table("x").online_version, store.table("x").published) == (5, True)


def test_lists_are_by_name_from_any_place(store: SqlStore) -> None:
    for name in ("c", "a", "b"):
        add(store, name)
        store.add_spec(name, "", [Lookup(name)])
    assert [table.id for table in store.tables(searches.of_tables("", ""), ["a"], 10)] == ["b", "c"]
    assert [spec.id for spec in store.specs(searches.of_specs("", ""), None, 2)] == ["a", "b"]


def test_a_training_set_is_kept_as_it_was_made_and_its_file_is_named(store: SqlStore) -> None:
    table = add(store)
    store.add_version(table, written("a"))
    store.add_spec("s", "", [Lookup("x")])
    record = TrainingSetRecord(
        id="0" * 32,
        spec="s",
        timestamp_column="t",
        labels=("late",),
        exclude=(),
        versions={"x": 1},
        rows=3,
        columns=SCHEMA.columns,
        label_digest="1" * 64,
        digest="2" * 64,
        key="training_sets/z.parquet",
        creator="",
        created=datetime(1999, 1, 1, tzinfo=UTC),
    )
    kept = store.add_training_set(record)
    assert store.training_set(record.id) == kept
    assert (kept.creator, kept.created) == ("local", datetime(2026, 1, 1, tzinfo=UTC))
    assert store.unnamed({"a", "training_sets/z.parquet", "other"}) == {"other"}
