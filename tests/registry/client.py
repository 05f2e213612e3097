"""The stubs of one registry, with the shortest calls that tests need."""

from __future__ import annotations

from typing import Any

import grpc

from fivefold.permissions.v1 import permissions_pb2
from fivefold.permissions.v1.permissions_pb2_grpc import PermissionsServiceStub
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub

NONE, STAGING, PRODUCTION, ARCHIVED = pb.STAGE_NONE, pb.STAGE_STAGING, pb.STAGE_PRODUCTION, pb.STAGE_ARCHIVED


class Registry:
    """Calls a service, as one caller. `source` is where its versions come from."""

    def __init__(self, channel: grpc.Channel, source: str, token: str = "") -> None:
        if token:
            channel = grpc.intercept_channel(channel, Bearer(token))
        self.source = source
        self.stub = RegistryServiceStub(channel)
        self.permissions = PermissionsServiceStub(channel)

    def model(self, id: str = "churn", **fields: Any) -> pb.Model:
        policy = pb.StagePolicy(**fields.pop("policy", {}))
        asked = pb.Model(name=f"models/{id}", policy=policy, **fields)
        return self.stub.CreateModel(pb.CreateModelRequest(model=asked))

    def get(self, id: str = "churn") -> pb.Model:
        return self.stub.GetModel(pb.GetModelRequest(name=f"models/{id}"))

    def make(self, id: str = "churn", source: str = "", request_id: str = "", **fields: Any) -> pb.ModelVersion:
        asked = pb.ModelVersion(source=source or self.source, **fields)
        request = pb.CreateModelVersionRequest(parent=f"models/{id}", model_version=asked, request_id=request_id)
        return self.stub.CreateModelVersion(request)

    def version(self, name: str) -> pb.ModelVersion:
        return self.stub.GetModelVersion(pb.GetModelVersionRequest(name=name))

    def versions(self, id: str = "churn", *stages: int) -> list[pb.ModelVersion]:
        request = pb.ListModelVersionsRequest(parent=f"models/{id}", stages=stages)
        return list(self.stub.ListModelVersions(request).model_versions)

    def numbers(self, stage: int, id: str = "churn") -> list[int]:
        """Returns the numbers of the versions in a stage, ascending."""
        return sorted(version.version for version in self.versions(id, stage))

    def move(self, name: str, stage: int, archive_existing: bool = False, **more: Any) -> pb.TransitionStageResponse:
        request = pb.TransitionStageRequest(name=name, stage=stage, archive_existing=archive_existing, **more)
        return self.stub.TransitionStage(request)

    def roll_back(self, id: str = "churn", **more: Any) -> pb.RollBackResponse:
        return self.stub.RollBack(pb.RollBackRequest(model=f"models/{id}", **more))

    def ask(self, name: str, stage: int, comment: str = "") -> pb.TransitionRequest:
        request = pb.CreateTransitionRequestRequest(parent=name, stage=stage, comment=comment)
        return self.stub.CreateTransitionRequest(request)

    def requests(self, parent: str, show_settled: bool = False) -> list[pb.TransitionRequest]:
        request = pb.ListTransitionRequestsRequest(parent=parent, show_settled=show_settled)
        return list(self.stub.ListTransitionRequests(request).transition_requests)

    def approve(self, name: str, **more: Any) -> pb.ApproveTransitionRequestResponse:
        return self.stub.ApproveTransitionRequest(pb.ApproveTransitionRequestRequest(name=name, **more))

    def reject(self, name: str, **more: Any) -> pb.TransitionRequest:
        return self.stub.RejectTransitionRequest(pb.RejectTransitionRequestRequest(name=name, **more))

    def cancel(self, name: str, **more: Any) -> pb.TransitionRequest:
        return self.stub.CancelTransitionRequest(pb.CancelTransitionRequestRequest(name=name, **more))

    def comment(self, name: str, text: str) -> pb.Comment:
        return self.stub.CreateComment(pb.CreateCommentRequest(parent=name, text=text))

    def rename(self, old: str, new: str, **more: Any) -> pb.Model:
        request = pb.RenameModelRequest(name=f"models/{old}", new_name=f"models/{new}", **more)
        return self.stub.RenameModel(request).model

    def delete_version(self, name: str, **more: Any) -> None:
        self.stub.DeleteModelVersion(pb.DeleteModelVersionRequest(name=name, **more))

    def alias(self, alias: str, number: int, id: str = "churn", **more: Any) -> pb.ModelVersion:
        request = pb.SetModelAliasRequest(name=f"models/{id}/aliases/{alias}", version=number, **more)
        return self.stub.SetModelAlias(request).model_version

    def unalias(self, alias: str, id: str = "churn") -> None:
        self.stub.DeleteModelAlias(pb.DeleteModelAliasRequest(name=f"models/{id}/aliases/{alias}"))

    def copy(self, source: str, destination: str, **more: Any) -> pb.ModelVersion:
        request = pb.CopyModelVersionRequest(source=source, destination=f"models/{destination}", **more)
        return self.stub.CopyModelVersion(request).model_version

    def elsewhere(self, uri: str, id: str = "churn", **more: Any) -> pb.ModelVersion:
        asked = pb.ModelVersion(external_uri=uri, **more)
        request = pb.CreateModelVersionRequest(parent=f"models/{id}", model_version=asked)
        return self.stub.CreateModelVersion(request)

    def edit(self, comment: str, text: str) -> pb.Comment:
        return self.stub.UpdateComment(pb.UpdateCommentRequest(comment=pb.Comment(name=comment, text=text)))

    def unsay(self, comment: str) -> None:
        self.stub.DeleteComment(pb.DeleteCommentRequest(name=comment))

    def verify(self, id: str = "churn", expected: pb.ActivityHead | None = None) -> pb.VerifyActivitiesResponse:
        return self.stub.VerifyActivities(pb.VerifyActivitiesRequest(model=f"models/{id}", expected_head=expected))

    def activities(self, parent: str) -> list[pb.Activity]:
        """Returns all of them, oldest first."""
        request, found = pb.ListActivitiesRequest(parent=parent, page_size=1000), []
        while True:
            page = self.stub.ListActivities(request)
            found += page.activities
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def told(self, parent: str) -> list[str]:
        """Returns the activities of a model or version as short texts, oldest first."""
        return [told(activity) for activity in self.activities(parent)]

    def download(self, name: str, path: str, offset: int = 0) -> tuple[pb.ModelFile, bytes]:
        request = pb.DownloadModelFileRequest(name=name, path=path, offset=offset)
        first, *rest = self.stub.DownloadModelFile(request)
        return first.file, b"".join(message.data for message in rest)

    def watch(self, after: int = 0, **more: Any) -> Watch:
        return Watch(self.stub.WatchEvents(pb.WatchEventsRequest(after_position=after, **more)))

    def grant(self, resource: str, **levels: int) -> None:
        """Sets the grants of a model: subject=level."""
        listed = [permissions_pb2.Grant(principal=principal, level=level) for principal, level in levels.items()]
        self.permissions.SetPermissions(
            permissions_pb2.SetPermissionsRequest(
                permissions=permissions_pb2.Permissions(resource=resource, grants=listed)
            )
        )


class Watch:
    """One open stream of events."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.position = next(call).position  # The first message comes at once.

    def take(self, count: int) -> list[pb.Event]:
        """Waits until this many events have come, and returns all that came with them."""
        events: list[pb.Event] = []
        while len(events) < count:
            message = next(self.call)
            events.extend(message.events)
            self.position = message.position
        return events

    def until(self, position: int) -> list[pb.Event]:
        """Waits until a position is reached, and returns the events before it."""
        events: list[pb.Event] = []
        while self.position < position:
            message = next(self.call)
            events.extend(message.events)
            self.position = message.position
        return events

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.call.cancel()


def told(activity: pb.Activity) -> str:
    kind = pb.ActivityType.Name(activity.type).removeprefix("ACTIVITY_TYPE_")
    number = activity.name.split("/")[3]
    stages = [pb.Stage.Name(stage).removeprefix("STAGE_") for stage in (activity.from_stage, activity.to_stage)]
    moved = f" {stages[0]}>{stages[1]}" if activity.from_stage else ""
    return f"{kind} v{number}{moved}{' rollback' if activity.rollback else ''}"


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a token with every call."""

    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=[*(details.metadata or ()), self._header]), request)

    intercept_unary_unary = intercept_unary_stream = _call
