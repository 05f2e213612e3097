"""Files of runs and logged models, up and down: streamed, verified by sha256 at both ends, resumed after a break."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivefold.sdk import files
from fivefold.sdk.errors import OutOfRange, Unavailable, Unimplemented
from fivefold.sdk.names import full
from fivefold.sdk.records import Listing, Record, listing
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

_WORTH_ASKING = 8 << 20  # bytes of a file of which an earlier, broken upload is looked for
_ATTEMPTS = 5  # breaks in a row, without a byte between them, after which an upload is given up

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, repr=False)
class Artifact(Record):
    """A file or folder among the artifacts of a run or logged model."""

    path: str
    folder: bool
    size_bytes: int
    sha256: str


def owner(name: str) -> str:
    """Returns the full name of what has artifacts: a run ("runs/…" or 32 digits) or a logged model ("m-…")."""
    is_model = isinstance(name, str) and name.startswith(("logged_models/", "m-"))
    return full("logged_models" if is_model else "runs", name)


class Artifacts:
    """The artifacts of runs and logged models. `progress(path, done_bytes, size_bytes)` is called as bytes move."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)

    def list(self, parent: str, path: str = "", *, recursive: bool = False) -> Listing[Artifact]:
        """Lists the files and folders directly below a folder; `recursive`: all files below it."""
        request = pb.ListArtifactsRequest(parent=owner(parent), path=path, recursive=recursive)
        return listing(Artifact, self._transport.pages(self._stub.ListArtifacts, request, "artifacts"))

    def put(
        self, parent: str, local: str | os.PathLike[str], path: str = "", *, progress: Progress | None = None
    ) -> Listing[Artifact]:
        """Stores a file, or all files below a folder; returns what was stored.

        path  the file's path there, or the folder's; "": the file's own name, or the top

        A broken upload goes on where it stopped, within the call and for a day after it.
        Raises InvalidArgument when there is nothing at `local`, FailedPrecondition (RUN_DELETED), AlreadyExists where
        a folder is in the way.
        """
        name = owner(parent)
        return Listing(self._send(name, file, progress) for file in files.outgoing(local, path))

    def get(self, parent: str, path: str, local: str | os.PathLike[str], *, progress: Progress | None = None) -> Path:
        """Fetches a file to the path `local`, or all files of a folder below it; returns that path.

        Files of a folder that are there already, byte for byte, are not fetched again.
        Raises NotFound when there is neither a file nor a folder of that path.
        """
        name, target = owner(parent), Path(local)
        below = self.list(name, path, recursive=True)
        if not below:
            return files.save(target, lambda offset: self._fetch(name, path, offset, progress))
        prefix = f"{path.rstrip('/')}/" if path else ""
        for artifact in below:
            where = files.inside(target, artifact.path.removeprefix(prefix))
            if not files.is_there(where, artifact.size_bytes, artifact.sha256):
                files.save(where, lambda offset, source=artifact.path: self._fetch(name, source, offset, progress))  # type: ignore[misc]
        return target

    def delete(self, parent: str, path: str) -> None:
        """Deletes a file, or a folder with everything below it. Raises NotFound."""
        request = pb.DeleteArtifactRequest(parent=owner(parent), path=path, request_id=request_id())
        self._transport.call(self._stub.DeleteArtifact, request)

    def _send(self, parent: str, file: files.Outgoing, progress: Progress | None) -> Artifact:
        ask = file.size_bytes >= _WORTH_ASKING
        reached = breaks = 0
        while True:
            try:
                offset = self._received(parent, file) if ask else 0
                ask = True
                if offset > reached:
                    reached, breaks = offset, 0
                stored = Artifact.of(
                    self._transport.send(self._stub.UploadArtifact, _upload(parent, file, offset, progress))
                )
            except (Unavailable, OutOfRange):
                breaks += 1
                if breaks == _ATTEMPTS:
                    raise
                time.sleep(0.2 * 2**breaks)
            else:
                if progress is not None:
                    progress(file.path, file.size_bytes, file.size_bytes)
                return stored

    def _received(self, parent: str, file: files.Outgoing) -> int:
        """Returns how many bytes the service has of an earlier upload."""
        request = pb.GetUploadRequest(parent=parent, path=file.path, sha256=file.sha256)
        try:
            return self._transport.call(self._stub.GetUpload, request).received_bytes
        except Unimplemented:
            return 0  # An older service: from the start, then.

    def _fetch(self, parent: str, path: str, offset: int, progress: Progress | None = None) -> Iterator[Any]:
        request = pb.DownloadArtifactRequest(parent=parent, path=path, offset=offset)
        size = 0
        for part in self._transport.receive(self._stub.DownloadArtifact, request):
            if part.WhichOneof("part") == "data":
                offset += len(part.data)
                yield part.data
            else:
                size = part.artifact.size_bytes
                yield part.artifact
            if progress is not None:
                progress(path, offset, size)


def _upload(
    parent: str, file: files.Outgoing, offset: int, progress: Progress | None
) -> Iterator[pb.UploadArtifactRequest]:
    yield pb.UploadArtifactRequest(
        header=pb.UploadArtifactRequest.Header(
            parent=parent, path=file.path, sha256=file.sha256, size_bytes=file.size_bytes, offset=offset
        )
    )
    with file.source.open("rb") as source:
        source.seek(offset)
        while piece := source.read(files.PIECE):
            yield pb.UploadArtifactRequest(data=piece)
            offset += len(piece)
            if progress is not None:
                progress(file.path, min(offset, file.size_bytes), file.size_bytes)
