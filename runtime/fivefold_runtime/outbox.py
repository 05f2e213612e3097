"""The outbox: events written with the change they tell of, read in the order of their commits.

Positions are given out under a lock that is held until the commit (SQLite's write lock; on PostgreSQL an advisory
lock, taken at the very end of the transaction), so a reader that has seen position n never misses a smaller one that
commits later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, insert, select, text

from fivefold_runtime.clock import micros
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import outbox

_LOCK = 0x6F757462  # PostgreSQL advisory lock of positions: "outb"
_POLL = 0.5  # seconds between two looks for events of other replicas


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `position` grows with the order of commits; there are gaps."""

    position: int
    topic: str
    key: str
    payload: bytes
    time: datetime  # when the change was made, by the server's clock


class Outbox:
    """The events of one database. One per server; safe for use by many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news = threading.Condition()
        self._latest = 0  # the newest position known here; waiters compare with it
        self._looked = 0.0  # when a waiter last asked the database, on the monotonic clock

    def append(self, tx: Connection, topic: str, key: str, payload: bytes) -> None:
        """Adds an event to the running write transaction; events of one transaction keep their order.

        topic  what kind of event ("stage-changed"); key  whose order matters ("models/churn")
        """
        row = {"topic": topic, "key": key, "payload": payload, "made": micros(self._database.clock.now())}
        self._database.before_commit(lambda connection: self._insert(connection, row))

    def read(
        self, after: int = 0, *, topics: Sequence[str] = (), key: str | None = None, limit: int = 500
    ) -> list[Event]:
        """Returns at most `limit` events after a position, oldest first. Empty `topics` and no `key`: all."""
        query = select(outbox).where(outbox.c.position > after).order_by(outbox.c.position).limit(limit)
        if topics:
            query = query.where(outbox.c.topic.in_(topics))
        if key is not None:
            query = query.where(outbox.c.key == key)
        with self._database.read() as tx:
            rows = tx.execute(query).all()
        return [Event(row.position, row.topic, row.key, row.payload, _moment(row.made)) for row in rows]

    def latest(self) -> int:
        """Returns the newest position, 0 when there has been no event."""
        with self._database.read() as tx:
            return tx.execute(select(func.max(outbox.c.position))).scalar() or 0

    def wait(self, after: int, timeout: float) -> bool:
        """Waits until there may be events after a position, at most `timeout` seconds; says whether there are.

        A Watch stream waits a second at most, then asks `calls.check()`, then waits again.
        """
        until = time.monotonic() + timeout
        while True:
            with self._news:
                left = until - time.monotonic()
                if self._latest > after or left <= 0:
                    return self._latest > after
                if self._database.is_sqlite or time.monotonic() - self._looked < _POLL:
                    self._news.wait(left if self._database.is_sqlite else min(left, _POLL))
                    continue
                self._looked = time.monotonic()  # One of all waiters looks for the events of other replicas.
            self._saw(self.latest())

    def _insert(self, connection: Connection, row: dict[str, object]) -> None:
        if not self._database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        position = connection.execute(insert(outbox).values(row).returning(outbox.c.position)).scalar_one()
        self._database.after_commit(lambda: self._saw(position))

    def _saw(self, position: int) -> None:
        with self._news:
            if position > self._latest:
                self._latest = position
                self._news.notify_all()


def _moment(micros_since_1970: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros_since_1970)
