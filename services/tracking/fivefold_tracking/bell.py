"""Wakes those who wait for news of a run, once what was written of it is durable. Knows only this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Bell:
    """Safe for use by many threads. Ringing costs nothing where nobody listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, set[threading.Event]] = {}

    def ring(self, run: str) -> None:
        """Wakes the listeners of a run."""
        if run in self._listeners:
            with self._lock:
                for event in self._listeners.get(run, ()):
                    event.set()

    @contextmanager
    def listening(self, run: str) -> Iterator[threading.Event]:
        """Gives an event that is set by every ring. Clear it before looking for news, and none is missed."""
        event = threading.Event()
        with self._lock:
            self._listeners.setdefault(run, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._listeners[run].discard(event)
                if not self._listeners[run]:
                    del self._listeners[run]

    @property
    def listeners(self) -> int:
        """How many listen at the moment, to whatever run."""
        with self._lock:
            return sum(map(len, self._listeners.values()))
