"""The store of this service: verified model files on disk, and what was live last.

    DATA/models/DIGEST/package/…   files of one version, by the digest over all of them
    DATA/models/DIGEST/plan-…      what the compiler made of them (plans.py)
    DATA/live.json                 versions that were live, to start from while the registry does not answer

Files are the store: they are immutable and named by their content, one process owns the folder, and nothing is asked
of them while predicting; a database would add nothing. Every file is verified each time a version is loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from fivefold_runtime.names import NameInvalid, check_path
from fivefold_serving.queueing import KeyedQueue
from fivefold_serving.versions import File, Version, digest_of

log = logging.getLogger(__name__)

_CHUNK = 1 << 20


class FilesRefused(Exception):
    """The files are not those that the registry states."""


class Cache:
    """The folder of models. Safe for use by several threads."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """limit_bytes  files of versions that are not in use are deleted beyond this, longest unused first"""
        self._models = folder / "models"
        self._live = folder / "live.json"
        self._limit = limit_bytes
        self._digests = KeyedQueue()  # Versions of two models may have the same files.
        self._writing = threading.Lock()
        self._models.mkdir(parents=True, exist_ok=True)
        for left in (*self._models.glob(".partial-*"), *self._models.glob("*/.plan-*")):
            shutil.rmtree(left, ignore_errors=True)

    def using(self, digest: str) -> AbstractContextManager[None]:
        """Holds a version's folder during the block: nobody else fetches or compiles it, and `trim` spares it."""
        return self._digests.holding(digest)

    def fetch(self, version: Version, download: Callable[[str], Iterator[bytes]]) -> Path:
        """Returns the folder of a version's verified files; downloads them unless they are there. Call it in `using`.

        Raises FilesRefused when a file, or the whole, is not what the registry states; OSError when the disk is full.
        """
        _check_whole(version)
        home = self._models / version.digest
        if home.is_dir():
            try:
                _verify(home / "package", version.files)
                os.utime(home)
                return home
            except FilesRefused as error:
                log.warning("cached files are damaged", extra={"model_version": version.name, "why": str(error)})
                shutil.rmtree(home)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._models))
        try:
            for file in version.files:
                _write(partial / "package" / file.path, file, download(file.path))
            partial.replace(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return home

    def trim(self, used: Collection[str]) -> None:
        """Deletes the longest unused versions beyond the limit; `used` are digests that stay."""
        used = {*used, *self._digests.held}
        homes = sorted(
            (home for home in self._models.iterdir() if home.is_dir()), key=lambda home: -home.stat().st_mtime
        )
        total = 0
        for home in homes:
            total += sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
            if total > self._limit and home.name not in used and not home.name.startswith("."):
                shutil.rmtree(home, ignore_errors=True)

    def remember(self, live: Iterable[Version]) -> None:
        """Writes down what is live."""
        partial = self._live.with_suffix(".partial")
        with self._writing:
            partial.write_text(json.dumps([asdict(version) for version in live]), encoding="utf-8")
            partial.replace(self._live)

    def remembered(self) -> list[Version]:
        """Returns what was live when this server last ran; nothing where that cannot be read."""
        try:
            return [
                Version(one["model"], one["number"], one["digest"], tuple(File(**file) for file in one["files"]))
                for one in json.loads(self._live.read_text(encoding="utf-8"))
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return []


def _check_whole(version: Version) -> None:
    if not version.files:
        raise FilesRefused("the version has no files")
    for file in version.files:
        try:
            check_path(file.path)
        except NameInvalid:
            raise FilesRefused("a file has a path that is not allowed") from None
    if digest_of(version.files) != version.digest:
        raise FilesRefused("the digest of the version is not that of its files")


def _write(target: Path, file: File, chunks: Iterator[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as out:
        for chunk in chunks:
            size += len(chunk)
            if size > file.size_bytes:
                break
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if size != file.size_bytes or digest.hexdigest() != file.sha256:
        raise FilesRefused(f"file {file.path!r} does not have the digest that the registry states")


def _verify(package: Path, files: Sequence[File]) -> None:
    there = {path.relative_to(package).as_posix() for path in package.rglob("*") if not path.is_dir()}
    if there != {file.path for file in files}:
        raise FilesRefused("there are files too many or too few")
    for file in files:
        digest = hashlib.sha256()
        with (package / file.path).open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise FilesRefused(f"file {file.path!r} does not have its digest")
