"""What has arrived of one upload: its last bytes in memory, before them the parts that are kept in the object store.

Parts are kept as they fill up, so a killed server loses at most one; a broken call keeps its rest too. They are joined
when all bytes are there, by streaming them, and then they go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from fivefold_runtime.errors import FieldViolation, FivefoldError, OutOfRange
from fivefold_runtime.faults import StorageFull
from fivefold_runtime.ids import new_id
from fivefold_runtime.objects import Objects
from fivefold_tracking.store.artifact_protocol import UploadStore
from fivefold_tracking.store.upload_records import PartRecord, UploadKey, UploadRecord

log = logging.getLogger(__name__)

FOLDER = "uploads"  # in the object store
KEPT = timedelta(days=1)  # since the last byte
PART = 4 * 1024 * 1024  # bytes of a part that is not a call's last
_MOST, _MOST_BYTES = 100, 100 * 1024**3  # unfinished uploads of one caller


class NotArrived(OutOfRange):
    """The offset is not how much of the upload has arrived."""

    @classmethod
    def at(cls, offset: int, received: int) -> NotArrived:
        why = f"is {offset}, but {received} bytes have arrived"
        field = "header.offset"
        return cls(f"{field} {why}", fields=(FieldViolation(field, why),), offset=offset, received=received)


class Arriving:
    """The bytes of one upload, in one call."""

    def __init__(self, store: UploadStore, objects: Objects, key: UploadKey, now: Callable[[], int]) -> None:
        self._store = store
        self._objects = objects
        self._key = key
        self._now = now
        self._writer = new_id()
        self._kept: UploadRecord | None = None
        self._buffer = bytearray()
        self._lost = False

    def resume(self, offset: int) -> None:
        """Goes on with what has arrived before. Raises NotArrived when that is not `offset`."""
        now = self._now()
        self._kept = self._store.take(self._key, offset, self._writer, now, since(now))
        if self._kept is None:
            raise NotArrived.at(offset, self._store.received(self._key, since(now)))

    def add(self, chunk: bytes) -> None:
        """Takes the next bytes. Raises NotArrived when another call went on with the same upload."""
        self._buffer += chunk
        if len(self._buffer) >= PART:
            self._keep()

    def bytes(self) -> Iterator[bytes]:
        """Yields all bytes that have arrived, in order; as often as it is asked."""
        # Read by another thread: a store that is being written to draws these bytes in a thread that may not read it.
        with ThreadPoolExecutor(1) as reader:
            for part in self._kept.parts if self._kept else ():
                stream = self._objects.stream(self._part_key(part))
                while chunk := reader.submit(next, stream, None).result():
                    yield chunk
        if self._buffer:
            yield bytes(self._buffer)

    def keep(self) -> None:
        """Keeps what is in memory after a break, if it can: whoever breaks off is told why already."""
        try:
            if self._buffer and not self._lost:
                self._keep()
        except FivefoldError as error:
            log.warning("the rest of a broken upload is not kept", extra={"reason": error.reason})

    def discard(self) -> None:
        """Removes what was kept; what cannot be removed now is swept later."""
        if self._kept is None or self._lost:
            return
        try:
            if self._end(self._kept.id):
                remove(self._objects, self._kept.id)
        except FivefoldError as error:
            log.warning("parts of an upload are not removed yet", extra={"reason": error.reason})

    def _end(self, upload: str) -> bool:
        try:
            return self._store.end(upload, self._writer)
        except StorageFull:
            return True  # The parts are the room that is missing. Who goes on with them is told that they are gone.

    def _keep(self) -> None:
        kept = self._kept or self._begin()
        part = PartRecord(kept.received, len(self._buffer), self._writer)
        self._objects.put(self._part_key(part), iter((bytes(self._buffer),)))
        if not self._store.add(kept.id, part, self._now()):
            self._lost = True
            raise NotArrived.at(part.start, self._store.received(self._key, since(self._now())))
        self._kept = UploadRecord(kept.id, (*kept.parts, part))
        self._buffer.clear()

    def _begin(self) -> UploadRecord:
        self._kept = UploadRecord(new_id())
        for dropped in self._store.begin(self._kept.id, self._writer, self._key, self._now(), _MOST, _MOST_BYTES):
            remove(self._objects, dropped)
        return self._kept

    def _part_key(self, part: PartRecord) -> str:
        assert self._kept is not None  # A part belongs to an upload that has begun.
        return f"{FOLDER}/{self._kept.id}/{part.start:016d}-{part.writer}"


def since(now: int) -> int:
    """Returns the time from which on uploads are kept; both in microseconds."""
    return now - KEPT // timedelta(microseconds=1)


def remove(objects: Objects, upload: str) -> None:
    """Deletes the parts of an upload that is over or forgotten."""
    objects.delete_below(f"{FOLDER}/{upload}")


def upload_of(key: str) -> str | None:
    """Returns the id of the upload that an object is a part of, None for any other object."""
    folder, _, rest = key.partition("/")
    return rest.partition("/")[0] if folder == FOLDER else None
