"""What every adapter of webhooks, deliveries and subscriptions promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, event, func, select, update

from fivefold_registry.lease import DEAD_SECONDS, Lease
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.deliveries import SqlDeliveries, lock
from fivefold_registry.store.details import SqlDetails
from fivefold_registry.store.events import event_of
from fivefold_registry.store.outgoing import (
    MOST,
    Activity,
    DeliveryRecord,
    DeliveryState,
    Draft,
    LeaseLost,
    Result,
    WebhookChange,
    WebhookStatus,
)
from fivefold_registry.store.outgoing_tables import deliveries as table
from fivefold_registry.store.records import EventRecord, EventType, Lineage, VersionDraft
from fivefold_registry.store.sql import MIGRATIONS
from fivefold_registry.store.subscriptions import SqlSubscriptions
from fivefold_registry.store.webhooks import SqlWebhooks
from fivefold_registry.webhooks.events import WebhookEvent
from fivefold_runtime.errors import Aborted, NotFound
from fivefold_runtime.principal import Principal
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.tables import outbox
from fivefold_runtime.validation import TooManyItems
from tests.registry.drivers import StoreDriver

ME = "a" * 32
HOOK, OTHER = "webhooks/one", "webhooks/two"
NOW = datetime.now(UTC)
DONE = Result(state=DeliveryState.DELIVERED, status_code=200)


@pytest.fixture
def store(database: Database) -> SqlDeliveries:
    made = SqlDeliveries(database)
    assert made.take(ME, None)
    return made


def happened(position: int, model: str = "m") -> EventRecord:
    return EventRecord(
        position=position,
        type=EventType.COMMENT_CREATED,
        model_id=model,
        model=model,
        number=1,
        from_stage=None,
        to_stage=None,
        user="ada",
        subject="",
        readers=frozenset(),
        time=NOW,
    )


def add(store: SqlDeliveries, position: int, model: str = "m", *sinks: str) -> int:
    drafts = [Draft(sink=sink, event="comment_created", body="{}") for sink in sinks or (HOOK,)]
    return store.add(ME, happened(position, model), drafts)


def due(store: SqlDeliveries, *without: str) -> list[tuple[str, int]]:
    return sorted((one.sink, one.position) for one in store.due(100, without))


def one(store: SqlDeliveries, position: int, sink: str = HOOK) -> DeliveryRecord:
    return next(found for found in store.list(sink, (), None, 100) if found.position == position)


def test_an_event_becomes_one_delivery_per_sink_however_often_it_is_written(store: SqlDeliveries) -> None:
    assert add(store, 5, "m", HOOK, OTHER) == 2
    assert add(store, 5, "m", HOOK, OTHER) == 0
    assert store.position() == 5
    store.reach(ME, 9)
    assert store.position() == 9


def test_of_one_sink_and_model_only_the_first_that_waits_is_due(store: SqlDeliveries) -> None:
    for position, model in ((1, "a"), (2, "a"), (3, "b"), (4, "a")):
        add(store, position, model, HOOK, OTHER)
    assert due(store) == [(HOOK, 1), (HOOK, 3), (OTHER, 1), (OTHER, 3)]
    assert due(store, OTHER) == [(HOOK, 1), (HOOK, 3)]
    store.settle(ME, one(store, 1), DONE)
    assert due(store, OTHER) == [(HOOK, 2), (HOOK, 3)]
    later = Result(state=DeliveryState.PENDING, reason="no", retry_at=datetime.now(UTC) + timedelta(hours=1))
    store.settle(ME, one(store, 2), later)
    assert due(store, OTHER) == [(HOOK, 3)], "the fourth waits for the second"
    assert store.next_due() == later.retry_at
    assert (one(store, 2).attempts, one(store, 2).reason, one(store, 4).due) == (1, "no", None)
    store.settle(ME, one(store, 2), Result(state=DeliveryState.FAILED))
    assert due(store, OTHER) == [(HOOK, 3), (HOOK, 4)]


def test_mail_is_left_out_as_a_whole(store: SqlDeliveries) -> None:
    add(store, 1, "m", "mail/ada", "mail/bob", HOOK)
    assert due(store, "mail") == [(HOOK, 1)]


def test_a_delivery_made_to_begin_again_comes_before_those_that_wait(store: SqlDeliveries) -> None:
    for position in (1, 2, 3):
        add(store, position)
    store.settle(ME, one(store, 1), DONE)
    flying = one(store, 2)
    again = store.again(HOOK, 1)
    assert (again.state, again.attempts) == (DeliveryState.PENDING, 0)
    assert due(store) == [(HOOK, 1)]
    store.settle(ME, flying, Result(state=DeliveryState.PENDING, retry_at=NOW))
    assert due(store) == [(HOOK, 1)], "the second waits, though its attempt has failed meanwhile"
    store.settle(ME, one(store, 1), DONE)
    assert due(store) == [(HOOK, 2)]
    with pytest.raises(NotFound):
        store.again(HOOK, 4)


def test_what_an_attempt_says_does_not_count_once_its_delivery_began_again(store: SqlDeliveries) -> None:
    add(store, 1)
    flying = one(store, 1)
    store.again(HOOK, 1)
    store.settle(ME, flying, DONE)
    assert (one(store, 1).state, one(store, 1).attempts) == (DeliveryState.PENDING, 0)


def test_a_delivery_that_is_gone_or_over_is_not_settled(database: Database, store: SqlDeliveries) -> None:
    add(store, 1)
    flying = one(store, 1)
    store.settle(ME, flying, DONE)
    store.settle(ME, flying, Result(state=DeliveryState.FAILED))
    assert one(store, 1).state is DeliveryState.DELIVERED
    with database.write() as tx:
        tx.execute(delete(table))
    store.settle(ME, flying, DONE)
    assert store.list(HOOK, (), None, 9) == []


def test_who_lost_the_place_changes_nothing(store: SqlDeliveries) -> None:
    add(store, 1)
    assert not store.take("b" * 32, None)
    assert store.take("b" * 32, store.holder())
    for call in (lambda: add(store, 2), lambda: store.settle(ME, one(store, 1), DONE), lambda: store.reach(ME, 9)):
        with pytest.raises(LeaseLost):
            call()
    assert not store.beat(ME)
    assert (store.position(), one(store, 1).state) == (1, DeliveryState.PENDING)
    store.leave("b" * 32)
    assert store.take(ME, None)


def test_of_many_who_want_the_place_one_gets_it(database: Database) -> None:
    store = SqlDeliveries(database)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda number: store.take(f"{number:032}", None), range(8))) == 1


def test_a_server_takes_the_place_of_one_that_gives_no_sign_of_life(database: Database) -> None:
    store = SqlDeliveries(database)
    first, second = Lease(store, alone=False), Lease(store, alone=False)
    assert first.keep(0.0)
    assert not second.keep(0.0)
    assert first.keep(10.0), "a sign of life"
    assert not second.keep(DEAD_SECONDS + 1)
    assert not second.keep(DEAD_SECONDS + 5)
    assert second.keep(2 * DEAD_SECONDS + 2)
    assert not first.keep(2 * DEAD_SECONDS + 3)
    second.leave()
    assert first.keep(2 * DEAD_SECONDS + 4), "who leaves is followed at once"


def test_a_delivery_is_never_stranded_between_one_that_writes_and_one_that_settles(store: SqlDeliveries) -> None:
    """Whatever the order of the two, the next is due when the one before it is over."""
    for number in range(30):
        add(store, 2 * number + 1)
        first = one(store, 2 * number + 1)
        ready = threading.Barrier(2)

        def settle(first: DeliveryRecord = first, ready: threading.Barrier = ready) -> None:
            ready.wait()
            store.settle(ME, first, DONE)

        thread = threading.Thread(target=settle)
        thread.start()
        ready.wait()
        add(store, 2 * number + 2)
        thread.join()
        assert due(store) == [(HOOK, 2 * number + 2)]
        store.settle(ME, one(store, 2 * number + 2), DONE)


def test_no_delivery_changes_while_another_transaction_has_them(database: Database) -> None:
    """Neither a webhook's deletion nor its return to ACTIVE goes past the row that all others lock first."""
    store = SqlWebhooks(database)
    made = store.create("1" * 32, None, WebhookChange(status=WebhookStatus.DISABLED), Principal("ada"))
    for change in (
        lambda: store.update(made.id, WebhookChange(status=WebhookStatus.ACTIVE), "", Principal("ada")),
        lambda: store.delete(made.id, ""),
    ):
        thread = threading.Thread(target=change)
        with database.write() as tx:
            lock(tx)
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join()


