"""Deliveries in SQL.

The courier's row is locked first by all that changes deliveries: so the one that delivers is the only one that does, what
another server finds out too late is refused, and no delivery is written while the one before it is being settled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, func, not_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.store.outgoing import MAIL, DeliveryRecord, DeliveryState, Draft, LeaseLost, Result
from fivefold_registry.store.outgoing_tables import courier, deliveries
from fivefold_registry.store.records import EventRecord
from fivefold_registry.store.rows import Row, moment
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import outbox

_AT_A_TIME = 1_000  # rows that one transaction trims
_PENDING = deliveries.c.state == DeliveryState.PENDING


class SqlDeliveries:
    """Keeps the promises of DeliveryStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, owner: str, seen: tuple[str, int] | None) -> bool:
        with self._database.write() as tx:
            row = lock(tx)
            if row.owner not in ("", owner) and (row.owner, row.beats) != seen:
                return False
            tx.execute(update(courier).values(owner=owner, beats=courier.c.beats + 1))
            return True

    def beat(self, owner: str) -> bool:
        with self._database.write() as tx:
            beaten = update(courier).where(courier.c.owner == owner).values(beats=courier.c.beats + 1)
            return tx.execute(beaten).rowcount == 1

    def leave(self, owner: str) -> None:
        with self._database.write() as tx:
            tx.execute(update(courier).where(courier.c.owner == owner).values(owner=""))

    def holder(self) -> tuple[str, int]:
        with self._database.read() as tx:
            row = tx.execute(select(courier)).one()
        return row.owner, row.beats

    def position(self) -> int:
        with self._database.read() as tx:
            return tx.execute(select(courier.c.position)).scalar_one()

    def add(self, owner: str, event: EventRecord, drafts: Iterable[Draft]) -> int:
        now, made = self._now(), list(drafts)

        def work(tx: Connection) -> int:
            _hold(tx, owner)
            tx.execute(update(courier).values(position=event.position))
            return sum(self._insert(tx, event, draft, now) for draft in made)

        return self._database.run(work)

    def reach(self, owner: str, position: int) -> None:
        with self._database.write() as tx:
            _hold(tx, owner)
            tx.execute(update(courier).values(position=position))

    def due(self, limit: int, without: Collection[str]) -> list[DeliveryRecord]:
        query = (
            select(deliveries).where(deliveries.c.due <= self._now()).order_by(deliveries.c.due, deliveries.c.position)
        )
        sinks = [sink for sink in without if sink != MAIL]
        if sinks:
            query = query.where(deliveries.c.sink.not_in(sinks))
        if MAIL in without:
            query = query.where(not_(deliveries.c.sink.startswith(f"{MAIL}/")))
        with self._database.read() as tx:
            return [_record(row) for row in tx.execute(query.limit(limit))]

    def next_due(self) -> datetime | None:
        query = select(func.min(deliveries.c.due)).where(deliveries.c.due > self._now())
        with self._database.read() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else moment(found)

    def settle(self, owner: str, delivery: DeliveryRecord, result: Result) -> None:
        self._database.run(lambda tx: self._settle(tx, owner, delivery, result))

    def list(
        self, sink: str, states: Collection[DeliveryState], before: int | None, limit: int
    ) -> list[DeliveryRecord]:
        query = select(deliveries).where(deliveries.c.sink == sink).order_by(deliveries.c.position.desc()).limit(limit)
        if states:
            query = query.where(deliveries.c.state.in_(list(states)))
        if before is not None:
            query = query.where(deliveries.c.position < before)
        with self._database.read() as tx:
            return [_record(row) for row in tx.execute(query)]

    def again(self, sink: str, position: int) -> DeliveryRecord:
        now = self._now()
        with self._database.write() as tx:
            lock(tx)
            row = tx.execute(select(deliveries).where(_is(sink, position))).one_or_none()
            if row is None:
                raise NotFound.of(f"{sink}/deliveries/{position}")
            fresh = {
                "state": DeliveryState.PENDING,
                "begun": max(now, row.begun + 1),  # what an attempt that is under way will say does not count any more
                "attempts": 0,
                "due": None,
                "status_code": 0,
                "reason": "",
            }
            tx.execute(update(deliveries).where(_is(sink, position)).values(fresh))
            first = self._first(tx, (sink, row.model_id))
            later = and_(_of((sink, row.model_id)), deliveries.c.position != first)
            tx.execute(update(deliveries).where(later).values(due=None))
            self._promote(tx, (sink, row.model_id))
            return _record(tx.execute(select(deliveries).where(_is(sink, position))).one())

    def sent_today(self, sink: str, event: str, since: datetime) -> int:
        query = select(func.count()).where(
            deliveries.c.sink == sink, deliveries.c.event == event, deliveries.c.begun >= micros(since)
        )
        with self._database.read() as tx:
            return tx.execute(query).scalar_one()

    def trim(self, log: timedelta, events: timedelta) -> int:
        now = self._database.clock.now()
        with self._database.write() as tx:
            row = lock(tx)
            return _trim_log(tx, micros(now - log)) + _trim_events(tx, micros(now - events), row)

    def trimmed(self) -> int:
        with self._database.read() as tx:
            return tx.execute(select(courier.c.trimmed)).scalar_one()

    def _settle(self, tx: Connection, owner: str, delivery: DeliveryRecord, result: Result) -> None:
        _hold(tx, owner)
        row = tx.execute(select(deliveries).where(_is(delivery.sink, delivery.position))).one_or_none()
        if row is None or row.state != DeliveryState.PENDING or row.begun != micros(delivery.begun):
            return  # Its webhook was deleted, or somebody made it begin again meanwhile.
        values: dict[str, object] = {
            "status_code": result.status_code,
            "reason": result.reason,
            "state": result.state,
        }
        if result.tried:
            values |= {"attempts": deliveries.c.attempts + 1, "tried": self._now()}
        waits = result.state is DeliveryState.PENDING and self._first(tx, delivery.lane) == delivery.position
        values["due"] = micros(result.retry_at) if waits and result.retry_at is not None else None
        tx.execute(update(deliveries).where(_is(delivery.sink, delivery.position)).values(values))
        self._promote(tx, delivery.lane)

    def _insert(self, tx: Connection, event: EventRecord, draft: Draft, now: int) -> int:
        making = sqlite.insert if self._database.is_sqlite else postgresql.insert
        row = {
            "sink": draft.sink,
            "position": event.position,
            "model_id": event.model_id,
            "model": event.model,
            "event": draft.event,
            "body": draft.body,
            "state": DeliveryState.PENDING,
            "attempts": 0,
            "due": now if self._first(tx, (draft.sink, event.model_id)) is None else None,
            "happened": micros(event.time),
            "begun": now,
            "status_code": 0,
            "reason": "",
        }
        writing = making(deliveries).values(row).on_conflict_do_nothing().returning(deliveries.c.position)
        return 0 if tx.execute(writing).first() is None else 1

    def _first(self, tx: Connection, lane: tuple[str, str]) -> int | None:
        """Returns the position of the first that is pending in a lane."""
        return tx.execute(select(func.min(deliveries.c.position)).where(_of(lane))).scalar()

    def _promote(self, tx: Connection, lane: tuple[str, str]) -> None:
        """Makes the first that is pending in a lane due, unless its time is set."""
        first = self._first(tx, lane)
        if first is not None:
            waiting = and_(_is(lane[0], first), deliveries.c.due.is_(None))
            tx.execute(update(deliveries).where(waiting).values(due=self._now()))

    def _now(self) -> int:
        return micros(self._database.clock.now())


