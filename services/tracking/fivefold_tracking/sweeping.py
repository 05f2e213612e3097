"""Removes what nobody has any more, in the background: rows of what was purged, uploads that nobody went on with, and
bytes of artifacts that no file has.

A content's bytes go only while its row is held, in the transaction that deletes the row, so that no upload can enter
them at the same time (see `store/artifacts.py`). Bytes without a row, which a crash leaves, get one first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from fivefold_runtime.clock import Clock, micros
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.objects import Objects
from fivefold_tracking import paths, uploads
from fivefold_tracking.store.sql import Store

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0  # without being told
_PAUSE_SECONDS = 1.0  # in which several calls that tell are taken together
_LIST_SECONDS = 24 * 3600.0  # between two looks at all objects, which cost one request per thousand
_RETRY_SECONDS = 60.0
_BLOCK = 500  # digests that are looked up at once


class Sweeper:
    """Background work of an App. Several servers may sweep at once."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._told = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._told.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Has it sweep soon: something was deleted."""
        self._told.set()

    def sweep(self) -> None:
        """Removes what is known to be nobody's."""
        while not self._stopped.is_set() and self._store.purges.remove():
            pass
        for upload in self._store.uploads.expire(uploads.since(self._now())):
            uploads.remove(self._objects, upload)
        self._remove_contents()

    def look(self) -> None:
        """Looks at all objects for what a crash left: contents without a row, parts without an upload."""
        now = self._now()
        self._objects.delete_unfinished(before=uploads.since(now) / 1e6)
        for block in _blocks(self._objects.list()):
            contents = {key.rpartition("/")[2]: size for key, size in block if uploads.upload_of(key) is None}
            digests = [sha256 for sha256 in contents if len(sha256) == 64]
            unknown = self._store.artifacts.unknown(digests)
            self._store.artifacts.know({sha256: contents[sha256] for sha256 in unknown}, now)
            parts = {upload for key, _ in block if (upload := uploads.upload_of(key)) is not None}
            for upload in self._store.uploads.unknown(parts):
                uploads.remove(self._objects, upload)
            if self._stopped.is_set():
                return

    def _remove_contents(self) -> None:
        after, removed = "", 0
        while found := self._store.artifacts.unused(after, _BLOCK):
            for sha256 in found:
                if self._stopped.is_set():
                    return
                removed += self._store.artifacts.remove(
                    sha256, partial(self._objects.delete, paths.content_key(sha256))
                )
            after = found[-1]
        if removed:
            log.info("contents of artifacts removed", extra={"contents": removed})

    def _loop(self) -> None:
        look_at = time.monotonic()
        wait = 0.0
        while not self._stopped.is_set():
            if self._told.wait(wait):
                self._stopped.wait(_PAUSE_SECONDS)
            self._told.clear()
            try:
                if time.monotonic() >= look_at:
                    self.look()
                    look_at = time.monotonic() + _LIST_SECONDS
                self.sweep()
                wait = _EVERY_SECONDS
            except FivefoldError as error:
                log.warning("not swept", extra={"reason": error.reason})
                wait = _RETRY_SECONDS
            except Exception:  # A defect must not end the thread: what it removes would pile up unseen.
                log.exception("sweep failed")
                wait = _RETRY_SECONDS

    def _now(self) -> int:
        return micros(self._clock.now())


def _blocks(objects: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    each = iter(objects)
    while block := list(islice(each, _BLOCK)):
        yield block