def test_a_version_is_told_with_the_status_that_it_had_then(database: Database) -> None:
    """However late that is: one that failed may have been taken up again meanwhile."""
    driver, details = StoreDriver(database), SqlDetails(database)
    driver.model()
    draft = VersionDraft(source="runs/0/artifacts", attempt="one")
    versions = driver.store.versions
    versions.fail(versions.reserve(ModelName("churn"), draft, "ada"), "gone")
    again = versions.reserve(ModelName("churn"), draft, "ada")
    versions.finish(again, "", Lineage(), None)
    told = [event_of(event) for event in driver.outbox.read(topics=[EventType.MODEL_VERSION_CREATED])]
    assert [details.status(event) for event in told] == ["FAILED", "READY"]


def test_finished_deliveries_and_old_events_are_trimmed_and_what_is_needed_stays(database: Database) -> None:
    driver, store = StoreDriver(database), SqlDeliveries(database)
    driver.model()
    for _ in range(5):
        driver.version()
    events = [event_of(found) for found in driver.outbox.read()]
    store.take(ME, None)
    for event_ in events[:4]:
        store.add(ME, event_, [Draft(sink=HOOK, event="comment_created", body="{}")])
    store.settle(ME, one(store, events[0].position), DONE)
    assert store.trim(timedelta(days=1), timedelta(days=1)) == 0, "nothing is old"
    long_ago = 1_000_000
    with database.write() as tx:
        tx.execute(update(table).values(begun=long_ago))
        tx.execute(update(outbox).values(made=long_ago))
    while store.trim(timedelta(days=1), timedelta(days=1)):
        pass
    assert [found.position for found in store.list(HOOK, (), None, 9)] == [e.position for e in reversed(events[1:4])]
    assert [found.position for found in driver.outbox.read()] == [e.position for e in events[4:]], "not yet delivered"
    assert store.trimmed() == events[3].position
    store.reach(ME, events[-1].position)
    while store.trim(timedelta(days=1), timedelta(days=1)):
        pass
    assert driver.outbox.latest() == events[-1].position, "the newest stays, so that positions never begin anew"


