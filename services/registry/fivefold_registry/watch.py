"""Streams of events: from any past position on, in order, each watcher seeing only what it may read.

The newest events are decoded once and kept for all watchers, so that two hundred of them cost one read of the outbox.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence

from fivefold_registry.names import MODELS
from fivefold_registry.store.events import event_of
from fivefold_registry.store.protocol import ModelStore
from fivefold_registry.store.records import EventRecord
from fivefold_runtime import calls
from fivefold_runtime.errors import FieldViolation, OutOfRange
from fivefold_runtime.levels import Level
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.policy import Authorizer

_PAGE = 500  # events in one message
_KEPT = 2_000  # newest events in memory
_SIGN_OF_LIFE = 5.0  # seconds between two messages at the most, well below the promised 10
_WAIT = 1.0  # seconds between two looks whether the stream should end


class Feed:
    """The newest events of the outbox, in memory. Safe for use by many threads."""

    def __init__(self, outbox: Outbox, kept: int = _KEPT) -> None:
        """kept  how many events stay in memory"""
        self._outbox = outbox
        self._most = kept
        self._lock = threading.Lock()
        self._kept: list[EventRecord] = []
        self._floor = outbox.latest()  # everything after it, up to the newest known, is kept

    def after(self, position: int) -> Sequence[EventRecord]:
        """Returns the next events after a position, oldest first; empty when there are none yet."""
        with self._lock:
            if position >= self._floor:
                if not self._kept or self._kept[-1].position <= position:
                    self._more()
                start = bisect_right(self._kept, position, key=lambda event: event.position)
                return self._kept[start : start + _PAGE]
        return [event_of(event) for event in self._outbox.read(position, limit=_PAGE)]

    def _more(self) -> None:
        newest = self._kept[-1].position if self._kept else self._floor
        self._kept.extend(event_of(event) for event in self._outbox.read(newest, limit=_PAGE))
        surplus = len(self._kept) - self._most
        if surplus > 0:
            self._floor = self._kept[surplus - 1].position
            del self._kept[:surplus]


class Watching:
    """Serves watchers, each on a thread of its own."""

    def __init__(self, outbox: Outbox, models: ModelStore, authorizer: Authorizer, trimmed: Callable[[], int]) -> None:
        """trimmed  tells up to which position events may be gone"""
        self._outbox = outbox
        self._trimmed = trimmed
        self._feed = Feed(outbox)
        self._models = models
        self._authorizer = authorizer

    def begin(self, after: int, only_new: bool) -> int:
        """Returns the position to begin after; 0 means from the oldest event that is kept.

        Raises OutOfRange for one that no event has had yet, and for one after which events may be gone.
        """
        latest, trimmed = self._outbox.latest(), self._trimmed()
        if only_new:
            return latest
        why = ""
        if after > latest:
            why = f"is {after}; the last event has position {latest}"
        elif 0 < after < trimmed:
            why = f"is {after}; events are kept from position {trimmed + 1} on"
        if why:
            fields = (FieldViolation("after_position", why),)
            raise OutOfRange(f"after_position {why}", fields=fields, field="after_position", value=after, latest=latest)
        return after

    def events(self, position: int, models: Collection[str]) -> Iterator[tuple[list[EventRecord], int]]:
        """Yields (events, position that is reached with them), at once and then whenever there is something to say.

        models  ids of models; empty means all

        Ends only by ShuttingDown or DeadlineExceeded, which also stands for a watcher that went away.
        """
        yield [], position
        said = time.monotonic()
        while True:
            calls.check()
            found = self._feed.after(position)
            if found:
                position = found[-1].position
            seen = self._seen([event for event in found if not models or event.model in models or event.old in models])
            if seen or time.monotonic() - said >= _SIGN_OF_LIFE:
                yield seen, position
                said = time.monotonic()
            if not found:
                self._outbox.wait(position, _WAIT)

    def _seen(self, found: list[EventRecord]) -> list[EventRecord]:
        """Returns the events that the caller may read.

        An event belongs to one registration of its model: who may read a new model of an old name does not see the old
        one's events. A deletion is seen by those who could read the model until then.
        """
        if not found or self._authorizer.level(MODELS) >= Level.CAN_READ:
            return found
        readable = self._models.readable(list({event.model_id for event in found}), self._authorizer)
        names = set(calls.caller().names())
        return [event for event in found if event.model_id in readable or not names.isdisjoint(event.readers)]
