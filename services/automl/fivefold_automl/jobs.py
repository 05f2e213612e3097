"""All jobs of this service: a queue, driver threads that take from it in order, and what an earlier life left."""

from __future__ import annotations

import logging
import queue
import threading

from fivefold_automl.parts import Parts
from fivefold_automl.store.jobs import JobStore

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0  # after a job that was interrupted by its own store


class Jobs:
    """Runs jobs in the background, `at_once` of them at the same time."""

    def __init__(self, store: JobStore, parts: Parts, at_once: int) -> None:
        self._store = store
        self._parts = parts
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._signals: dict[str, threading.Event] = {}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._drive, name=f"job-{number}", daemon=True) for number in range(at_once)
        ]

    def start(self) -> None:
        """Takes up the jobs that had not ended, oldest first."""
        for job in self._store.unended():
            self.launch(job)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops all jobs where they are; the next start goes on with them."""
        self._stopping.set()
        for signal in list(self._signals.values()):
            signal.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(10.0)

    def launch(self, job: str) -> None:
        """Queues a job."""
        self._signals[job] = threading.Event()
        self._queue.put(job)

    def look(self, job: str) -> None:
        """Says that a job was cancelled, in the store."""
        signal = self._signals.get(job)
        if signal is not None:
            signal.set()
        self._parts.recorder.wake()

    def _drive(self) -> None:
        while True:
            job = self._queue.get()
            if job is None or self._stopping.is_set():
                return
            # Brings pyarrow, NumPy and all that: the service answers long before it is needed.
            from fivefold_automl.run import JobRun

            try:
                JobRun(job, self._parts, self._signals[job], self._stopping).run()
            except Exception:  # Its own store failed it, as on a full disk: the journal stands, so it goes on later.
                log.exception("job interrupted; trying again", extra={"job": job})
                self._stopping.wait(_AGAIN_SECONDS)
                self._queue.put(job)
            else:
                del self._signals[job]