def lock(tx: Connection) -> Row:
    return tx.execute(select(courier).with_for_update()).one()


def _hold(tx: Connection, owner: str) -> None:
    if lock(tx).owner != owner:
        raise LeaseLost


def _trim_log(tx: Connection, before: int) -> int:
    key = tuple_(deliveries.c.sink, deliveries.c.position)
    old = (
        select(deliveries.c.sink, deliveries.c.position)
        .where(deliveries.c.state != DeliveryState.PENDING, deliveries.c.begun < before)
        .limit(_AT_A_TIME)
    )
    return tx.execute(delete(deliveries).where(key.in_(old))).rowcount


def _trim_events(tx: Connection, before: int, row: Row) -> int:
    """Deletes from the oldest event on, up to the first that is young, became no delivery yet, or is the newest."""
    young = tx.execute(
        select(outbox.c.position).where(outbox.c.made >= before).order_by(outbox.c.position).limit(1)
    ).scalar()
    newest = tx.execute(select(func.max(outbox.c.position))).scalar() or 0
    most = min(row.position, newest - 1, newest if young is None else young - 1)
    chosen = select(outbox.c.position).where(outbox.c.position <= most).order_by(outbox.c.position).limit(_AT_A_TIME)
    last = tx.execute(select(func.max(chosen.subquery().c.position))).scalar()
    if last is None:
        return 0
    tx.execute(update(courier).values(trimmed=last))
    return tx.execute(delete(outbox).where(outbox.c.position <= last)).rowcount


def _is(sink: str, position: int) -> ColumnElement[bool]:
    return and_(deliveries.c.sink == sink, deliveries.c.position == position)


def _of(lane: tuple[str, str]) -> ColumnElement[bool]:
    sink, model_id = lane
    return and_(deliveries.c.sink == sink, deliveries.c.model_id == model_id, _PENDING)


def _record(row: Row) -> DeliveryRecord:
    return DeliveryRecord(
        sink=row.sink,
        position=row.position,
        model_id=row.model_id,
        model=row.model,
        event=row.event,
        body=row.body,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due=None if row.due is None else moment(row.due),
        happened=moment(row.happened),
        begun=moment(row.begun),
        tried=None if row.tried is None else moment(row.tried),
        status_code=row.status_code,
        reason=row.reason,
    )
