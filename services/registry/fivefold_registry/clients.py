"""The one service that the registry calls: tracking, for the files of a version and for what its run knows.

That a caller may read the run is decided by tracking, with the caller's own token. The bytes are then fetched under the
registry's identity when it has one, since a long copy may outlive the caller's token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub
from fivefold_registry.lineage import RunFacts
from fivefold_registry.sources import MAX_FILES, Source, SourceInvalid
from fivefold_registry.store.records import FileRecord
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.outgoing import channel, passed_on
from fivefold_runtime.settings import ServerConfig

_SERVICE = "tracking"
_PAGE = 1_000  # files
_STREAM_SECONDS = 3_600.0  # that the copy of one file may take
#: How tracking says that there is no such run for this caller.
_NOT_THERE = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT}


class FileGone(Exception):
    """A file that was listed is not there any more."""


class Tracking:
    """Reads runs and their artifacts. Safe for use by many threads."""

    def __init__(self, address: str, config: ServerConfig) -> None:
        self._channels = [channel(address, config, acting_for="caller")]
        self._asking = TrackingServiceStub(self._channels[0])
        self._fetching = self._asking
        if config.token_file:
            self._channels.append(channel(address, config, acting_for="self"))
            self._fetching = TrackingServiceStub(self._channels[1])

    def close(self) -> None:
        for opened in self._channels:
            opened.close()

    def run(self, source: Source) -> RunFacts:
        """Returns what the source's run knows, and its logged model where it is one's.

        Raises SourceInvalid when the caller cannot read them, Unavailable.
        """
        try:
            with passed_on(_SERVICE):
                if not source.logged_model:
                    return self._facts(source.parent)
                model = self._asking.GetLoggedModel(pb.GetLoggedModelRequest(name=source.logged_model))
        except FivefoldError as error:
            raise _as_source(error, source) from None
        known = RunFacts("", model.experiment, dict(model.tags), logged_model=model.name)
        if not model.source_run:
            return known
        try:
            with passed_on(_SERVICE):
                run = self._facts(model.source_run)
        except FivefoldError as error:
            if error.code in _NOT_THERE:  # Purged, say: the logged model outlives its run.
                return replace(known, name=model.source_run)
            raise
        return replace(run, tags={**run.tags, **known.tags}, logged_model=model.name)

    def _facts(self, name: str) -> RunFacts:
        run = self._asking.GetRun(pb.GetRunRequest(name=name))
        inputs = tuple((dataset.source_type, dataset.source) for dataset in run.inputs)
        return RunFacts(run.name, run.experiment, dict(run.tags), inputs)

    def files(self, source: Source) -> list[FileRecord]:
        """Returns all files below the source, by paths relative to it.

        Raises SourceInvalid when there are none or too many, or the source is not a folder; Unavailable.
        """
        found: list[FileRecord] = []
        request = pb.ListArtifactsRequest(parent=source.parent, path=source.path, recursive=True, page_size=_PAGE)
        while True:
            try:
                with passed_on(_SERVICE):
                    page = self._asking.ListArtifacts(request)
            except FivefoldError as error:
                raise _as_source(error, source) from None
            found.extend(
                FileRecord(source.below(artifact.path), artifact.size_bytes, artifact.sha256)
                for artifact in page.artifacts
                if not artifact.folder
            )
            if len(found) > MAX_FILES:
                raise SourceInvalid.of(str(source), f"holds more than {MAX_FILES} files")
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        if not found:
            raise SourceInvalid.of(str(source), "holds no files")
        return found

    def bytes_of(self, source: Source, path: str) -> Iterator[bytes]:
        """Yields a file's bytes in order. Raises FileGone, Unavailable."""
        whole = f"{source.path}/{path}" if source.path else path
        request = pb.DownloadArtifactRequest(parent=source.parent, path=whole)
        try:
            with passed_on(_SERVICE):
                for part in self._fetching.DownloadArtifact(request, timeout=_STREAM_SECONDS):
                    if part.data:
                        yield part.data
        except FivefoldError as error:
            raise (FileGone(whole) if error.code in _NOT_THERE else error) from None


def _as_source(error: FivefoldError, source: Source) -> FivefoldError:
    if error.code in _NOT_THERE:
        return SourceInvalid.of(str(source), "does not exist")
    return error
