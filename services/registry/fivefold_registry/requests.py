"""Transition requests: their states, and what a viewer may do with one. Pure."""

from __future__ import annotations

from enum import StrEnum

from fivefold_registry.lifecycle import Actor, Policy, Stage, needed, targets
from fivefold_runtime.errors import FailedPrecondition, PermissionDenied
from fivefold_runtime.levels import Level


class RequestState(StrEnum):
    """What became of a request. OPEN is the only one that changes."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a viewer may do with a request."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"


#: What each action makes of an open request.
SETTLED = {
    Action.APPROVE: RequestState.APPROVED,
    Action.REJECT: RequestState.REJECTED,
    Action.CANCEL: RequestState.CANCELLED,
}


class RequestSettled(FailedPrecondition):
    """The request was approved, rejected or cancelled before."""

    reason = "REQUEST_SETTLED"


class OwnRequest(PermissionDenied):
    """The model's policy forbids approving one's own request."""

    reason = "OWN_REQUEST"


def actions(
    state: RequestState, creator: str, current: Stage, target: Stage, policy: Policy, viewer: Actor
) -> tuple[Action, ...]:
    """Returns what the viewer may do now, given the stage that the version is in.

    A request whose move is not possible any more can still be rejected or cancelled.
    """
    if state is not RequestState.OPEN:
        return ()
    manages = viewer.level >= needed(current, target)
    own = viewer.subject == creator
    allowed = {
        Action.APPROVE: manages and target in targets(policy, current) and not (own and policy.no_self_approval),
        Action.REJECT: manages,
        Action.CANCEL: own or viewer.level >= Level.CAN_MANAGE,
    }
    return tuple(action for action in Action if allowed[action])


def check_settling(
    action: Action, state: RequestState, creator: str, current: Stage, target: Stage, policy: Policy, actor: Actor
) -> None:
    """Raises PermissionDenied, RequestSettled or OwnRequest when the actor may not do this to the request now.

    Whether the move itself is still possible is the move's own check.
    """
    level = Level.CAN_MANAGE if action is Action.CANCEL else needed(current, target)
    own = actor.subject == creator
    if actor.level < level and not (action is Action.CANCEL and own):
        raise PermissionDenied(
            f"to {action} this request needs {level.name}; you have {actor.level.name}",
            action=action,
            needed=level.name,
            has=actor.level.name,
        )
    if state is not RequestState.OPEN:
        raise RequestSettled(f"the request is {state} already", state=state)
    if action is Action.APPROVE and own and policy.no_self_approval:
        raise OwnRequest(
            "the model's policy forbids approving one's own request", creator=creator, rule="no_self_approval"
        )
