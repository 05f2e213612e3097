"""Bytes of artifacts, in and out: kept once per content, entered only when they are whole and right.

The bytes come first, their entry after: a broken upload leaves nothing that a run shows, a crash at most bytes without
an entry. Who uploads must send all bytes even of a content that is stored already: a digest alone opens no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.errors import InvalidArgument, OutOfRange
from fivefold_runtime.objects import DigestMismatch, Objects
from fivefold_tracking import names, paths
from fivefold_tracking.store.protocol import ArtifactStore
from fivefold_tracking.store.records import ArtifactRecord


class StreamOrder(InvalidArgument):
    """A stream's messages came in an order that the contract does not allow."""

    reason = "STREAM_ORDER"


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


def receive(
    store: ArtifactStore, objects: Objects, requests: Iterator[pb.UploadArtifactRequest], now: int
) -> ArtifactRecord:
    """Takes an upload and returns its entry.

    Raises StreamOrder, NameInvalid, DigestMismatch, RunDeleted, PathTaken, with nothing entered.
    """
    header = header_of(requests)
    run, path = names.run_id(header.parent, "header.parent"), paths.check_file(header.path, "header.path")
    store.check_writable(run)
    data = measured(data_of(requests), header.size_bytes)
    if store.is_stored(header.sha256):
        check_digest(data, header.sha256)
    else:
        objects.put(paths.content_key(header.sha256), data, sha256=header.sha256)
    return store.put(run, path, header.size_bytes, header.sha256, now)


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


def measured(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yields the chunks while they are no longer than announced. Raises DigestMismatch when they are, or end before."""
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > size:
            break
        yield chunk
    if count != size:
        what = "more" if count > size else f"only {count}"
        raise DigestMismatch(f"{size} bytes were announced, {what} came", announced=size, came=count)


def check_digest(chunks: Iterable[bytes], sha256: str) -> None:
    """Reads all chunks. Raises DigestMismatch when their SHA-256 is another."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise DigestMismatch(f"the bytes have SHA-256 {digest.hexdigest()}, announced was {sha256}", announced=sha256)
