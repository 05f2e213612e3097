"""A queue of keys: each waits at most once, and is worked on by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class KeyedQueue:
    """Keys with the time from which they are due. Safe for use by many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}  # monotonic seconds, oldest first
        self._held: set[str] = set()
        self._closed = False

    def add(self, keys: Iterable[str], delay: float = 0.0) -> None:
        """Adds keys; one that waits already keeps the earlier time."""
        with self._changed:
            due = time.monotonic() + delay
            for key in keys:
                self._due[key] = min(due, self._due.get(key, due))
            self._changed.notify_all()

    def take(self) -> str | None:
        """Waits for a key that is due and that nobody holds, and holds it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                free = {key: due for key, due in self._due.items() if key not in self._held}
                ready = next((key for key, due in free.items() if due <= now), None)
                if ready is not None:
                    del self._due[ready]
                    self._held.add(ready)
                    return ready
                self._changed.wait(min(free.values()) - now if free else None)
        return None

    def done(self, key: str) -> None:
        """Lets go of a key that `take` gave out."""
        with self._changed:
            self._held.discard(key)
            self._changed.notify_all()

    @contextmanager
    def holding(self, key: str) -> Iterator[None]:
        """Holds a key during the block, after whoever holds it now."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._held or self._closed)
            self._held.add(key)
        try:
            yield
        finally:
            self.done(key)

    @property
    def held(self) -> frozenset[str]:
        """The keys that someone holds."""
        with self._changed:
            return frozenset(self._held)

    def close(self) -> None:
        """Ends all waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
