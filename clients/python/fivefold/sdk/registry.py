"""Registered models, their versions and stages, transition requests, and what happened when.

A model is named "churn" or "models/churn", a version "churn/3" or "models/churn/versions/3". Stages are "None",
"Staging", "Production" and "Archived", in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.sdk import files, names
from fivefold.sdk.errors import FailedPrecondition
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.transport import FOREVER, Transport, request_id


@dataclass(frozen=True, repr=False)
class Lineage(Record):
    """What a version came from; every part may be empty."""

    run: str
    experiment: str
    training_set: str
    table_versions: tuple[str, ...]
    job: str


@dataclass(frozen=True, repr=False)
class ColumnSpec(Record):
    """One column of a signature."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, repr=False)
class Signature(Record):
    """A model's inputs and outputs, in order."""

    inputs: tuple[ColumnSpec, ...]
    outputs: tuple[ColumnSpec, ...]


@dataclass(frozen=True, repr=False)
class ModelFile(Record):
    """One file of a version."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, repr=False)
class ModelVersion(Record):
    """One immutable version of a model."""

    name: str
    version: int
    stage: str
    status: str
    status_message: str
    description: str
    tags: dict[str, str]
    source: str
    lineage: Lineage
    signature: Signature
    flavors: tuple[str, ...]
    files: tuple[ModelFile, ...]
    digest: str
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class StagePolicy(Record):
    """Rules that a model's owner chose."""

    one_production: bool
    stepwise: bool
    no_self_approval: bool


@dataclass(frozen=True, repr=False)
class Model(Record):
    """A registered model with its newest version in each stage."""

    name: str
    description: str
    tags: dict[str, str]
    policy: StagePolicy
    latest_versions: tuple[ModelVersion, ...]
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class TransitionRequest(Record):
    """A wish to move a version."""

    name: str
    stage: str
    creator: str
    comment: str
    state: str
    settled_by: str
    create_time: datetime | None
    settle_time: datetime | None
    available_actions: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Transition(Record):
    """A version after its move, and the names of those that were archived for it."""

    model_version: ModelVersion
    archived: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Approval(Record):
    """An approved request, the version after its move, and the names of those that were archived for it."""

    transition_request: TransitionRequest
    model_version: ModelVersion
    archived: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Comment(Record):
    """A remark on a version."""

    name: str
    text: str
    author: str
    create_time: datetime | None


@dataclass(frozen=True, repr=False)
class Activity(Record):
    """One thing that happened to a version."""

    name: str
    type: str
    user: str
    from_stage: str
    to_stage: str
    comment: str
    create_time: datetime | None


@dataclass(frozen=True, repr=False)
class Event(Record):
    """One event of the registry; `position` is where to resume after it."""

    position: int
    type: str
    model: str
    model_version: str
    from_stage: str
    to_stage: str
    user: str
    time: datetime | None


