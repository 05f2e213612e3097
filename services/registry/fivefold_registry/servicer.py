"""Serves fivefold.registry.v1: translates, calls, translates.

Policy has let in only who may at least read the model. What a move needs beyond that is decided in the store, by the
stage that it finds once the model's row is locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC

from google.protobuf.empty_pb2 import Empty

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry import searches, wire
from fivefold_registry.conversation import LARGEST_PAGE, PAGE, Context, Conversation
from fivefold_registry.copying import Copier, key_of
from fivefold_registry.lifecycle import VersionNotReady
from fivefold_registry.names import ALL, AliasName, ModelName, VersionName, new_model, version_or_alias
from fivefold_registry.orphans import Orphans
from fivefold_registry.store.records import ModelChange, Move, VersionChange, VersionDraft, VersionStatus
from fivefold_registry.store.sql import Store
from fivefold_registry.watch import Watching
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import AlreadyExists, NotFound
from fivefold_runtime.levels import Level
from fivefold_runtime.masks import chosen, entries
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.names import check_path
from fivefold_runtime.objects import Objects
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

SERVICE = "fivefold.registry.v1.RegistryService"


class RegistryServicer(Conversation):
    """All methods of the service: models, versions and stages here, what is said about them in Conversation."""

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
        super().__init__(database, store, authorizer)
        self._objects = objects
        self._copier = copier
        self._orphans = orphans
        self._watching = watching

    # Models

    @mutation
    def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.Model:
        asked = request.model
        name = new_model(asked.name, "model.name")
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
        size = paging.size(request.page_size, PAGE, LARGEST_PAGE)
        search = searches.of_models(request.filter, request.order_by)
        after = paging.key_of(request, *search.kinds)
        found = self._store.models.list(search, after, size + 1, self._authorizer)
        more = paging.token_of(request, search.key(found[size - 1]) if len(found) > size else None)
        return pb.ListModelsResponse(models=[wire.model(record) for record in found[:size]], next_page_token=more)

    @mutation
    def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.Model:
        asked = request.model
        name = ModelName.parse(asked.name, "model.name")
        fields = chosen(request.update_mask, asked, ("description", "tags", "policy"), maps=("tags",))
        if "policy" in fields:
            self._authorizer.require(str(name), Level.CAN_MANAGE)
        change = ModelChange(
            description=asked.description if "description" in fields else None,
            tags=asked.tags if "tags" in fields else None,
            tag_entries=entries(request.update_mask, asked, "tags"),
            policy=wire.policy_of(asked.policy) if "policy" in fields else None,
        )
        return wire.model(self._store.models.update(name, change, asked.etag, caller().subject))

    @mutation
    def RenameModel(self, request: pb.RenameModelRequest, context: Context) -> pb.RenameModelResponse:
        name, new = ModelName.parse(request.name), new_model(request.new_name, "new_name")
        return pb.RenameModelResponse(
            model=wire.model(self._store.models.rename(name, new, request.etag, caller().subject))
        )

    def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        self._delete_model(request, context)
        self._orphans.sweep()
        return Empty()

    @mutation
    def _delete_model(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        self._store.models.delete(ModelName.parse(request.name), request.etag, caller().subject)
        return Empty()

    # Aliases

    @mutation
    def SetModelAlias(self, request: pb.SetModelAliasRequest, context: Context) -> pb.SetModelAliasResponse:
        name = AliasName.parse(request.name)
        found = self._store.aliases.set(name, request.version, caller().subject)
        return pb.SetModelAliasResponse(model_version=wire.version(found))

    @mutation
    def DeleteModelAlias(self, request: pb.DeleteModelAliasRequest, context: Context) -> Empty:
        self._store.aliases.delete(AliasName.parse(request.name), caller().subject)
        return Empty()

    # Versions

    def CreateModelVersion(self, request: pb.CreateModelVersionRequest, context: Context) -> pb.ModelVersion:
        asked = request.model_version
        draft = VersionDraft(
            source=asked.source,
            external_uri=asked.external_uri,
            description=asked.description,
            tags=dict(asked.tags),
            lineage=wire.lineage_of(asked.lineage),
            attempt=_attempt(request),
        )
        model = ModelName.parse(request.parent, "parent")
        return once(self.database, request, lambda: wire.version(self._copier.make(model, draft, caller().subject)))

    @mutation
    def CopyModelVersion(self, request: pb.CopyModelVersionRequest, context: Context) -> pb.CopyModelVersionResponse:
        source = VersionName.parse(request.source, "source")
        destination = new_model(request.destination, "destination")
        if request.create_model:
            with suppress(AlreadyExists):
                self._store.models.create(destination.model, ModelChange(), caller().subject)
        self._authorizer.require(str(destination), Level.CAN_EDIT)
        made = self._store.versions.copy(source, destination, caller().subject)
        return pb.CopyModelVersionResponse(model_version=wire.version(self._store.versions.get(made.name)))

    def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Context) -> pb.ModelVersion:
        name = version_or_alias(request.name)
        if isinstance(name, AliasName):
            name = self._store.aliases.resolve(name)
        return wire.version(self._store.versions.get(name))

    def ListModelVersions(self, request: pb.ListModelVersionsRequest, context: Context) -> pb.ListModelVersionsResponse:
        size = paging.size(request.page_size, PAGE, LARGEST_PAGE)
        model = None if request.parent == ALL else ModelName.parse(request.parent, "parent")
        if model is not None:
            self._authorizer.require(str(model), Level.CAN_READ)
        stages = frozenset(wire.stage_of(stage, f"stages[{index}]") for index, stage in enumerate(request.stages))
        search = searches.of_versions(request.filter, request.order_by, stages, one_model=model is not None)
        after = paging.key_of(request, *search.kinds)
        found = self._store.versions.list(model, search, after, size + 1, self._authorizer)
        more = paging.token_of(request, search.key(found[size - 1]) if len(found) > size else None)
        return pb.ListModelVersionsResponse(
            model_versions=[wire.version(record) for record in found[:size]], next_page_token=more
        )

    @mutation
    def UpdateModelVersion(self, request: pb.UpdateModelVersionRequest, context: Context) -> pb.ModelVersion:
        asked = request.model_version
        name = VersionName.parse(asked.name, "model_version.name")
        fields = chosen(request.update_mask, asked, ("description", "tags"), maps=("tags",))
        change = VersionChange(
            description=asked.description if "description" in fields else None,
            tags=asked.tags if "tags" in fields else None,
            tag_entries=entries(request.update_mask, asked, "tags"),
        )
        return wire.version(self._store.versions.update(name, change, asked.etag, caller().subject))

    def DeleteModelVersion(self, request: pb.DeleteModelVersionRequest, context: Context) -> Empty:
        self._delete_version(request, context)
        self._orphans.sweep()
        return Empty()

    @mutation
    def _delete_version(self, request: pb.DeleteModelVersionRequest, context: Context) -> Empty:
        self._store.versions.delete(VersionName.parse(request.name), request.etag, caller().subject)
        return Empty()

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

    def LookupStage(self, request: pb.LookupStageRequest, context: Context) -> pb.LookupStageResponse:
        stage = wire.stage_of(request.stage, "stage")
        time = request.time.ToDatetime(UTC) if request.HasField("time") else None
        found = self._store.stages.tenures(ModelName.parse(request.model, "model"), stage, time)
        return pb.LookupStageResponse(tenures=[wire.tenure(record) for record in found])

    # Events

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


def _attempt(request: pb.CreateModelVersionRequest) -> str:
    """Returns what is the same for a call that is sent again, "" for a call that cannot be."""
    if not request.request_id:
        return ""
    body = request.SerializeToString(deterministic=True)
    return hashlib.sha256(caller().subject.encode() + b"\0" + body).hexdigest()
