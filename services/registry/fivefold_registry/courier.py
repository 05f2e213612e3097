"""Brings events out of the registry: the outbox becomes deliveries, each sent at least once, in order per sink and model.

One thread turns events into deliveries, and moves the position on in the same transaction; another hands those whose time
has come to a few workers. All that must survive is in rows, so a kill at any point costs at most a second sending. One
sink, however slow, takes at most a quarter of the workers; all mail together counts as one sink.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

from prometheus_client import Counter as Metric

from fivefold_registry.lease import Lease
from fivefold_registry.store.events import event_of
from fivefold_registry.store.outgoing import MAIL, DeliveryRecord, DeliveryState, Draft, LeaseLost, Result
from fivefold_registry.store.outgoing_protocol import DeliveryStore
from fivefold_registry.store.records import EventRecord
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database

log = logging.getLogger(__name__)

_BATCH = 100  # events that are read at once
_REMEMBERED = 1_000  # positions after which it is written how far events are done
_LOOK_SECONDS = 0.5  # between two looks for deliveries that another server made due
_ALONE_SECONDS = 5.0  # and where there is no other server
_WAIT_SECONDS = 0.2  # between two looks whether the server stops
_REST_SECONDS = 1.0  # after the database refused
_DEFECT_SECONDS = 60.0  # before what failed for no known reason is tried again
_TRIM_SECONDS = 600.0  # between two times that old rows are deleted
_LEAVE_SECONDS = 15.0  # what sendings get when the server stops


class Channel(Protocol):
    """One kind of sink."""

    def drafts(self, event: EventRecord) -> list[Draft]:
        """Returns the deliveries to make of an event; after a crash it is asked again."""
        ...

    def send(self, delivery: DeliveryRecord) -> Result:
        """Sends it once, and says what became of it."""
        ...

    def close(self) -> None:
        """Breaks off what is being sent."""
        ...


class Courier:
    """Background work of an App. `channels` are by the kind of sink that stands before the slash."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        store: DeliveryStore,
        channels: Mapping[str, Channel],
        *,
        workers: int,
        log_kept: timedelta,
        events_kept: timedelta,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._store = store
        self._channels = channels
        self._workers = workers
        self._share = max(1, workers // 4)
        self._log_kept, self._events_kept = log_kept, events_kept
        self._lease = Lease(store, alone=database.is_sqlite)
        self.attempts = Metric(
            "fivefold_registry_deliveries",
            "Attempts to send to webhooks and by mail, by what became of the delivery; pending: it is tried again",
            ["kind", "state"],
            registry=None,
        )
        self._trim_at = 0.0  # monotonic
        self._reached: int | None = None  # events up to here are done, as far as this server knows
        self._kept = 0  # and up to here in the database
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._told = False  # under `_news`: something is due that was not
        self._running: dict[tuple[str, str], str] = {}  # under `_news`: lane -> what it counts as
        self._threads = [
            threading.Thread(target=self._loop, args=(step,), name=name, daemon=True)
            for name, step in (("courier-events", self._events), ("courier-due", self._deliver))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.wake()
        for channel in self._channels.values():
            channel.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        with self._news:
            self._news.wait_for(lambda: not self._running, _LEAVE_SECONDS)
        try:
            self._remember()
            self._lease.leave()
        except LeaseLost:
            pass  # Another server delivers already.
        except FivefoldError as error:
            log.warning("place not left to others", extra={"reason": error.reason})

    def wake(self) -> None:
        """Says that a delivery may have become due."""
        with self._news:
            self._told = True
            self._news.notify_all()

    def trim(self) -> None:
        """Deletes what is older than it is kept, in short transactions."""
        while not self._stop.is_set() and self._store.trim(self._log_kept, self._events_kept):
            pass

    def _loop(self, step: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                step()
            except LeaseLost:
                self._lease.held = False
            except FivefoldError as error:
                log.warning("deliveries wait", extra={"reason": error.reason})
                self._stop.wait(_REST_SECONDS)
            except Exception:
                log.exception("deliveries wait")
                self._stop.wait(_REST_SECONDS)

    def _events(self) -> None:
        """Makes deliveries of what has happened, or waits until something happens."""
        if not self._lease.held:
            self._reached = None
            self._stop.wait(_LOOK_SECONDS)
            return
        if self._reached is None:
            self._reached = self._kept = self._store.position()
        events = self._outbox.read(self._reached, limit=_BATCH)
        for event in map(event_of, events):
            drafts = [draft for channel in self._channels.values() for draft in channel.drafts(event)]
            if drafts:
                self._store.add(self._lease.owner, event, drafts)
                self._kept = event.position
                self.wake()
            self._reached = event.position
        if self._reached - self._kept >= _REMEMBERED:
            self._remember()
        if not events:
            while self._lease.held and not self._stop.is_set() and not self._outbox.wait(self._reached, _WAIT_SECONDS):
                pass

    def _remember(self) -> None:
        """Writes how far events are done. One that concerns nobody costs no transaction of its own."""
        reached = self._reached
        if reached is not None and self._lease.held:
            self._store.reach(self._lease.owner, reached)
            self._kept = reached

    def _deliver(self) -> None:
        """Hands out what is due, then waits for a free worker, for news, or for the next that becomes due."""
        now = time.monotonic()
        if not self._lease.keep(now):
            self._stop.wait(_LOOK_SECONDS)
            return
        if now >= self._trim_at:
            self._trim_at = now + _TRIM_SECONDS
            self._remember()
            self.trim()
        with self._news:
            self._told = False
            busy = set(self._running)
            counts = Counter(self._running.values())
        free = self._workers - len(busy)
        full = {kind for kind, count in counts.items() if count >= self._share}
        passed_over = False
        for delivery in self._store.due(free + len(busy), full) if free else ():
            kind = _counts_as(delivery.sink)
            if delivery.lane in busy or not free:
                continue
            if counts[kind] >= self._share:
                passed_over = True  # The next look leaves the sink out, and so finds those behind it.
                continue
            busy.add(delivery.lane)
            counts[kind] += 1
            free -= 1
            self._hand_out(delivery)
        if not passed_over:
            self._wait()

    def _hand_out(self, delivery: DeliveryRecord) -> None:
        with self._news:
            self._running[delivery.lane] = _counts_as(delivery.sink)
        threading.Thread(target=self._send, args=(delivery,), name="courier-send", daemon=True).start()

    def _send(self, delivery: DeliveryRecord) -> None:
        try:
            kind = delivery.sink.partition("/")[0]
            result = self._channels[kind].send(delivery)
            self.attempts.labels(kind, result.state).inc()
            if not self._stop.is_set():
                self._settle(delivery, result)
        except FivefoldError as error:
            log.warning("delivery waits", extra={"delivery": delivery.id, "reason": error.reason})
            self._stop.wait(_REST_SECONDS)
        except Exception:
            log.exception("delivery failed by a defect")
            self._stop.wait(_DEFECT_SECONDS)
        finally:
            with self._news:
                del self._running[delivery.lane]
                self._told = True
                self._news.notify_all()

    def _settle(self, delivery: DeliveryRecord, result: Result) -> None:
        """Writes what became of a delivery. When that cannot be written it is sent again: at least once, not once."""
        try:
            self._store.settle(self._lease.owner, delivery, result)
        except LeaseLost:
            self._lease.held = False
        except FivefoldError as error:
            log.warning("delivery not recorded", extra={"delivery": delivery.id, "reason": error.reason})
            self._stop.wait(_REST_SECONDS)
        if result.state is DeliveryState.FAILED:
            log.warning("delivery given up", extra={"delivery": delivery.id, "reason": result.reason})

    def _wait(self) -> None:
        next_due = self._store.next_due()
        seconds = _ALONE_SECONDS if self._database.is_sqlite else _LOOK_SECONDS
        if next_due is not None:
            seconds = min(seconds, max(0.0, (next_due - self._database.clock.now()).total_seconds()))
        with self._news:
            self._news.wait_for(lambda: self._told or self._stop.is_set(), seconds)


def _counts_as(sink: str) -> str:
    """Returns what a sink counts as when workers are shared out."""
    return MAIL if sink.startswith(f"{MAIL}/") else sink
