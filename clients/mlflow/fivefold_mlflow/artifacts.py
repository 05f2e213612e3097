"""Files at `fivefold-artifacts:` URIs: of runs and logged models in tracking, of model versions in the registry.

Everything is streamed in pieces and checked by sha256 at both ends; a broken transfer goes on where it stopped.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path

from fivefold.registry.v1 import registry_pb2 as registry
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.sdk import files
from fivefold.sdk.errors import FivefoldError, Unavailable
from fivefold.tracking.v1 import tracking_pb2 as tracking
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub
from fivefold_mlflow.connection import connection
from fivefold_mlflow.failures import invalid, translated
from fivefold_mlflow.places import FILES, Files, files_place

_ATTEMPTS = 5  # breaks in a row after which an upload is given up


class FivefoldArtifacts(ArtifactRepository):
    """The files below one URI, which may end anywhere: MLflow cuts one at its last slash to find a file's folder.

    Those of a model version cannot be changed.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        try:
            place, self._root = files_place(artifact_uri)
            addresses = place.addresses(os.environ)
        except FivefoldError as error:
            raise translated(error) from error
        self._tracking = connection("tracking", addresses["tracking"], TrackingServiceStub)
        self._registry = connection("registry", addresses["registry"], RegistryServiceStub)

    @property
    def thread_pool(self) -> ThreadPoolExecutor:
        """The pool of this process: MLflow keeps repositories, and the threads of a parent are not there after a fork."""
        if self._pool_of != os.getpid():
            self.thread_pool = self._create_thread_pool()
        return self._pool

    @thread_pool.setter
    def thread_pool(self, pool: ThreadPoolExecutor) -> None:
        self._pool, self._pool_of = pool, os.getpid()

    def log_artifact(self, local_file: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Stores one file in a folder."""
        verify_artifact_path(artifact_path)
        self._upload(local_file, self._at(artifact_path, os.path.basename(os.fspath(local_file))))

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Stores all files below a folder, several at once."""
        verify_artifact_path(artifact_path)
        if not os.path.isdir(local_dir):
            raise invalid(f"{os.fspath(local_dir)!r} is not a folder")
        self._upload(local_dir, self._at(artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Lists a folder by path; nothing for a file, and for what is not there."""
        return list(self._infos(self._at(path), recursive=False))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Deletes a file or a folder; without a path, everything."""
        where = self._at(artifact_path)
        _check_writable(where)
        for path in [where.path] if where.path else [found.path for found in self._listed(where, recursive=False)]:
            request = tracking.DeleteArtifactRequest(parent=where.parent, path=path)
            self._tracking.change("DeleteArtifact", request, missing=f"No such artifact: '{artifact_path}'")

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        where = self._at(remote_file_path)
        fetch = self._fetch_version if where.of_version else self._fetch
        try:
            files.save(Path(local_path), lambda offset: fetch(where, offset))
        except FivefoldError as error:
            raise translated(error, f"No such artifact: '{remote_file_path}'") from error

    def _iter_artifacts_recursive(self, path: str | None) -> Iterator[FileInfo]:
        """Yields all files below a folder: one call, where MLflow's own way asks folder by folder."""
        return self._infos(self._at(path), recursive=True)

    def _is_directory(self, artifact_path: str | None) -> bool:
        return next(self._listed(self._at(artifact_path), recursive=False, page_size=1), None) is not None

    def _infos(self, where: Files, *, recursive: bool) -> Iterator[FileInfo]:
        for found in self._listed(where, recursive=recursive):
            path = posixpath.relpath(f"{where.top}/{found.path}", self._root or ".")
            yield FileInfo(path, found.folder, None if found.folder else found.size_bytes)

    def _listed(self, where: Files, *, recursive: bool, page_size: int = 10_000) -> Iterator[tracking.Artifact]:
        if where.of_version:
            yield from self._listed_version(where, recursive)
            return
        request = tracking.ListArtifactsRequest(
            parent=where.parent, path=where.path, recursive=recursive, page_size=page_size
        )
        while True:
            page = self._tracking.ask("ListArtifacts", request)
            yield from page.artifacts
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    def _listed_version(self, where: Files, recursive: bool) -> Iterator[tracking.Artifact]:
        version = self._registry.ask("GetModelVersion", registry.GetModelVersionRequest(name=where.parent))
        prefix = f"{where.path}/" if where.path else ""
        folders: set[str] = set()
        for file in version.files:
            if not file.path.startswith(prefix):
                continue
            step, below, _ = file.path[len(prefix) :].partition("/")
            if recursive or not below:
                yield tracking.Artifact(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            elif step not in folders:
                folders.add(step)
                yield tracking.Artifact(path=prefix + step, folder=True)

    def _upload(self, local: str | os.PathLike[str], where: Files) -> None:
        _check_writable(where)
        try:
            outgoing = files.outgoing(local, where.path)
            if len(outgoing) == 1:
                self._send(where.parent, outgoing[0])
            else:
                list(self.thread_pool.map(lambda file: self._send(where.parent, file), outgoing))
        except FivefoldError as error:
            raise translated(error) from error

    def _send(self, parent: str, file: files.Outgoing) -> None:
        """Sends one file; after a break, what the service has not got yet. Raises FivefoldError."""
        offset = 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._tracking.send("UploadArtifact", _messages(parent, file, offset))
                return
            except Unavailable:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(0.2 * 2**attempt)
            asked = tracking.GetUploadRequest(parent=parent, path=file.path, sha256=file.sha256)
            offset = self._tracking.ask("GetUpload", asked).received_bytes

    def _fetch(self, where: Files, offset: int) -> Iterator[Any]:
        request = tracking.DownloadArtifactRequest(parent=where.parent, path=where.path, offset=offset)
        for part in self._tracking.receive("DownloadArtifact", request):
            yield part.data if part.WhichOneof("part") == "data" else part.artifact

    def _fetch_version(self, where: Files, offset: int) -> Iterator[Any]:
        request = registry.DownloadModelFileRequest(name=where.parent, path=where.path, offset=offset)
        for part in self._registry.receive("DownloadModelFile", request):
            yield part.data if part.WhichOneof("part") == "data" else part.file

    def _at(self, *steps: str | None) -> Files:
        """Returns what a path below this URI means. Raises MlflowException."""
        path = posixpath.join(self._root, *(step for step in steps if step))
        try:
            return Files.parse(f"{FILES}:{posixpath.normpath(path)}")
        except FivefoldError as error:
            raise translated(error) from error


def _messages(parent: str, file: files.Outgoing, offset: int) -> Iterator[tracking.UploadArtifactRequest]:
    header = tracking.UploadArtifactRequest.Header(
        parent=parent, path=file.path, sha256=file.sha256, size_bytes=file.size_bytes, offset=offset
    )
    yield tracking.UploadArtifactRequest(header=header)
    with file.source.open("rb") as source:
        source.seek(offset)
        while piece := source.read(files.PIECE):
            yield tracking.UploadArtifactRequest(data=piece)


def _check_writable(where: Files) -> None:
    if where.of_version:
        raise invalid(f"the files of {where.parent} cannot change: log to a run and register it")
