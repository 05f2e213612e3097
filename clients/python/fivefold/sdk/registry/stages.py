"""Stages: moves, rollbacks, what was where when; requests for moves and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from shlex import quote

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk import names
from fivefold.sdk.errors import FailedPrecondition, FivefoldError
from fivefold.sdk.records import Listing, listing
from fivefold.sdk.registry.calls import RegistryCalls, hinting
from fivefold.sdk.registry.records import Approval, StageTenure, Transition, TransitionRequest
from fivefold.sdk.times import to_timestamp
from fivefold.sdk.transport import request_id


class Stages(RegistryCalls):
    """The part of the registry that is about stages."""

    def transition(
        self, name: str, stage: str, *, archive_existing: bool = False, comment: str = "", etag: str = ""
    ) -> Transition:
        """Moves a version to a stage.

        archive_existing  archives the other versions in that stage, in the same transaction
        etag              from the last read: fails when someone wrote since; "": whatever is there

        Raises FailedPrecondition (STAGE_NOT_ALLOWED, VERSION_NOT_READY), PermissionDenied, Aborted.
        """
        version = self._version(name)
        request = pb.TransitionStageRequest(
            name=version,
            stage=self._stage(version.rpartition("/versions/")[0], stage),  # type: ignore[arg-type]
            archive_existing=archive_existing,
            comment=comment,
            etag=etag,
            request_id=request_id(),
        )
        short = names.word(version)
        with hinting(
            PERMISSION_DENIED=f"ask those who may: `fivefold models request {short} {quote(stage)} --comment WHY`",
            STAGE_NOT_ALLOWED=_rules_hint(version),
            VERSION_NOT_READY=f"`fivefold models show {short}` says why",
        ):
            return Transition.of(self._transport.call(self._stub.TransitionStage, request))

    def roll_back(self, model: str, *, comment: str = "") -> Transition:
        """Puts the Production version before the present one back, and archives the present one.

        Raises FailedPrecondition (NOTHING_TO_ROLL_BACK), PermissionDenied.
        """
        request = pb.RollBackRequest(model=names.full("models", model), comment=comment, request_id=request_id())
        nothing = f"see what was where: `fivefold models history {names.word(request.model)}`"
        with hinting(NOTHING_TO_ROLL_BACK=nothing):
            return Transition.of(self._transport.call(self._stub.RollBack, request))

    def stage_at(self, model: str, stage: str = "Production", when: datetime | None = None) -> Listing[StageTenure]:
        """Lists which versions were in a stage at a time, since when, and who put them there; by version.

        when  a time with a zone; None: now
        """
        full = names.full("models", model)
        number = self._stage(full, stage)
        request = pb.LookupStageRequest(model=full, stage=number, time=to_timestamp(when, "when"))  # type: ignore[arg-type]
        return listing(StageTenure, self._transport.call(self._stub.LookupStage, request).tenures)

    def request_transition(self, name: str, stage: str, *, comment: str = "") -> TransitionRequest:
        """Asks the managers of a model to move a version. Whoever may read the model may ask."""
        version = self._version(name)
        request = pb.CreateTransitionRequestRequest(
            parent=version,
            stage=self._stage(version.rpartition("/versions/")[0], stage),  # type: ignore[arg-type]
            comment=comment,
            request_id=request_id(),
        )
        with hinting(STAGE_NOT_ALLOWED=_rules_hint(version)):
            return TransitionRequest.of(self._transport.call(self._stub.CreateTransitionRequest, request))

    def transition_requests(self, name: str, *, show_settled: bool = False) -> Listing[TransitionRequest]:
        """Lists the open requests of a model or version, newest first; settled ones too with `show_settled`.

        `available_actions` of each are those that you may take.
        """
        request = pb.ListTransitionRequestsRequest(parent=self._parent(name), show_settled=show_settled)
        pages = self._transport.pages(self._stub.ListTransitionRequests, request, "transition_requests")
        return listing(TransitionRequest, pages)

    def approve(self, request: str, *, archive_existing: bool = False, comment: str = "") -> Approval:
        """Approves a request by its name, or the only open one of a version; the move happens at once.

        request  "models/churn/versions/3/requests/7", short "churn/3/7", or the version

        Raises FailedPrecondition (REQUEST_SETTLED, STAGE_NOT_ALLOWED), PermissionDenied (OWN_REQUEST).
        """
        message = pb.ApproveTransitionRequestRequest(
            name=self._request(request),
            archive_existing=archive_existing,
            comment=comment,
            request_id=request_id(),
        )
        model = quote(message.name.split("/")[1])
        own = f"another person must approve it: `fivefold models permissions {model}` shows who may"
        with hinting(OWN_REQUEST=own, STAGE_NOT_ALLOWED=_rules_hint(message.name), **_settled(message.name)):
            return Approval.of(self._transport.call(self._stub.ApproveTransitionRequest, message))

    def reject(self, request: str, *, comment: str = "") -> TransitionRequest:
        """Rejects a request by its name, or the only open one of a version."""
        message = pb.RejectTransitionRequestRequest(
            name=self._request(request), comment=comment, request_id=request_id()
        )
        with hinting(**_settled(message.name)):
            return TransitionRequest.of(self._transport.call(self._stub.RejectTransitionRequest, message))

    def cancel(self, request: str, *, comment: str = "") -> TransitionRequest:
        """Takes a request back by its name, or the only open one of a version."""
        message = pb.CancelTransitionRequestRequest(
            name=self._request(request), comment=comment, request_id=request_id()
        )
        with hinting(**_settled(message.name)):
            return TransitionRequest.of(self._transport.call(self._stub.CancelTransitionRequest, message))

    def _request(self, name: str) -> str:
        """Returns a request's full name; of a version, the name of its only open request."""
        parts = name.removeprefix("models/").split("/")
        if len(parts) > 3 or (len(parts) == 3 and parts[1] not in ("versions", "aliases")):
            return names.below("requests", name)
        version = self._version(name)
        waiting = self.transition_requests(version)
        if len(waiting) != 1:
            which = ", ".join(names.word(one.name) for one in waiting)
            raise FailedPrecondition(
                f"{version} has {len(waiting) or 'no'} open requests, so the request must be named",
                facts={"model_version": version, "open": str(len(waiting))},
                hint=f"name one of {which}"
                if which
                else f"see them with `fivefold models requests {names.word(version)} --all`",
            )
        return waiting[0].name


def _rules_hint(name: str) -> Callable[[FivefoldError], str]:
    model = quote(name.split("/")[1])

    def hint(error: FivefoldError) -> str:
        if "taken_by" in error.facts:
            return "archive_existing=True (--archive-existing) makes room"
        if error.facts.get("current") == error.facts.get("target"):
            return f"it is there already; see what else is with `fivefold models versions {model}`"
        return f"see the model's rules with `fivefold models show {model}`"

    return hint


def _settled(name: str) -> dict[str, str]:
    return {
        "REQUEST_SETTLED": f"see by whom with `fivefold models requests {names.word(name.rpartition('/requests/')[0])} --all`; "
        "make a new one if the move is still wanted"
    }
