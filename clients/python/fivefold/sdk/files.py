"""Files to and from the services: streamed in pieces, never whole in memory, checked by sha256 at both ends.

A download goes to a file beside its target and takes the target's place when every byte is right; a broken one is
resumed where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fivefold.sdk.errors import FivefoldError, Internal, InvalidArgument, Unavailable

PIECE = 1 << 20  # bytes of one message
_ATTEMPTS = 5  # breaks in a row, without a byte between them, after which a download is given up


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file to send: where it is, what it is to be called, its size in bytes and its digest."""

    source: Path
    path: str
    size_bytes: int
    sha256: str

    def pieces(self) -> Iterator[bytes]:
        """Yields the file's bytes."""
        with self.source.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


def outgoing(local: str | os.PathLike[str], path: str) -> list[Outgoing]:
    """Lists what an upload sends: one file, or every file below a folder.

    path  where it goes, with "/": the file's path, or the folder's. "" means the file's own name, or the top.

    Raises InvalidArgument when there is no such file or folder.
    """
    source = Path(local)
    target = PurePosixPath(path)
    if source.is_file():
        return [_described(source, str(target) if path else source.name)]
    if source.is_dir():
        files = sorted(found for found in source.rglob("*") if found.is_file())
        return [_described(found, str(target / found.relative_to(source).as_posix())) for found in files]
    raise InvalidArgument(
        f"{source} is neither a file nor a folder", reason="FIELD_INVALID", facts={"local": str(source)}
    )


def inside(folder: Path, path: str) -> Path:
    """Returns where a path that a service named lies below a local folder.

    Raises Internal for a path that would lie elsewhere; a service never sends one.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise Internal(f"the service named a file {path!r}, which is no path inside a folder", reason="INTERNAL")
    return folder.joinpath(*parts)


def save(target: Path, fetch: Callable[[int], Iterator[Any]]) -> Path:
    """Writes a download to `target`, in one step when it is complete; makes its folder.

    fetch  opens the stream at an offset: a description with `size_bytes` and `sha256` first, then bytes

    Raises FivefoldError: what the service said, or Internal when the bytes are not the ones it described.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _receive(file, fetch)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target


def _receive(file: BinaryIO, fetch: Callable[[int], Iterator[Any]]) -> None:
    digest = hashlib.sha256()
    expected: tuple[int, str] | None = None
    received, breaks = 0, 0
    while True:
        try:
            for part in fetch(received):
                if isinstance(part, bytes):
                    file.write(part)
                    digest.update(part)
                    received += len(part)
                    breaks = 0
                elif expected is None:
                    expected = (part.size_bytes, part.sha256)
                elif expected != (part.size_bytes, part.sha256):
                    raise FivefoldError("the file was replaced while it was received: receive it again")
            break
        except Unavailable:
            breaks += 1
            if breaks == _ATTEMPTS:
                raise
            time.sleep(0.2 * 2**breaks)
    if expected != (received, digest.hexdigest()):
        raise Internal("the bytes received are not those that the service described", reason="INTERNAL")


def _described(source: Path, path: str) -> Outgoing:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Outgoing(source, path, file.tell(), digest)


def is_there(path: Path, size_bytes: int, sha256: str) -> bool:
    """Says whether a file, not a link, with just these bytes is at a path already."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