def test_a_young_event_keeps_those_after_it(database: Database) -> None:
    driver, store = StoreDriver(database), SqlDeliveries(database)
    driver.model()
    driver.version()
    driver.version()
    first, *_, last = [found.position for found in driver.outbox.read()]
    store.take(ME, None)
    store.reach(ME, last)
    with database.write() as tx:
        tx.execute(update(outbox).where(outbox.c.position != first).values(made=1))
    assert store.trim(timedelta(days=1), timedelta(days=1)) == 0
    with database.read() as tx:
        assert tx.execute(select(func.count()).select_from(outbox)).scalar_one() == 3


def test_a_webhook_begins_after_what_has_happened(database: Database) -> None:
    driver, store = StoreDriver(database), SqlWebhooks(database)
    driver.model()
    ada = Principal("ada", frozenset({"team"}))
    first = WebhookChange(events=frozenset({WebhookEvent.COMMENT_CREATED}), url="https://x.example/", secret="sealed")
    made = store.create("1" * 32, ModelName("churn"), first, ada)
    assert (made.begin, made.owner, made.model, made.status) == (
        driver.outbox.latest(),
        ada,
        "churn",
        WebhookStatus.ACTIVE,
    )
    assert "sealed" not in repr(made) + repr(first)
    driver.version()
    off = store.update(made.id, WebhookChange(status=WebhookStatus.DISABLED), made.etag, Principal("bob"))
    assert (off.begin, off.owner, off.secret) == (made.begin, Principal("bob"), "sealed")
    assert store.active(str(made.model_id)) == []
    on = store.update(made.id, WebhookChange(status=WebhookStatus.ACTIVE), "", ada)
    assert on.begin == driver.outbox.latest()
    assert [one.id for one in store.active(str(made.model_id))] == [made.id]
    assert store.active("another") == []
    assert store.update(made.id, WebhookChange(description="x"), "", ada).begin == on.begin
    with pytest.raises(Aborted):
        store.delete(made.id, made.etag)
    assert store.owner_of(made.name) == store.owner_of(f"{made.name}/deliveries/3") == "models/churn"
    driver.delete()
    with pytest.raises(NotFound):
        store.owner_of(made.name)


