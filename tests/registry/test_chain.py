"""Tampering with what happened is found: an edit, a gap, a cut tail, another order, hashes made anew."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, text, update

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_registry.chain import Chain, Fault, Head, Link, Verdict
from fivefold_registry.chainkey import chain_key
from fivefold_registry.lifecycle import Stage
from fivefold_registry.store.rows import chain_parts
from fivefold_registry.store.sql import MIGRATIONS, Store
from fivefold_registry.store.tables import activities, comments, deleted_versions, models
from fivefold_registry.store.tables import chain_key as chain_key_table
from fivefold_runtime import migration
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.settings import StartError
from fivefold_runtime.sql import Database, engine_for, sqlite_in
from fivefold_runtime.testing import serve
from tests.registry.client import STAGING, Registry
from tests.registry.drivers import KEY, StoreDriver
from tests.registry.sources import Sources

OURS, THEIRS = Chain(b"ours"), Chain(b"theirs")
parts = st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers() | st.booleans()), min_size=1, max_size=6)


def linked(chain: Chain, told: list[tuple[object, ...]]) -> list[Link]:
    links: list[Link] = []
    for sequence, each in enumerate(told, start=1):
        before = links[-1].hash if links else ""
        links.append(Link(sequence, (sequence, *each), chain.hash(before, (sequence, *each))))  # type: ignore[arg-type]
    return links


def head_of(links: list[Link]) -> Head:
    return Head(links[-1].sequence, links[-1].hash) if links else Head()


@given(parts)
def test_a_chain_that_nobody_touched_is_valid(told: list[tuple[object, ...]]) -> None:
    links = linked(OURS, told)
    for known in [None, Head(), *(Head(link.sequence, link.hash) for link in links)]:
        assert OURS.check(links, head_of(links), known) == Verdict(len(links), head_of(links))


@given(parts, st.data())
def test_any_edit_is_found_at_its_place(told: list[tuple[object, ...]], data: st.DataObject) -> None:
    links = linked(OURS, told)
    place = data.draw(st.integers(0, len(links) - 1))
    links[place] = Link(place + 1, (*links[place].parts, "more"), links[place].hash)
    verdict = OURS.check(links, head_of(links))
    assert (verdict.fault, verdict.bad) == (Fault.EDITED, place + 1)


@given(parts, st.data())
def test_a_link_that_was_taken_out_is_found(told: list[tuple[object, ...]], data: st.DataObject) -> None:
    links = linked(OURS, told)
    written = head_of(links)
    place = data.draw(st.integers(0, len(links) - 1))
    del links[place]
    verdict = OURS.check(links, written)
    assert (verdict.fault, verdict.bad) == (Fault.CUT if place == len(links) else Fault.MISSING, place + 1)


@given(parts, st.data())
def test_a_cut_that_the_model_forgot_too_is_found_by_a_head_kept_elsewhere(
    told: list[tuple[object, ...]], data: st.DataObject
) -> None:
    links = linked(OURS, told)
    kept = head_of(links)
    left = links[: data.draw(st.integers(0, len(links) - 1))]
    assert OURS.check(left, head_of(left)).fault is None
    verdict = OURS.check(left, head_of(left), kept)
    assert (verdict.fault, verdict.bad) == (Fault.CUT, len(left) + 1)


@given(parts)
def test_a_chain_made_anew_with_another_key_is_found(told: list[tuple[object, ...]]) -> None:
    links = linked(THEIRS, told)
    verdict = OURS.check(links, head_of(links), Head(1, linked(OURS, told)[0].hash))
    assert (verdict.fault, verdict.bad) == (Fault.RECOMPUTED, 1)
    assert OURS.check(links, head_of(links)).fault is (Fault.RECOMPUTED if len(links) > 1 else Fault.EDITED)


@given(parts)
def test_a_chain_made_anew_with_the_key_is_found_by_a_head_kept_elsewhere(told: list[tuple[object, ...]]) -> None:
    kept = head_of(linked(OURS, told))
    anew = linked(OURS, [("other",), *told[1:]])
    assert OURS.check(anew, head_of(anew)).fault is None
    verdict = OURS.check(anew, head_of(anew), kept)
    assert (verdict.fault, verdict.bad) == (Fault.RECOMPUTED, kept.sequence)


def test_links_that_changed_places_are_found() -> None:
    links = linked(OURS, [("a",), ("b",), ("c",), ("d",)])
    first, second = links[1], links[2]
    links[1:3] = [Link(2, (2, *second.parts[1:]), second.hash), Link(3, (3, *first.parts[1:]), first.hash)]
    verdict = OURS.check(links, head_of(links))
    assert (verdict.fault, verdict.bad) == (Fault.EDITED, 2)


def test_a_link_that_was_put_at_the_end_is_found() -> None:
    links = linked(OURS, [("a",), ("b",)])
    verdict = OURS.check(linked(OURS, [("a",), ("b",), ("c",)]), head_of(links))
    assert (verdict.fault, verdict.bad) == (Fault.ADDED, 3)


def _pretend_deleted(tx: Connection) -> None:
    """Takes the texts away as if their version had been deleted, which no activity tells."""
    model = tx.execute(select(models.c.id)).scalar_one()
    tx.execute(delete(comments))
    gone = insert(deleted_versions).values(model_id=model, number=1, creator="x", created=1, deleted=1)
    tx.execute(gone)


@pytest.fixture
def told(database: Database) -> StoreDriver:
    """A model with a comment, four moves and another comment."""
    registry = StoreDriver(database)
    registry.model()
    version = registry.version()
    registry.remark(version, "fine")
    for stage in (Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED, Stage.STAGING):
        registry.move(version, stage)
    registry.remark(version, "done")
    assert registry.verify().count == 6
    return registry


def _recompute(tx: Connection, key: bytes) -> None:
    """What someone with write access, and perhaps the key, would do to hide an edit."""
    head = ""
    for row in tx.execute(select(activities).order_by(activities.c.sequence)).all():
        head = Chain(key).hash(head, chain_parts(row.model_id, row))
        tx.execute(update(activities).where(activities.c.sequence == row.sequence).values(hash=head))
    tx.execute(update(models).values(head=head))


def _swap(tx: Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tx.execute(update(activities).where(activities.c.sequence == old).values(sequence=new))


def _forge(tx: Connection) -> None:
    tx.execute(update(activities).where(activities.c.sequence == 3).values(user="someone"))


TAMPERING: dict[str, tuple[Callable[[Connection], object], Fault, int]] = {
    "edited": (_forge, Fault.EDITED, 3),
    "stage": (
        lambda tx: tx.execute(update(activities).where(activities.c.sequence == 2).values(to_stage="None")),
        Fault.EDITED,
        2,
    ),
    "deleted": (lambda tx: tx.execute(delete(activities).where(activities.c.sequence == 4)), Fault.MISSING, 4),
    "first deleted": (lambda tx: tx.execute(delete(activities).where(activities.c.sequence == 1)), Fault.MISSING, 1),
    "cut": (lambda tx: tx.execute(delete(activities).where(activities.c.sequence >= 5)), Fault.CUT, 5),
    "swapped": (_swap, Fault.EDITED, 2),
    "another key": (lambda tx: (_forge(tx), _recompute(tx, b"guess")), Fault.RECOMPUTED, 1),
    "text": (lambda tx: tx.execute(update(comments).where(comments.c.sequence == 1).values(text="x")), Fault.EDITED, 1),
    "text deleted": (lambda tx: tx.execute(delete(comments).where(comments.c.sequence == 6)), Fault.EDITED, 6),
    "pretended deletion": (_pretend_deleted, Fault.EDITED, 1),
    "hash": (lambda tx: tx.execute(update(models).values(head="0" * 64)), Fault.RECOMPUTED, 6),
}


@pytest.mark.parametrize("tampering", TAMPERING)
def test_what_is_done_to_the_rows_is_found(told: StoreDriver, database: Database, tampering: str) -> None:
    tamper, fault, bad = TAMPERING[tampering]
    with database.write() as tx:
        tamper(tx)
    verdict = told.verify()
    assert (verdict.fault, verdict.bad) == (fault, bad)


def test_who_has_the_key_too_is_found_by_a_head_kept_elsewhere(told: StoreDriver, database: Database) -> None:
    kept = told.verify().head
    with database.write() as tx:
        _forge(tx)
        _recompute(tx, KEY)
    assert told.verify().fault is None
    assert told.verify(kept).fault is Fault.RECOMPUTED


def test_a_tail_cut_with_all_its_traces_is_found_by_a_head_kept_elsewhere(
    told: StoreDriver, database: Database
) -> None:
    kept = told.verify().head
    with database.write() as tx:
        before = tx.execute(select(activities.c.hash).where(activities.c.sequence == 4)).scalar_one()
        tx.execute(delete(activities).where(activities.c.sequence > 4))
        tx.execute(delete(comments).where(comments.c.sequence > 4))
        tx.execute(update(models).values(activities=4, head=before))
    assert told.verify().fault is None
    verdict = told.verify(kept)
    assert (verdict.fault, verdict.bad) == (Fault.CUT, 5)


def test_another_models_chain_does_not_matter(told: StoreDriver, database: Database) -> None:
    told.model("fraud")
    told.remark(told.version("fraud"), "hi")
    with database.write() as tx:
        _forge(tx)
    assert told.verify(id="fraud").fault is None


def test_the_answer_names_the_activity_and_its_version(registry: Registry, data: Path) -> None:
    registry.model()
    name = registry.make().name
    for stage in (STAGING, pb.STAGE_ARCHIVED, STAGING):
        registry.move(name, stage)
    good = registry.verify()
    assert (good.valid, good.count, good.first_bad, good.head.sequence) == (True, 3, "", 3)
    assert registry.verify(expected=good.head).valid
    assert registry.verify(expected=pb.ActivityHead(sequence=9, hash="0" * 64)).first_bad == "models/churn/activities/4"
    engine = engine_for(sqlite_in(data))
    with engine.begin() as tx:
        tx.execute(update(activities).where(activities.c.sequence == 2).values(comment="I never wrote that"))
    engine.dispose()
    bad = registry.verify()
    assert not bad.valid
    assert (bad.first_bad, bad.fault) == (f"{name}/activities/2", pb.CHAIN_FAULT_EDITED)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_activities_from_before_the_chain_get_one_at_the_next_start(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = sqlite_in(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_url")
    older = engine_for(url)
    migration.upgrade(older, MIGRATIONS, until="0001")
    with older.begin() as tx:
        for statement in OLD:
            tx.execute(text(statement))
    older.dispose()
    database = Database.open(url, migrations=MIGRATIONS)
    registry = StoreDriver(database)
    assert registry.verify().fault is Fault.RECOMPUTED
    registry.store.audit.begin()
    assert registry.verify() == Verdict(2, registry.verify().head)
    registry.store.audit.begin()
    assert registry.told("models/churn") == ["NEW_COMMENT v1", "APPLIED_TRANSITION v1 NONE>STAGING"]
    registry.edit("models/churn/versions/1/comments/1", "changed")
    registry.move("models/churn/versions/1", Stage.PRODUCTION)
    assert registry.verify().fault is None
    with database.write() as tx:
        tx.execute(update(activities).where(activities.c.sequence == 2).values(user="someone"))
    assert registry.verify().bad == 2
    database.close()


OLD = [
    "INSERT INTO models VALUES ('m', 'churn', '', '{}', false, false, false, 'local', 1, 1, 1, 1, 2)",
    "INSERT INTO versions VALUES ('m', 1, 'Staging', false, 'ready', '', '', '', 0, '', '{}', '', '', '', '', '[]', '',"
    " '', '[]', '[]', '[]', '', 'local', 1, 1, 1)",
    "INSERT INTO activities VALUES ('m', 1, 1, 'new_comment', 'local', NULL, NULL, '', 1, false, false)",
    "INSERT INTO comments VALUES ('m', 1, 1, 'old', 'local', 1)",
    "INSERT INTO activities VALUES ('m', 2, 1, 'applied_transition', 'local', 'None', 'Staging', '', 2, false, false)",
]


def test_a_server_with_another_key_does_not_start(database: Database) -> None:
    StoreDriver(database).store.audit.begin()
    with pytest.raises(StartError, match="another key"):
        Store.over(database, Outbox(database), Chain(b"another")).audit.begin()


def test_the_key_is_a_private_file_that_stays(data: Path, sources: Sources) -> None:
    for _ in range(2):
        with serve(build, Config(data=str(data), tracking=sources.address)) as running:
            registry = Registry(running.channel, sources.model)
            registry.stub.CreateModel(pb.CreateModelRequest(model={"name": "models/churn"}, allow_existing=True))
            registry.comment(registry.make().name, "hello")
            assert registry.verify().valid
    file = data / "activity.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(chain_key("", str(data))) == 32
    file.unlink()
    with pytest.raises(StartError, match="another key"), serve(build, Config(data=str(data), tracking=sources.address)):
        pass
    file.write_text("nonsense")
    with pytest.raises(StartError, match="holds no key"):
        chain_key("", str(data))


def test_a_key_that_is_a_setting_has_a_length_that_cannot_be_guessed() -> None:
    with pytest.raises(StartError, match="too short"):
        Config(activity_key="secret").check()
    assert chain_key("x" * 32, "/nowhere") != chain_key("y" * 32, "/nowhere")


def test_a_database_is_bound_to_one_key(database: Database) -> None:
    StoreDriver(database).store.audit.begin()
    with database.read() as tx:
        assert tx.execute(select(chain_key_table.c.mark)).scalars().all() == [Chain(KEY).mark]
