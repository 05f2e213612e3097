"""The RPCs of artifacts."""

from __future__ import annotations

from google.protobuf import empty_pb2

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.mutation import mutation
from fivefold_runtime.objects import Objects
from fivefold_runtime.sql import Database
from fivefold_tracking import names, paths, transfer, wire
from fivefold_tracking.store.artifact_protocol import ArtifactStore
from fivefold_tracking.sweeping import Sweeper
from fivefold_tracking.transfer import Receiver


class ArtifactCalls:
    """Part of TrackingServicer."""

    database: Database
    _artifacts: ArtifactStore
    _objects: Objects
    _receiver: Receiver
    _sweeper: Sweeper

    def ListArtifacts(self, request, context):
        size = paging.size(request.page_size, default=1000, largest=10_000)
        page = self._artifacts.list(
            names.parent_id(request.parent),
            paths.check_folder(request.path),
            recursive=request.recursive,
            after=paging.key_of(request, paging.TEXT),
            limit=size,
        )
        return pb.ListArtifactsResponse(
            artifacts=map(wire.of_artifact, page.items), next_page_token=paging.token_of(request, page.more)
        )

    def UploadArtifact(self, request_iterator, context):
        return wire.of_artifact(self._receiver.receive(request_iterator, caller().subject))

    def GetUpload(self, request, context):
        return pb.GetUploadResponse(received_bytes=self._receiver.received(request, caller().subject))

    def DownloadArtifact(self, request, context):
        file = self._artifacts.get(names.parent_id(request.parent), paths.check_file(request.path))
        data = transfer.send(self._objects, file, request.offset)
        yield pb.DownloadArtifactResponse(artifact=wire.of_artifact(file))
        for chunk in data:
            yield pb.DownloadArtifactResponse(data=chunk)

    @mutation
    def DeleteArtifact(self, request, context):
        self._artifacts.delete(names.parent_id(request.parent), paths.check_file(request.path))
        self.database.after_commit(self._sweeper.wake)
        return empty_pb2.Empty()
