"""The part of the service in which people talk: transition requests, comments, and the record of what happened."""

from __future__ import annotations

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry import names, wire
from fivefold_registry.lifecycle import Actor
from fivefold_registry.names import CommentName, ModelName, RequestName, VersionName
from fivefold_registry.store.sql import Store
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_runtime.validation import FieldRequired

PAGE, LARGEST_PAGE = 100, 1_000

Context = grpc.ServicerContext


class Conversation:
    """Its methods; the servicer that they belong to also has the others."""

    def __init__(self, database: Database, store: Store, authorizer: Authorizer) -> None:
        self.database = database  # `mutation` looks for it here
        self._store = store
        self._authorizer = authorizer

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
        size = paging.size(request.page_size, PAGE, LARGEST_PAGE)
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

    @mutation
    def UpdateComment(self, request: pb.UpdateCommentRequest, context: Context) -> pb.Comment:
        asked = request.comment
        name = CommentName.parse(asked.name, "comment.name")
        chosen(request.update_mask, asked, ("text",))
        if not asked.text:
            raise FieldRequired.at("comment.text", "is required")
        return wire.comment(self._store.journal.edit(name, asked.text, caller().subject))

    @mutation
    def DeleteComment(self, request: pb.DeleteCommentRequest, context: Context) -> Empty:
        self._store.journal.delete(CommentName.parse(request.name), self._actor(request.name))
        return Empty()

    def ListComments(self, request: pb.ListCommentsRequest, context: Context) -> pb.ListCommentsResponse:
        size = paging.size(request.page_size, PAGE, LARGEST_PAGE)
        model, number = names.parent(request.parent)
        found = self._store.journal.comments(model, number, _number(request) or 0, size + 1)
        more = paging.token_of(request, [found[size - 1].sequence] if len(found) > size else None)
        return pb.ListCommentsResponse(comments=[wire.comment(record) for record in found[:size]], next_page_token=more)

    def ListActivities(self, request: pb.ListActivitiesRequest, context: Context) -> pb.ListActivitiesResponse:
        size = paging.size(request.page_size, PAGE, LARGEST_PAGE)
        model, number = names.parent(request.parent)
        after = _number(request) or 0
        found = self._store.journal.activities(model, number, after, size + 1)
        more = paging.token_of(request, [found[size - 1].sequence] if len(found) > size else None)
        return pb.ListActivitiesResponse(
            activities=[wire.activity(record) for record in found[:size]], next_page_token=more
        )

    def VerifyActivities(self, request: pb.VerifyActivitiesRequest, context: Context) -> pb.VerifyActivitiesResponse:
        name = ModelName.parse(request.model, "model")
        found, number = self._store.audit.verify(name, wire.head_of(request.expected_head))
        return wire.verdict(found, name.model, number)

    def _actor(self, name: str) -> Actor:
        return Actor(caller().subject, self._authorizer.level(name))


def _number(request: Message) -> int | None:
    """Returns the number that a page begins after, None for the first page."""
    (number,) = paging.key_of(request, paging.NUMBER) or (None,)
    return number
