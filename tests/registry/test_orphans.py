"""What a crash leaves behind is settled: by the only server at its start, by replicas after a silence."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fivefold_registry import orphans
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.orphans import Orphans
from fivefold_registry.store.records import FileRecord, Lineage, VersionDraft, VersionRecord, VersionStatus
from fivefold_registry.store.versions import CopyLost
from fivefold_runtime.objects import Objects
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import SettableClock
from tests.registry.drivers import StoreDriver

FILE = FileRecord("weights", 1, "a" * 64)


class Crashed:
    """A store in which a copy has begun and given no end."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.store = StoreDriver(database).store
        StoreDriver(database).model()
        self.objects = Objects.open(str(folder / "objects"))
        self.orphans = Orphans(database, self.store, self.objects)
        self.copy = self.store.versions.reserve(
            ModelName("churn"), VersionDraft(source="runs/0/artifacts", attempt="x"), "ada"
        )
        self.store.versions.claim(self.copy, [FILE])

    def status(self) -> VersionStatus:
        return self.store.versions.get(self.copy.name).status


@pytest.fixture
def crashed(database: Database, tmp_path: Path) -> Crashed:
    return Crashed(database, tmp_path)


def test_at_start_the_only_server_settles_at_once_and_one_of_many_waits(crashed: Crashed, database: Database) -> None:
    crashed.orphans.start()
    crashed.orphans.stop()
    assert crashed.status() is (VersionStatus.FAILED if database.is_sqlite else VersionStatus.PENDING)


def test_a_copy_that_is_silent_for_a_minute_is_an_orphan(crashed: Crashed) -> None:
    for second in (0, 15, 30, 45, 59):
        crashed.orphans.look(second)
        assert crashed.status() is VersionStatus.PENDING
    crashed.orphans.look(60)
    assert crashed.status() is VersionStatus.FAILED
    with pytest.raises(CopyLost):
        crashed.store.versions.finish(crashed.copy, "", Lineage(), None)


def test_a_copy_whose_end_could_not_be_written_is_settled_while_the_server_runs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(orphans, "_DEAD_SECONDS", 0.05)
    crashed = Crashed(database, tmp_path)
    crashed.store.versions.fail(crashed.copy, "first")
    crashed.orphans.start()
    crashed.store.versions.reserve(ModelName("churn"), VersionDraft(source="runs/0/artifacts", attempt="x"), "ada")
    until = time.monotonic() + 10
    while crashed.status() is VersionStatus.PENDING and time.monotonic() < until:
        time.sleep(0.01)
    crashed.orphans.stop()
    assert crashed.status() is VersionStatus.FAILED


def test_a_copy_that_gives_signs_of_life_is_none(crashed: Crashed) -> None:
    for second in range(0, 300, 15):
        crashed.store.versions.beat(crashed.copy)
        crashed.orphans.look(second)
    assert crashed.status() is VersionStatus.PENDING
    assert crashed.store.versions.finish(crashed.copy, "", Lineage(), None).status is VersionStatus.READY


def test_a_copy_that_was_taken_over_cannot_end_the_new_one(crashed: Crashed) -> None:
    crashed.store.versions.fail(crashed.copy, "dead")
    draft = VersionDraft(source="runs/0/artifacts", attempt="x")
    taken_over: VersionRecord = crashed.store.versions.reserve(ModelName("churn"), draft, "ada")
    assert taken_over.name == VersionName("churn", 1)
    for late in (
        lambda: crashed.store.versions.finish(crashed.copy, "", Lineage(), None),
        lambda: crashed.store.versions.fail(crashed.copy, "late"),
        lambda: crashed.store.versions.claim(crashed.copy, [FILE]),
    ):
        with pytest.raises(CopyLost):
            late()
    assert crashed.status() is VersionStatus.PENDING


def test_the_attempt_that_made_a_ready_version_gets_it_again_for_a_day(
    crashed: Crashed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SettableClock(datetime.now(UTC))
    monkeypatch.setattr(database, "clock", clock)
    made = crashed.store.versions.finish(crashed.copy, "", Lineage(), None)
    draft = VersionDraft(source="runs/0/artifacts", attempt="x")
    clock.advance(timedelta(hours=23))
    assert crashed.store.versions.reserve(ModelName("churn"), draft, "ada") == made
    clock.advance(timedelta(hours=2))
    assert crashed.store.versions.reserve(ModelName("churn"), draft, "ada").number == 2


def test_contents_that_nobody_has_are_removed_and_others_stay(crashed: Crashed) -> None:
    key = f"sha256/aa/{FILE.sha256}"
    crashed.objects.put(key, [b"1"])
    crashed.orphans.sweep()
    assert crashed.objects.exists(key), "a PENDING version has claimed it"
    crashed.store.versions.fail(crashed.copy, "dead")
    crashed.orphans.sweep()
    assert not crashed.objects.exists(key)
    assert crashed.store.blobs.unused() == []
