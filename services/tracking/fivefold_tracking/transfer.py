"""Bytes of artifacts, in and out: kept once per content, entered only when they are whole and right.

The bytes come first, their entry after: a broken upload leaves nothing that its parent shows, a crash at most bytes
without an entry, which the sweep removes. Who uploads must send all bytes even of a content that is stored already: a digest alone opens no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import grpc

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.errors import FivefoldError, OutOfRange
from fivefold_runtime.objects import DigestMismatch, ObjectMissing, Objects
from fivefold_tracking import names, paths
from fivefold_tracking.sequence import StreamOrder
from fivefold_tracking.store.artifact_protocol import ArtifactStore, UploadStore
from fivefold_tracking.store.records import ArtifactRecord
from fivefold_tracking.store.upload_records import UploadKey
from fivefold_tracking.uploads import Arriving, since

# What no second attempt with the same bytes can mend, or where there is no room: nothing of such an upload is kept.
_FINAL = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
    }
)


def header_of(requests: Iterator[pb.UploadArtifactRequest]) -> pb.UploadArtifactRequest.Header:
    """Returns the header that an upload begins with. Raises StreamOrder."""
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "header":
        raise StreamOrder("the first message must be a header")
    return first.header


def data_of(requests: Iterable[pb.UploadArtifactRequest]) -> Iterator[bytes]:
    """Yields the bytes of an upload after its header. Raises StreamOrder."""
    for request in requests:
        if request.WhichOneof("part") != "data":
            raise StreamOrder("every message after the first must be data")
        yield request.data


class CutShort(DigestMismatch):
    """Fewer bytes came than announced: a client that breaks off may look like one that has said all."""


class Receiver:
    """Takes uploads. Safe for use by many threads."""

    def __init__(
        self, artifacts: ArtifactStore, uploads: UploadStore, objects: Objects, now: Callable[[], int]
    ) -> None:
        """`now` gives microseconds since 1970."""
        self._artifacts = artifacts
        self._uploads = uploads
        self._objects = objects
        self._now = now

    def receive(self, requests: Iterator[pb.UploadArtifactRequest], subject: str) -> ArtifactRecord:
        """Takes an upload of a caller and returns its entry.

        Raises StreamOrder, NameInvalid, DigestMismatch, NotArrived, RunDeleted, LoggedModelDeleted, PathTaken, with
        nothing entered.
        """
        header = header_of(requests)
        key = key_of(header, subject, "header.")
        self._artifacts.check_writable(key.parent)
        arriving = Arriving(self._uploads, self._objects, key, self._now)
        if header.offset:
            arriving.resume(header.offset)
        try:
            for data in measured(data_of(requests), header.size_bytes, header.offset):
                arriving.add(data)
            entered = self._enter(key, header.size_bytes, arriving)
        except FivefoldError as error:
            if error.code in _FINAL and not isinstance(error, CutShort):
                arriving.discard()
            else:
                arriving.keep()
            raise
        except BaseException:
            arriving.keep()
            raise
        arriving.discard()
        return entered

    def received(self, request: pb.GetUploadRequest, subject: str) -> int:
        """Returns how many bytes of a caller's broken upload have arrived. Raises NameInvalid."""
        return self._uploads.received(key_of(request, subject), since(self._now()))

    def _enter(self, key: UploadKey, size: int, arriving: Arriving) -> ArtifactRecord:
        """Stores the bytes and enters them. Bytes that a sweep removed in between are stored again."""
        content = paths.content_key(key.sha256)

        def is_stored() -> bool:
            try:
                return self._objects.size(content) == size
            except ObjectMissing:
                return False

        if is_stored():  # Under this key nothing else can be, unless a disk lost its end.
            check_digest(arriving.bytes(), key.sha256)
        while True:
            if not is_stored():
                self._objects.put(content, arriving.bytes(), sha256=key.sha256)
            entered = self._artifacts.put(key.parent, key.path, size, key.sha256, self._now(), is_stored)
            if entered is not None:
                return entered


def key_of(asked: pb.UploadArtifactRequest.Header | pb.GetUploadRequest, subject: str, prefix: str = "") -> UploadKey:
    """Returns which upload of a caller is asked for. Raises NameInvalid that names the field below `prefix`."""
    parent = names.parent_id(asked.parent, f"{prefix}parent")
    return UploadKey(parent, paths.check_file(asked.path, f"{prefix}path"), asked.sha256, subject)


def send(objects: Objects, file: ArtifactRecord, offset: int) -> Iterator[bytes]:
    """Yields a file's bytes from `offset` on. Raises OutOfRange beyond its end, before the first."""
    if offset > file.size:
        raise OutOfRange(
            f"offset is {offset}, but {file.path!r} has {file.size} bytes",
            offset=offset,
            path=file.path,
            size=file.size,
        )
    return objects.stream(paths.content_key(file.sha256), offset)


def measured(chunks: Iterable[bytes], size: int, offset: int = 0) -> Iterator[bytes]:
    """Yields the chunks of a file of `size` bytes from `offset` on. Raises DigestMismatch for more, CutShort for fewer."""
    count = offset
    for chunk in chunks:
        count += len(chunk)
        if count > size:
            break
        yield chunk
    if count != size:
        error, what = (DigestMismatch, "more") if count > size else (CutShort, f"only {count}")
        raise error(f"{size} bytes were announced, {what} came", announced=size, came=count)


def check_digest(chunks: Iterable[bytes], sha256: str) -> None:
    """Reads all chunks. Raises DigestMismatch when their SHA-256 is another."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise DigestMismatch(f"the bytes have SHA-256 {digest.hexdigest()}, announced was {sha256}", announced=sha256)
