"""Settles what a crash left behind: versions that stay PENDING with nobody copying, and contents that no version has.

On SQLite this server owns the database, so whatever is PENDING at its start is an orphan. Later, and on PostgreSQL where
other replicas may be copying, a version is one when its copy has given no sign of life for a minute of this server's
own clock: on SQLite too, since a copy that could not write its end is over.
"""

from __future__ import annotations

import logging
import threading
import time

from fivefold_registry.copying import key_of
from fivefold_registry.store.records import VersionRecord
from fivefold_registry.store.sql import Store
from fivefold_registry.store.versions import CopyLost
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.objects import Objects
from fivefold_runtime.sql import Database

log = logging.getLogger(__name__)

_LOOK_SECONDS = 15.0  # between two looks
_DEAD_SECONDS = 60.0  # without a sign of life
_WHY = "the copy stopped without an end: its server did, or its store failed; make another version"


class Orphans:
    """Background work of an App."""

    def __init__(self, database: Database, store: Store, objects: Objects) -> None:
        self._database = database
        self._store = store
        self._objects = objects
        self._alone = database.is_sqlite
        self._seen: dict[str, tuple[int, float]] = {}  # copier -> (its beats, when they were seen first)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="orphans", daemon=True)

    def start(self) -> None:
        """Settles what is known to be orphaned before the first call is taken."""
        if self._alone:
            for version in self._store.versions.pending():
                self._settle(version)
        self._thread.start()
        self.sweep()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> None:
        """Removes contents that no version refers to; what cannot be removed now is tried again at the next sweep."""
        try:
            self._store.blobs.remove(self._store.blobs.unused(), lambda sha256: self._objects.delete(key_of(sha256)))
        except FivefoldError as error:
            log.warning("contents not removed", extra={"reason": error.reason})

    def look(self, now: float) -> None:
        """Settles versions that were silent for too long. `now` is monotonic seconds."""
        pending = self._store.versions.pending()
        before, self._seen = self._seen, {}
        for version in pending:
            beats, since = before.get(version.copier, (version.beats, now))
            if beats != version.beats:
                beats, since = version.beats, now
            if now - since >= _DEAD_SECONDS:
                self._settle(version)
            else:
                self._seen[version.copier] = (beats, since)

    def _settle(self, version: VersionRecord) -> None:
        try:
            self._store.versions.fail(version, _WHY)
            log.warning("version orphaned", extra={"model_version": str(version.name)})
        except CopyLost:
            pass  # Its copy, or another server, was faster.

    def _loop(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.look(time.monotonic())
            except FivefoldError as error:
                log.warning("orphans not settled", extra={"reason": error.reason})
