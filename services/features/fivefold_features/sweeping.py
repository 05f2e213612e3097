"""Deletes files that nothing names: those of deleted tables, and what writes left that a crash or refusal ended.

A file is named soon after it is stored or never, so one that nobody named for a day is nobody's; its age is in its id.
Only a file that no transaction ever tried to name is deleted earlier: one whose commit failed may be named all the same.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from fivefold_features.online import OnlineStore
from fivefold_features.store import MetadataStore
from fivefold_features.streams import Streamed
from fivefold_runtime.clock import Clock, micros
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.objects import Objects

log = logging.getLogger(__name__)

_AGE = 24 * 3600 * 1000  # milliseconds
_EVERY_SECONDS = 3600.0
_RETRY_SECONDS = 60.0


class Sweeper:
    """Background work of an App: looks at the start and every hour, and deletes tables as it is told."""

    def __init__(self, store: MetadataStore, objects: Objects, online: OnlineStore, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._online = online
        self._clock = clock
        self._gone: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._left: list[str] = []  # tables whose online values or files could not be deleted yet
        self._thread = threading.Thread(target=self._loop, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._gone.put(None)
        self._thread.join()

    def table_gone(self, uid: str) -> None:
        """Has the files and online values of a deleted table deleted, soon."""
        self._gone.put(uid)

    def sweep(self) -> int:
        """Deletes old files that nothing names; returns how many."""
        oldest = micros(self._clock.now()) // 1000 - _AGE
        old = {key for key, _ in self._objects.list() if _made(key) < oldest}
        unnamed = self._store.unnamed(old)
        for key in unnamed:
            self._objects.delete(key)
        return len(unnamed)

    @contextmanager
    def untaken(self, streamed: Streamed) -> Iterator[Streamed]:
        """Deletes the files of a request that nobody has taken by the end of the block."""
        try:
            yield streamed
        finally:
            if not streamed.taken:
                for key in streamed.keys:
                    self._delete_file_calmly(key)

    def delete_table(self, uid: str) -> None:
        """Deletes what a table left."""
        self._online.drop(uid)
        for key, _ in list(self._objects.list(f"tables/{uid}")):
            self._objects.delete(key)

    def _loop(self) -> None:
        sweep_at = time.monotonic()
        while True:
            if time.monotonic() >= sweep_at:
                self._sweep_calmly()
                sweep_at = time.monotonic() + _EVERY_SECONDS
            wait = sweep_at - time.monotonic()
            try:
                uid = self._gone.get(timeout=max(0.0, min(wait, _RETRY_SECONDS) if self._left else wait))
            except queue.Empty:
                self._left, left = [], self._left
                for again in left:
                    self._delete_calmly(again)
                continue
            if uid is None:
                return
            self._delete_calmly(uid)

    def _sweep_calmly(self) -> None:
        try:
            swept = self.sweep()
            if swept:
                log.info("orphaned files deleted", extra={"files": swept})
        except FivefoldError as error:
            log.warning("orphaned files not deleted", extra={"reason": error.reason})

    def _delete_file_calmly(self, key: str) -> None:
        try:
            self._objects.delete(key)
        except FivefoldError as error:  # The sweep finds it a day later.
            log.warning("an unused file is not deleted yet", extra={"reason": error.reason})

    def _delete_calmly(self, uid: str) -> None:
        try:
            self.delete_table(uid)
        except FivefoldError as error:
            log.warning("what a deleted table left is not deleted yet", extra={"reason": error.reason})
            self._left.append(uid)


def _made(key: str) -> int:
    """Milliseconds at which a key's id was made; such that it never counts as old for a name that is none of ours."""
    try:
        return int(PurePosixPath(key).stem[:12], 16)
    except ValueError:
        return 1 << 62
