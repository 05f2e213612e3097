"""Makes a version: reserve a number, copy the files in by digest, read the package, READY. Not one transaction.

A number is taken once the source is known to be good, or tracking does not answer; from then on the version ends
READY or FAILED. What a crash leaves PENDING is settled by `orphans.py`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fivefold_registry import package
from fivefold_registry.clients import FileGone, Tracking
from fivefold_registry.lineage import RunFacts, complete
from fivefold_registry.names import ModelName
from fivefold_registry.package import Package
from fivefold_registry.sources import Source, check_one
from fivefold_registry.store.records import FileRecord, VersionDraft, VersionRecord, VersionStatus
from fivefold_registry.store.sql import Store
from fivefold_registry.store.versions import CopyLost
from fivefold_runtime import calls
from fivefold_runtime.errors import FivefoldError, ResourceExhausted, Unavailable
from fivefold_runtime.objects import DigestMismatch, ObjectMissing, Objects
from fivefold_runtime.sql import Database

log = logging.getLogger(__name__)

_BEAT_SECONDS = 10.0  # between two signs of life
_PATIENCE_SECONDS = 5.0  # that a call waits for another copy to end


class TooManyCopies(ResourceExhausted):
    """As many versions are being copied as the server copies at once."""

    reason = "TOO_MANY_CALLS"


class Copier:
    """Makes versions. Safe for use by many threads.

    most     copies at once
    waiting  calls that wait a moment for one of these to end; more are refused at once, so that calls which need no
             copy always find a thread
    """

    def __init__(
        self, database: Database, store: Store, objects: Objects, tracking: Tracking, most: int, waiting: int
    ) -> None:
        self._database = database
        self._store = store
        self._objects = objects
        self._tracking = tracking
        self._places = threading.BoundedSemaphore(most)
        self._threads = threading.BoundedSemaphore(most + waiting)

    def make(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        """Returns the version, READY, or FAILED when its files are not what was announced.

        The same attempt again gets the version that the first one made, if that is READY.

        Raises SourceInvalid and TooManyCopies with no version made; Unavailable, StorageFull and DeadlineExceeded
        with a FAILED one.
        """
        check_one(draft.source, draft.external_uri)
        if draft.external_uri:
            return self._database.run(lambda _: self._elsewhere(model, draft, user))
        source = Source.parse(draft.source)
        draft = replace(draft, source=str(source))
        with self._place():
            try:
                run, listed = self._tracking.run(source), self._tracking.files(source)
            except Unavailable as error:
                version = self._reserve(model, draft, user)
                if version.status is VersionStatus.READY:
                    return version
                self._fail(version, error.message)
                raise
            version = self._reserve(model, draft, user)
            if version.status is VersionStatus.READY:
                return version
            try:
                return self._copy(version, source, run, listed)
            except CopyLost:
                return self._store.versions.get(version.name)
            except (DigestMismatch, FileGone):
                return self._fail(version, "a file changed while it was copied")
            except BaseException as error:
                self._fail(version, error.message if isinstance(error, FivefoldError) else "internal error")
                raise

    def _elsewhere(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        """Makes a version that has no files here."""
        version = self._store.versions.reserve(model, draft, user)
        if version.status is VersionStatus.READY:
            return version
        return self._store.versions.finish(version, "", draft.lineage, None)

    def _reserve(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        return self._database.run(lambda _: self._store.versions.reserve(model, draft, user))

    def _copy(
        self, version: VersionRecord, source: Source, run: RunFacts, listed: Sequence[FileRecord]
    ) -> VersionRecord:
        self._database.run(lambda _: self._store.versions.claim(version, listed))
        life = _Life(self._store, version)
        for file in listed:
            life.sign()
            if not self._has(file):
                chunks = life.during(self._tracking.bytes_of(source, file.path))
                self._objects.put(key_of(file.sha256), chunks, sha256=file.sha256)
        found = self._package(listed)
        lineage = complete(version.lineage, found, run)
        digest = digest_of(listed)
        return self._database.run(lambda _: self._store.versions.finish(version, digest, lineage, found))

    def _has(self, file: FileRecord) -> bool:
        """Says whether the content is there already: under this key nothing else can be, unless a disk lost its end."""
        try:
            return self._objects.size(key_of(file.sha256)) == file.size_bytes
        except ObjectMissing:
            return False

    def _package(self, listed: Sequence[FileRecord]) -> Package | None:
        description = next((file for file in listed if file.path == package.FILE), None)
        if description is None or description.size_bytes > package.MAX_BYTES:
            return None
        return package.read(self._objects.read(key_of(description.sha256), package.MAX_BYTES))

    def _fail(self, version: VersionRecord, why: str) -> VersionRecord:
        """Settles a version whose copy did not succeed, even when the caller's time is up."""
        try:
            failed = self._store.versions.fail(version, why)
        except CopyLost:
            return self._store.versions.get(version.name)
        log.warning("version failed", extra={"model_version": str(version.name), "why": why})
        return failed

    @contextmanager
    def _place(self) -> Iterator[None]:
        call = calls.current.get()
        patience = _PATIENCE_SECONDS if call is None else min(_PATIENCE_SECONDS, call.remaining())
        with _held(self._threads, timeout=0.0), _held(self._places, patience):
            yield


@contextmanager
def _held(places: threading.Semaphore, timeout: float) -> Iterator[None]:
    if not places.acquire(timeout=timeout):
        raise TooManyCopies("as many versions are being copied as this server copies at once", retry_after=1.0)
    try:
        yield
    finally:
        places.release()


class _Life:
    """Signs of life of one copy, so that no other server takes it for dead."""

    def __init__(self, store: Store, version: VersionRecord) -> None:
        self._store = store
        self._version = version
        self._last = time.monotonic()

    def sign(self) -> None:
        """Gives one when it is time. Raises DeadlineExceeded when nobody waits for the version any more."""
        calls.check_deadline()
        if time.monotonic() - self._last > _BEAT_SECONDS:
            self._store.versions.beat(self._version)
            self._last = time.monotonic()

    def during(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Passes chunks on, with signs of life."""
        for chunk in chunks:
            self.sign()
            yield chunk


def key_of(sha256: str) -> str:
    """Returns the object key of a content."""
    return f"sha256/{sha256[:2]}/{sha256}"


def digest_of(listed: Sequence[FileRecord]) -> str:
    """Returns the digest of a version as its contract defines it: over the lines that `sha256sum` prints, by path."""
    lines = (f"{file.sha256}  {file.path}\n" for file in sorted(listed, key=lambda file: file.path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
