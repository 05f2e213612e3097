"""Serves fivefold.registry.v1: translates, calls, translates.

Policy has let in only who may at least read the model. What a move needs beyond that is decided in the store, by the
stage that it finds once the model's row is locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry import names, wire
from fivefold_registry.copying import Copier, key_of
from fivefold_registry.lifecycle import Actor, VersionNotReady
from fivefold_registry.names import ModelName, RequestName, VersionName
from fivefold_registry.orphans import Orphans
from fivefold_registry.store.records import ModelChange, Move, VersionChange, VersionDraft, VersionStatus
from fivefold_registry.store.sql import Store
from fivefold_registry.unfinished import Unfinished
from fivefold_registry.watch import Watching
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import AlreadyExists, NotFound
from fivefold_runtime.levels import Level
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.names import check_path
from fivefold_runtime.objects import Objects
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

SERVICE = "fivefold.registry.v1.RegistryService"
_PAGE, _LARGEST_PAGE = 100, 1_000

Context = grpc.ServicerContext


class RegistryServicer(Unfinished):
    """All methods of the service."""

    def __init__(
        self,
        database: Database,
        store: Store,
        objects: Objects,
        copier: Copier,
        orphans: Orphans,
        watching: Watching,
        authorizer: Authorizer,
    ) -> None:
        self.database = database  # `mutation` looks for it here
        self._store = store
        self._objects = objects
        self._copier = copier
        self._orphans = orphans
        self._watching = watching
        self._authorizer = authorizer

    # Models

    @mutation
    def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.Model:
        asked = request.model
        name = ModelName.parse(asked.name, "model.name")
        first = ModelChange(description=asked.description, tags=asked.tags, policy=wire.policy_of(asked.policy))
        try:
            return wire.model(self._store.models.create(name.model, first, caller().subject))
        except AlreadyExists:
            if not request.allow_existing or self._authorizer.level(str(name)) < Level.CAN_READ:
                raise
        return wire.model(self._store.models.get(name))

    def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        return wire.model(self._store.models.get(ModelName.parse(request.name)))

    def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        found = self._store.models.list(after, size + 1, self._authorizer)
        more = paging.token_of(request, [found[size - 1].model] if len(found) > size else None)
        return pb.ListModelsResponse(models=[wire.model(record) for record in found[:size]], next_page_token=more)

    @mutation
    def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.Model:
        asked = request.model
        name = ModelName.parse(asked.name, "model.name")
        fields = chosen(request.update_mask, asked, ("description", "tags", "policy"))
        if "policy" in fields:
            self._authorizer.require(str(name), Level.CAN_MANAGE)
        change = ModelChange(
            description=asked.description if "description" in fields else None,
            tags=asked.tags if "tags" in fields else None,
            policy=wire.policy_of(asked.policy) if "policy" in fields else None,
        )
        return wire.model(self._store.models.update(name, change, asked.etag, caller().subject))

    def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        self._delete(request, context)
        self._orphans.sweep()
        return Empty()

    @mutation
    def _delete(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        self._store.models.delete(ModelName.parse(request.name), request.etag, caller().subject)
        return Empty()

    # Versions

    def CreateModelVersion(self, request: pb.CreateModelVersionRequest, context: Context) -> pb.ModelVersion:
        asked = request.model_version
        draft = VersionDraft(
            source=asked.source,
            description=asked.description,
            tags=dict(asked.tags),
            lineage=wire.lineage_of(asked.lineage),
            attempt=_attempt(request),
        )
        model = ModelName.parse(request.parent, "parent")
        return once(self.database, request, lambda: wire.version(self._copier.make(model, draft, caller().subject)))

    def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Context) -> pb.ModelVersion:
        return wire.version(self._store.versions.get(VersionName.parse(request.name)))

    def ListModelVersions(self, request: pb.ListModelVersionsRequest, context: Context) -> pb.ListModelVersionsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        stages = {wire.stage_of(stage, f"stages[{index}]") for index, stage in enumerate(request.stages)}
        model = ModelName.parse(request.parent, "parent")
        found = self._store.versions.list(model, stages, _number(request), size + 1)
        more = paging.token_of(request, [found[size - 1].number] if len(found) > size else None)
        return pb.ListModelVersionsResponse(
            model_versions=[wire.version(record) for record in found[:size]], next_page_token=more
        )

    @mutation
    def UpdateModelVersion(self, request: pb.UpdateModelVersionRequest, context: Context) -> pb.ModelVersion:
        asked = request.model_version
        name = VersionName.parse(asked.name, "model_version.name")
        fields = chosen(request.update_mask, asked, ("description", "tags"))
        change = VersionChange(
            description=asked.description if "description" in fields else None,
            tags=asked.tags if "tags" in fields else None,
        )
        return wire.version(self._store.versions.update(name, change, asked.etag, caller().subject))

    # Stages

    @mutation
    def TransitionStage(self, request: pb.TransitionStageRequest, context: Context) -> pb.TransitionStageResponse:
        name = VersionName.parse(request.name)
        move = Move(
            target=wire.stage_of(request.stage, "stage"),
            archive_existing=request.archive_existing,
            comment=request.comment,
            etag=request.etag,
        )
        moved = self._store.stages.move(name, move, self._actor(request.name))
        return pb.TransitionStageResponse(
            model_version=wire.version(moved.version), archived=wire.names(name.model, moved.archived)
        )

    @mutation
    def RollBack(self, request: pb.RollBackRequest, context: Context) -> pb.RollBackResponse:
        name = ModelName.parse(request.model, "model")
        moved = self._store.stages.roll_back(name, request.comment, self._actor(request.model))
        return pb.RollBackResponse(
            model_version=wire.version(moved.version), archived=wire.names(name.model, moved.archived)
        )

    # Transition requests

    @mutation
    def CreateTransitionRequest(
        self, request: pb.CreateTransitionRequestRequest, context: Context
    ) -> pb.TransitionRequest:
        name = VersionName.parse(request.parent, "parent")
        target = wire.stage_of(request.stage, "stage")
        actor = self._actor(request.parent)
        return wire.request(self._store.requests.ask(name, target, request.comment, actor.subject), actor)

    def ListTransitionRequests(
        self, request: pb.ListTransitionRequestsRequest, context: Context
    ) -> pb.ListTransitionRequestsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        model, number = names.parent(request.parent)
        before = _number(request)
        found = self._store.requests.list(model, number, request.show_settled, before, size + 1)
        viewer = self._actor(request.parent)
        more = paging.token_of(request, [found[size - 1].name.sequence] if len(found) > size else None)
        return pb.ListTransitionRequestsResponse(
            transition_requests=[wire.request(record, viewer) for record in found[:size]], next_page_token=more
        )

    @mutation
    def ApproveTransitionRequest(
        self, request: pb.ApproveTransitionRequestRequest, context: Context
    ) -> pb.ApproveTransitionRequestResponse:
        name, actor = RequestName.parse(request.name), self._actor(request.name)
        settled, moved = self._store.requests.approve(name, request.archive_existing, request.comment, actor)
        return pb.ApproveTransitionRequestResponse(
            transition_request=wire.request(settled, actor),
            model_version=wire.version(moved.version),
            archived=wire.names(name.model, moved.archived),
        )

    @mutation
    def RejectTransitionRequest(
        self, request: pb.RejectTransitionRequestRequest, context: Context
    ) -> pb.TransitionRequest:
        name, actor = RequestName.parse(request.name), self._actor(request.name)
        return wire.request(self._store.requests.reject(name, request.comment, actor), actor)

    @mutation
    def CancelTransitionRequest(
        self, request: pb.CancelTransitionRequestRequest, context: Context
    ) -> pb.TransitionRequest:
        name, actor = RequestName.parse(request.name), self._actor(request.name)
        return wire.request(self._store.requests.cancel(name, request.comment, actor), actor)

    # What happened

    @mutation
    def CreateComment(self, request: pb.CreateCommentRequest, context: Context) -> pb.Comment:
        name = VersionName.parse(request.parent, "parent")
        return wire.comment(self._store.journal.comment(name, request.text, caller().subject))

    def ListActivities(self, request: pb.ListActivitiesRequest, context: Context) -> pb.ListActivitiesResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        model, number = names.parent(request.parent)
        after = _number(request) or 0
        found = self._store.journal.activities(model, number, after, size + 1)
        more = paging.token_of(request, [found[size - 1].sequence] if len(found) > size else None)
        return pb.ListActivitiesResponse(
            activities=[wire.activity(record) for record in found[:size]], next_page_token=more
        )

    def WatchEvents(self, request: pb.WatchEventsRequest, context: Context) -> Iterator[pb.WatchEventsResponse]:
        models = {ModelName.parse(name, f"models[{index}]").model for index, name in enumerate(request.models)}
        position = self._watching.begin(request.after_position, request.only_new)
        for events, reached in self._watching.events(position, models):
            yield pb.WatchEventsResponse(events=[wire.event(event) for event in events], position=reached)

    # Files

    def DownloadModelFile(
        self, request: pb.DownloadModelFileRequest, context: Context
    ) -> Iterator[pb.DownloadModelFileResponse]:
        name, path = VersionName.parse(request.name), check_path(request.path)
        version = self._store.versions.get(name)
        if version.status is not VersionStatus.READY:
            raise VersionNotReady(
                f"{name} is {version.status.upper()}, not READY", name=name, status=version.status.upper()
            )
        found = next((file for file in version.files if file.path == path), None)
        if found is None:
            raise NotFound(f"{name} has no file {path}", name=name, path=path)
        chunks = self._objects.stream(key_of(found.sha256), request.offset)
        first = next(chunks, b"")  # Tells of a wrong offset before anything is sent.
        yield pb.DownloadModelFileResponse(file=wire.file(found))
        if first:
            yield pb.DownloadModelFileResponse(data=first)
        for chunk in chunks:
            yield pb.DownloadModelFileResponse(data=chunk)

    def _actor(self, name: str) -> Actor:
        return Actor(caller().subject, self._authorizer.level(name))


def _attempt(request: pb.CreateModelVersionRequest) -> str:
    """Returns what is the same for a call that is sent again, "" for a call that cannot be."""
    if not request.request_id:
        return ""
    body = request.SerializeToString(deterministic=True)
    return hashlib.sha256(caller().subject.encode() + b"\0" + body).hexdigest()


def _number(request: Message) -> int | None:
    """Returns the number that a page begins after, None for the first page."""
    (number,) = paging.key_of(request, paging.NUMBER) or (None,)
    return number
