"""Objects: whole files by key, in a local folder, S3, GCS or Azure, through obstore.

Keys are relative paths of plain ids ("ab/cd/abcd"), so none can leave the root. A write shows up
whole or not at all, and only when its bytes have the digest that was announced.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from fivefold_runtime import faults
from fivefold_runtime.errors import InvalidArgument, NotFound, OutOfRange
from fivefold_runtime.names import check_path
from fivefold_runtime.settings import StartError

CHUNK = 1024 * 1024  # bytes that reads hand on at a time
_PART = 8 * 1024 * 1024  # bytes of one part of an upload; a bucket takes 10,000 parts
_UNFINISHED = "*#*"  # how the library names files that it still writes; no key has this character
log = logging.getLogger(__name__)

_REMOTE = ("s3", "gs", "az", "abfs", "abfss")


class ObjectMissing(NotFound):
    """No object has this key."""


class ObjectTooLong(InvalidArgument):
    """More bytes than allowed."""

    reason = "FIELD_TOO_LONG"


class DigestMismatch(InvalidArgument):
    """The bytes that arrived are not those that were announced."""

    reason = "DIGEST_MISMATCH"


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written: size in bytes and SHA-256 as 64 hex digits."""

    size: int
    sha256: str


class Objects:
    """One store of objects. Safe for use by many threads."""

    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def open(cls, url: str) -> Objects:
        """Opens a folder (a path, or file:///PATH) or a bucket (s3://BUCKET/PREFIX, gs://…, az://…).

        Credentials come from the environment, as the cloud's own tools read them. Raises StartError.
        """
        parts = urlsplit(url)
        if parts.scheme in _REMOTE:
            try:
                return cls(from_url(url))
            except (BaseError, ValueError):
                raise StartError(
                    f"cannot use the object store {parts.scheme}://{parts.hostname}. Check its address and credentials."
                ) from None
        if parts.scheme not in ("", "file"):
            raise StartError(
                f"the object store's address begins with {parts.scheme}://. It must be a folder, s3://, gs:// or az://."
            )
        root = Path(parts.path if parts.scheme else url).absolute()
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StartError(f"cannot make the folder {root}: {error.strerror}.") from None
        return cls(LocalStore(root.resolve()), root.resolve())

    def put(self, key: str, chunks: Iterable[bytes], *, sha256: str = "", limit: int | None = None) -> Stored:
        """Writes an object and returns its size and digest. Overwrites.

        chunks  the bytes in order; nothing is kept in memory beyond a few MB
        sha256  64 hex digits that the bytes must have; empty: whatever they have
        limit   most bytes taken

        Raises DigestMismatch or InvalidArgument (too long) with nothing stored, StorageFull, StoreUnavailable, and
        whatever `chunks` raises.
        """
        digest, size = hashlib.sha256(), 0

        def verified() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                if limit is not None and size > limit:
                    raise ObjectTooLong(f"the object is longer than {limit} bytes", limit=limit)
                yield chunk
            # Raising here, before the end, makes obstore throw the upload away: wrong bytes are never visible.
            if sha256 and digest.hexdigest() != sha256:
                raise DigestMismatch(
                    f"the bytes have SHA-256 {digest.hexdigest()}, announced was {sha256}",
                    actual=digest.hexdigest(),
                    announced=sha256,
                )

        with _mapped(key):
            obstore.put(self._store, self._checked(key), verified(), chunk_size=_PART, max_concurrency=4)
            self._make_durable(key)
        return Stored(size, digest.hexdigest())

    def read(self, key: str, limit: int = 64 * 1024 * 1024) -> bytes:
        """Returns a whole small object. Raises ObjectMissing, ObjectTooLong beyond `limit` bytes."""
        size = self.size(key)
        if size > limit:
            raise ObjectTooLong(
                f"the object has {size} bytes; at most {limit} are read at once", size=size, limit=limit
            )
        return b"".join(self.stream(key))

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yields the bytes from `start` up to `end` (not included; None: all), at most CHUNK at a time.

        Raises ObjectMissing before the first, and OutOfRange when `start` is beyond the end.
        """
        size = self.size(key)
        if not 0 <= start <= size:
            raise OutOfRange(f"offset {start} is beyond the end; the object has {size} bytes", offset=start, size=size)
        end = size if end is None else min(end, size)
        if start >= end:
            return
        with _mapped(key):
            found = obstore.get(self._store, self._checked(key), options={"range": (start, end)})
            for block in found.stream(min_chunk_size=CHUNK):
                view = memoryview(block)
                for offset in range(0, len(view), CHUNK):
                    yield bytes(view[offset : offset + CHUNK])

    def exists(self, key: str) -> bool:
        """Says whether there is an object."""
        try:
            self.size(key)
        except ObjectMissing:
            return False
        return True

    def size(self, key: str) -> int:
        """Returns an object's size in bytes. Raises ObjectMissing."""
        with _mapped(key):
            return int(obstore.head(self._store, self._checked(key))["size"])

    def copy(self, source: str, target: str) -> None:
        """Copies an object within the store; its bytes do not pass through here. Overwrites. Raises ObjectMissing."""
        with _mapped(source):
            obstore.copy(self._store, self._checked(source), self._checked(target))
            self._make_durable(target)

    def delete(self, key: str) -> None:
        """Deletes an object; one that is not there is no error."""
        with _mapped(key), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, self._checked(key))

    def delete_below(self, prefix: str) -> None:
        """Deletes every object below a prefix of whole ids, and the folder that a local store keeps them in."""
        for key, _ in [*self.list(prefix)]:
            self.delete(key)
        if self._root is not None:
            with contextlib.suppress(OSError):  # not there, or not empty any more
                (self._root / self._checked(prefix)).rmdir()

    def delete_unfinished(self, before: float) -> int:
        """Deletes what writes left that a kill ended, in a local store; buckets have rules of their own for that.

        before  seconds since 1970: younger ones may still be written
        Returns how many there were.
        """
        gone = 0
        for place in self._root.rglob(_UNFINISHED) if self._root is not None else ():
            with contextlib.suppress(OSError):  # finished or deleted meanwhile
                if place.is_file() and not place.is_symlink() and place.stat().st_mtime < before:
                    place.unlink()
                    gone += 1
        return gone

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yields (key, size in bytes) of every object below a prefix of whole ids ("ab/cd"), in no order. "": all."""
        with _mapped(prefix):
            for batch in obstore.list(self._store, prefix=self._checked(prefix) if prefix else None):
                for found in batch:
                    yield found["path"], found["size"]

    def _checked(self, key: str) -> str:
        """Returns the key when it stays below the root. Raises NameInvalid; ObjectMissing for a link that leads out."""
        check_path(key, "key")
        if self._root is not None:
            real = os.path.realpath(self._root / key)
            if os.path.commonpath((real, self._root)) != str(self._root):
                raise ObjectMissing.of(key)
        return key

    def _make_durable(self, key: str) -> None:
        """Lets a local write survive a power cut; the cloud stores' acknowledgement already means that."""
        if self._root is not None:
            path = self._root / key
            for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
                try:
                    handle = os.open(place, flags)
                except FileNotFoundError:
                    return  # Someone deleted it since, which is no failure of the write.
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


@contextlib.contextmanager
def _mapped(key: str) -> Iterator[None]:
    """Turns the library's errors into typed ones; their texts name folders and addresses, so they stay here."""
    try:
        yield
    except FileNotFoundError:
        raise ObjectMissing.of(key) from None
    except (BaseError, OSError) as error:
        typed = faults.typed_of(error)
        if typed is None and "os error 28" in str(error):
            typed = faults.full()
        if typed is None:
            log.warning("object store failed", extra={"error": type(error).__name__, "detail": str(error)[:500]})
            typed = faults.StoreUnavailable("the object store does not answer at the moment", retry_after=1.0)
        raise typed from error