def test_a_model_has_so_many_webhooks_and_no_more_whatever_the_concurrency(database: Database) -> None:
    StoreDriver(database).model()
    store, model, ada = SqlWebhooks(database), ModelName("churn"), Principal("ada")
    for number in range(MOST - 2):
        store.create(f"{number:032}", model, WebhookChange(), ada)

    def make(number: int) -> bool:
        try:
            store.create(f"{number:032}", model, WebhookChange(), ada)
        except TooManyItems:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(make, range(MOST, MOST + 6))) == 2
    store.create("f" * 32, None, WebhookChange(), ada)


def test_who_acts_follows_and_who_asked_hears(database: Database) -> None:
    driver, store = StoreDriver(database), SqlSubscriptions(database)
    driver.model()
    version = VersionName.parse(driver.version())
    model = ModelName("churn")
    for subject in ("ada", "bob", "cleo", "dan", "eve"):
        store.met(Principal(subject, frozenset({"team"}), email=f"{subject}@example.com"))
    comment = _told(driver, version, "ada")
    store.acted(comment)
    store.acted(comment)
    assert store.get(model, "ada").followed == (1,)
    assert store.get(model, "ada").activity is Activity.FOLLOWED
    store.follow(version, "bob")
    store.follow(version, "bob")
    store.update(model, "cleo", Activity.ALL, "elsewhere@example.com")
    store.follow(version, "dan")
    store.update(model, "dan", Activity.MUTE, None)
    store.update(model, "eve", None, "eve@example.org")
    store.follow(version, "nobody knows the address of frank")
    heard = {listener.principal.subject: listener.email for listener in store.listeners(comment)}
    assert heard == {"bob": "bob@example.com", "cleo": "elsewhere@example.com"}, "not who acted, not who is mute"
    assert store.listeners(comment)[0].principal.groups == {"team"}
    store.unfollow(version, "bob")
    store.update(model, "cleo", Activity.FOLLOWED, None)
    assert store.listeners(comment) == []
    assert store.get(model, "cleo").email == "elsewhere@example.com"
    driver.delete()
    store.acted(comment)
    with pytest.raises(NotFound):
        store.follow(version, "bob")


def _told(driver: StoreDriver, version: VersionName, user: str) -> EventRecord:
    driver.store.journal.comment(version, "text", user)
    return event_of(driver.outbox.read()[-1])


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda store, people: store.due(9, ()), "deliveries_due"),
        (lambda store, people: store.next_due(), "deliveries_due"),
        (lambda store, people: add(store, 7), "deliveries_pending"),
        (lambda store, people: store.trim(timedelta(1), timedelta(1)), "deliveries_over"),
        (lambda store, people: people.listeners(happened(1)), "subscriptions_by_model"),
        (lambda store, people: people.get(ModelName("churn"), "ada"), "followers_by_subject"),
    ],
)
def test_a_read_goes_along_its_index(tmp_path: Path, read, index: str) -> None:  # type: ignore[no-untyped-def]
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    StoreDriver(database).model()
    store, people = SqlDeliveries(database), SqlSubscriptions(database)
    store.take(ME, None)
    plans: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "DELETE")):
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            plans.append("; ".join(row[3] for row in rows))

    read(store, people)
    database.close()
    assert any(index in plan for plan in plans), plans
