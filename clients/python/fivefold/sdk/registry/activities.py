"""Comments on versions, what happened to them, whether that record is whole, and what happens right now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk import names
from fivefold.sdk.errors import OutOfRange
from fivefold.sdk.records import Listing, listing
from fivefold.sdk.registry.calls import RegistryCalls, hinting
from fivefold.sdk.registry.records import Activity, ActivityHead, Comment, Event, Verification
from fivefold.sdk.transport import FOREVER, request_id


class Activities(RegistryCalls):
    """The part of the registry that is about what happened and what was said."""

    def comment(self, name: str, text: str) -> Comment:
        """Adds a comment to a version. Whoever may read the model may comment."""
        request = pb.CreateCommentRequest(parent=self._version(name), text=text, request_id=request_id())
        return Comment.of(self._transport.call(self._stub.CreateComment, request))

    def comments(self, name: str) -> Listing[Comment]:
        """Lists the comments on a version, or on all versions of a model, oldest first."""
        request = pb.ListCommentsRequest(parent=self._parent(name))
        return listing(Comment, self._transport.pages(self._stub.ListComments, request, "comments"))

    def edit_comment(self, name: str, text: str) -> Comment:
        """Changes the text of a comment of your own, "models/churn/versions/3/comments/7" or "churn/3/7".

        Raises NotFound, PermissionDenied for another author's.
        """
        comment = pb.Comment(name=names.below("comments", name), text=text)
        request = pb.UpdateCommentRequest(
            comment=comment, update_mask=FieldMask(paths=["text"]), request_id=request_id()
        )
        with hinting(PERMISSION_DENIED="only its author changes a comment; add one of your own"):
            return Comment.of(self._transport.call(self._stub.UpdateComment, request))

    def delete_comment(self, name: str) -> None:
        """Deletes a comment of your own, or any where you manage the model: its text is gone, that it was stays told."""
        request = pb.DeleteCommentRequest(name=names.below("comments", name), request_id=request_id())
        with hinting(PERMISSION_DENIED="its author may delete it, and whoever manages the model"):
            self._transport.call(self._stub.DeleteComment, request)

    def activities(self, name: str) -> Listing[Activity]:
        """Lists what happened to a version, or to all versions of a model, oldest first."""
        request = pb.ListActivitiesRequest(parent=self._parent(name))
        return listing(Activity, self._transport.pages(self._stub.ListActivities, request, "activities"))

    def verify_activities(self, model: str, expected_head: ActivityHead | str | None = None) -> Verification:
        """Checks that nobody changed, removed or added what is told of a model; true when all is as it was written.

        expected_head  the head of an earlier answer, kept elsewhere: shows a cut end and a chain made anew, too

        `print(report)` says what was found; `str(report.head)` is to be kept where the database's keeper does not reach.
        """
        head = ActivityHead.parse(expected_head) if isinstance(expected_head, str) else expected_head
        wire = pb.ActivityHead(sequence=head.sequence, hash=head.hash) if head is not None else None
        request = pb.VerifyActivitiesRequest(model=names.full("models", model), expected_head=wire)
        return Verification.of(self._transport.call(self._stub.VerifyActivities, request), model=request.model)

    def watch(self, after: int = 0, *, models: Sequence[str] = (), only_new: bool = False) -> Iterator[Event]:
        """Yields events as they happen, from any past position on, until the caller stops; survives restarts.

        after     the position of the last event seen; 0: from the first one on
        models    only events of these; empty: all
        only_new  only what happens from now on, whatever `after` says

        A lost connection is opened again where it broke, for a minute since the last answer; then Unavailable is
        raised. Raises OutOfRange when `after` is beyond the last event, as after a restore of an older backup.
        """
        position = after
        begun = not only_new

        def again() -> Iterator[pb.WatchEventsResponse]:
            request = pb.WatchEventsRequest(
                after_position=position if begun else 0,
                models=[names.full("models", model) for model in models],
                only_new=not begun,
            )
            return self._transport.receive(self._stub.WatchEvents, request, timeout=FOREVER)

        try:
            for answer in self._transport.follow(again):
                begun = True
                for event in answer.events:
                    position = event.position
                    yield Event.of(event)
                position = max(position, answer.position)
        except OutOfRange as error:
            error.hint = "the registry may have been restored: read its state, then watch with only_new=True (--new)"
            raise