class Registry:
    """The registry service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(RegistryServiceStub)

    def create_model(
        self,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        one_production: bool = False,
        stepwise: bool = False,
        no_self_approval: bool = False,
        allow_existing: bool = False,
    ) -> Model:
        """Registers a model.

        one_production    at most one version in Production
        stepwise          versions go None, Staging, Production, and back; instead of any move
        no_self_approval  nobody approves a request of their own
        allow_existing    returns the model that is there, unchanged

        Raises AlreadyExists.
        """
        policy = pb.StagePolicy(one_production=one_production, stepwise=stepwise, no_self_approval=no_self_approval)
        model = pb.Model(name=names.full("models", name), description=description, tags=tags, policy=policy)
        request = pb.CreateModelRequest(model=model, allow_existing=allow_existing, request_id=request_id())
        return Model.of(self._transport.call(self._stub.CreateModel, request))

    def get_model(self, name: str) -> Model:
        """Returns one model with its newest version in each stage. Raises NotFound."""
        request = pb.GetModelRequest(name=names.full("models", name))
        return Model.of(self._transport.call(self._stub.GetModel, request))

    def list_models(self, *, limit: int | None = None) -> Listing[Model]:
        """Lists models by name."""
        return listing(Model, self._transport.pages(self._stub.ListModels, pb.ListModelsRequest(), "models", limit))

    def create_version(
        self,
        model: str,
        source: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        run: str = "",
        training_set: str = "",
        table_versions: Sequence[str] = (),
        job: str = "",
    ) -> ModelVersion:
        """Makes the next version and copies its files in; returns when it is READY or FAILED.

        source  runs/{run}/artifacts/{path}
        run, training_set, table_versions, job  its lineage; the run is taken from the source when not given

        Raises InvalidArgument (SOURCE_INVALID), Unavailable when tracking does not answer.
        """
        parts = source.split("/")
        lineage = pb.Lineage(
            run=names.full("runs", run) if run else "/".join(parts[:2]) if parts[0] == "runs" else "",
            training_set=names.full("trainingSets", training_set) if training_set else "",
            table_versions=table_versions,
            job=names.full("jobs", job) if job else "",
        )
        version = pb.ModelVersion(source=source, description=description, tags=tags, lineage=lineage)
        request = pb.CreateModelVersionRequest(
            parent=names.full("models", model), model_version=version, request_id=request_id()
        )
        return ModelVersion.of(self._transport.call(self._stub.CreateModelVersion, request, bulk=True))

    def get_version(self, name: str, version: int | None = None) -> ModelVersion:
        """Returns one version: get_version("churn", 3) or get_version("churn/3"). Raises NotFound."""
        request = pb.GetModelVersionRequest(name=names.version(name, version))
        return ModelVersion.of(self._transport.call(self._stub.GetModelVersion, request))

    def list_versions(
        self, model: str, *, stages: Sequence[str] = (), limit: int | None = None
    ) -> Listing[ModelVersion]:
        """Lists versions, newest first, without their files; only those in some stages where `stages` are named."""
        request = pb.ListModelVersionsRequest(
            parent=names.full("models", model), stages=[_stage(stage) for stage in stages]
        )
        pages = self._transport.pages(self._stub.ListModelVersions, request, "model_versions", limit)
        return listing(ModelVersion, pages)

    def transition(
        self, name: str, stage: str, *, archive_existing: bool = False, comment: str = "", etag: str = ""
    ) -> Transition:
        """Moves a version to a stage.

        archive_existing  archives the other versions in that stage, in the same transaction
        etag              from the last read: fails when someone wrote since; "": whatever is there

        Raises FailedPrecondition (STAGE_NOT_ALLOWED, VERSION_NOT_READY), PermissionDenied, Aborted.
        """
        request = pb.TransitionStageRequest(
            name=names.version(name),
            stage=_stage(stage),
            archive_existing=archive_existing,
            comment=comment,
            etag=etag,
            request_id=request_id(),
        )
        return Transition.of(self._transport.call(self._stub.TransitionStage, request))

    def roll_back(self, model: str, *, comment: str = "") -> Transition:
        """Puts the Production version before the present one back, and archives the present one.

        Raises FailedPrecondition (NOTHING_TO_ROLL_BACK), PermissionDenied.
        """
        request = pb.RollBackRequest(model=names.full("models", model), comment=comment, request_id=request_id())
        return Transition.of(self._transport.call(self._stub.RollBack, request))

    def request_transition(self, name: str, stage: str, *, comment: str = "") -> TransitionRequest:
        """Asks the managers of a model to move a version."""
        request = pb.CreateTransitionRequestRequest(
            parent=names.version(name), stage=_stage(stage), comment=comment, request_id=request_id()
        )
        return TransitionRequest.of(self._transport.call(self._stub.CreateTransitionRequest, request))

    def transition_requests(self, name: str, *, show_settled: bool = False) -> Listing[TransitionRequest]:
        """Lists the open requests of a model or version, newest first; settled ones too with `show_settled`."""
        request = pb.ListTransitionRequestsRequest(parent=names.model_or_version(name), show_settled=show_settled)
        pages = self._transport.pages(self._stub.ListTransitionRequests, request, "transition_requests")
        return listing(TransitionRequest, pages)

    def approve(self, request: str, *, archive_existing: bool = False, comment: str = "") -> Approval:
        """Approves a request by its name, or the only open one of a version; the move happens at once.

        Raises FailedPrecondition (REQUEST_SETTLED, STAGE_NOT_ALLOWED), PermissionDenied (OWN_REQUEST).
        """
        message = pb.ApproveTransitionRequestRequest(
            name=self._request_name(request),
            archive_existing=archive_existing,
            comment=comment,
            request_id=request_id(),
        )
        return Approval.of(self._transport.call(self._stub.ApproveTransitionRequest, message))

    def reject(self, request: str, *, comment: str = "") -> TransitionRequest:
        """Rejects a request by its name, or the only open one of a version."""
        message = pb.RejectTransitionRequestRequest(
            name=self._request_name(request), comment=comment, request_id=request_id()
        )
        return TransitionRequest.of(self._transport.call(self._stub.RejectTransitionRequest, message))

    def cancel(self, request: str, *, comment: str = "") -> TransitionRequest:
        """Takes a request back by its name, or the only open one of a version."""
        message = pb.CancelTransitionRequestRequest(
            name=self._request_name(request), comment=comment, request_id=request_id()
        )
        return TransitionRequest.of(self._transport.call(self._stub.CancelTransitionRequest, message))

    def comment(self, name: str, text: str) -> Comment:
        """Adds a comment to a version."""
        request = pb.CreateCommentRequest(parent=names.version(name), text=text, request_id=request_id())
        return Comment.of(self._transport.call(self._stub.CreateComment, request))

    def activities(self, name: str) -> Listing[Activity]:
        """Lists what happened to a version, or to all versions of a model, oldest first."""
        request = pb.ListActivitiesRequest(parent=names.model_or_version(name))
        return listing(Activity, self._transport.pages(self._stub.ListActivities, request, "activities"))

    def watch(self, after: int = 0, *, models: Sequence[str] = ()) -> Iterator[Event]:
        """Yields events as they happen, from any past position on, until the caller stops; survives restarts.

        after   the position of the last event seen; 0: from the first one on
        models  only events of these; empty: all
        """
        position = after

        def again() -> Iterator[pb.WatchEventsResponse]:
            request = pb.WatchEventsRequest(
                after_position=position, models=[names.full("models", model) for model in models]
            )
            return self._transport.receive(self._stub.WatchEvents, request, timeout=FOREVER)

        for answer in self._transport.follow(again):
            for event in answer.events:
                position = event.position
                yield Event.of(event)
            position = max(position, answer.position)

    def download(self, name: str, local: str | os.PathLike[str]) -> Path:
        """Fetches all files of a version below the folder `local`; returns that folder."""
        version = self.get_version(name)
        folder = Path(local)
        for file in version.files:
            files.save(
                files.inside(folder, file.path),
                lambda offset, path=file.path: self._fetch(version.name, path, offset),  # type: ignore[misc]
            )
        return folder

    def _fetch(self, name: str, path: str, offset: int) -> Iterator[Any]:
        request = pb.DownloadModelFileRequest(name=name, path=path, offset=offset)
        for part in self._transport.receive(self._stub.DownloadModelFile, request):
            yield part.data if part.WhichOneof("part") == "data" else part.file

    def _request_name(self, name: str) -> str:
        """Returns a request's name as it is; of a version, the name of its only open request."""
        if "/requests/" in name:
            return name
        version = names.version(name)
        waiting = self.transition_requests(version)
        if len(waiting) != 1:
            raise FailedPrecondition(
                f"{version} has {len(waiting) or 'no'} open requests, so the request must be named",
                facts={"model_version": version, "open": str(len(waiting))},
                hint=f"see them with `fivefold models requests {names.short(version)}`",
            )
        return waiting[0].name


def _stage(text: str) -> Any:
    return enum_number(pb.Stage, text, "stage")
