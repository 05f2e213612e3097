"""Background work on files: compacts tables that have many, deletes files that were given up a while ago.

Several replicas may do the same work at once; the database takes one result, and deleting twice is no error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from fivefold_features.store import MetadataStore
from fivefold_runtime.clock import Clock, micros
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.objects import Objects

if TYPE_CHECKING:
    from fivefold_features.compacting import Compactor

log = logging.getLogger(__name__)

_TABLES = 100  # looked at in one round
_FILES = 500  # deleted at a time


class Upkeep:
    """Background work of an App."""

    def __init__(
        self,
        store: MetadataStore,
        objects: Objects,
        compactor: Callable[[], Compactor],
        clock: Clock,
        *,
        compact_after: int,
        grace_seconds: float,
        every_seconds: float,
    ) -> None:
        """Takes how many files a table may have (0: it is never compacted), how long readers get to end before a file
        that was given up is deleted, and how often to look."""
        self._store = store
        self._objects = objects
        self._compactor = compactor
        self._clock = clock
        self._compact_after = compact_after
        self._grace = timedelta(seconds=grace_seconds)
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def compact(self) -> int:
        """Compacts tables with too many files; returns how many."""
        if not self._compact_after:
            return 0
        done = 0
        for table in self._store.uncompacted(self._compact_after, _TABLES):
            if self._stopped.is_set():
                break
            try:
                self._compactor().compact(table)
                done += 1
            except FivefoldError as error:  # The table may be gone meanwhile, or the disk full: the next one may do.
                log.warning("table not compacted", extra={"table": table, "reason": error.reason})
        return done

    def delete(self) -> int:
        """Deletes files that were given up long enough ago; returns how many."""
        done = 0
        while keys := self._store.retired(micros(self._clock.now() - self._grace), _FILES):
            for key in keys:
                self._objects.delete(key)
            self._store.forget_retired(keys)
            done += len(keys)
        return done

    def _loop(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            for work in (self.compact, self.delete):
                try:
                    work()
                except FivefoldError as error:
                    log.warning("upkeep of files failed", extra={"work": work.__name__, "reason": error.reason})
                except Exception:
                    log.exception("upkeep of files failed by a defect", extra={"work": work.__name__})
