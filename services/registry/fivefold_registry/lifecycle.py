"""Stages: which moves there are, which right each needs, and which version a rollback brings back.

Pure: facts in tables, no store, no clock. A test walks every pair of stages through every table.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fivefold_runtime.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from fivefold_runtime.levels import Level


class Stage(StrEnum):
    """Where a version stands in its life. The values are what is stored and shown."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that a model's owner chooses; the default allows any move. `names` are own names of stages."""

    one_production: bool = False
    stepwise: bool = False
    no_self_approval: bool = False
    names: Mapping[Stage, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and their level on the model."""

    subject: str
    level: Level


class StageNotAllowed(FailedPrecondition):
    """The model's policy has no such move."""

    reason = "STAGE_NOT_ALLOWED"


class VersionNotReady(FailedPrecondition):
    """The version is PENDING or FAILED."""

    reason = "VERSION_NOT_READY"


class VersionInUse(FailedPrecondition):
    """A version in Staging or Production stands in the way."""

    reason = "VERSION_IN_USE"


class NothingToRollBack(FailedPrecondition):
    """There is no earlier Production version."""

    reason = "NOTHING_TO_ROLL_BACK"


class NothingToArchive(InvalidArgument):
    """`archive_existing` with a stage whose versions are never archived as a side effect."""

    reason = "FIELD_INVALID"


FREE: Mapping[Stage, frozenset[Stage]] = {stage: frozenset(Stage) - {stage} for stage in Stage}
STEPWISE: Mapping[Stage, frozenset[Stage]] = {
    Stage.NONE: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.ARCHIVED: frozenset({Stage.STAGING, Stage.PRODUCTION}),
}
#: Stages in which versions count as used: they are archived as a side effect, and keep their model from being deleted.
ACTIVE = frozenset({Stage.STAGING, Stage.PRODUCTION})


def targets(policy: Policy, current: Stage) -> frozenset[Stage]:
    """Returns the stages that a version may move to."""
    return (STEPWISE if policy.stepwise else FREE)[current]


def needed(current: Stage, target: Stage) -> Level:
    """Returns the level that a move needs: whatever touches Production needs the right for Production."""
    if Stage.PRODUCTION in (current, target):
        return Level.CAN_MANAGE_PRODUCTION_VERSIONS
    return Level.CAN_MANAGE_STAGING_VERSIONS


def check_right(actor: Actor, current: Stage, target: Stage) -> None:
    """Raises PermissionDenied when the actor's level is below what the move needs."""
    level = needed(current, target)
    if actor.level < level:
        raise PermissionDenied(
            f"a move from {current} to {target} needs {level.name}; you have {actor.level.name}",
            current=current,
            target=target,
            needed=level.name,
            has=actor.level.name,
        )


def check_move(policy: Policy, current: Stage, target: Stage) -> None:
    """Raises StageNotAllowed, with what would be allowed, when the policy has no such move."""
    allowed = targets(policy, current)
    if target not in allowed:
        listed = ", ".join(stage for stage in Stage if stage in allowed)
        raise StageNotAllowed(
            f"cannot move from {current} to {target}; allowed: {listed}", current=current, target=target, allowed=listed
        )


def check_archiving(target: Stage, archive_existing: bool) -> None:
    """Raises NothingToArchive when other versions would have to be archived from a stage that is not in use."""
    if archive_existing and target not in ACTIVE:
        why = f"goes with the stages Staging and Production only, not with {target}"
        raise NothingToArchive.at("archive_existing", why, target=target)


def check_room(policy: Policy, target: Stage, others: Iterable[int], archive_existing: bool) -> None:
    """Raises StageNotAllowed when Production is taken, the policy allows one, and nobody asked to archive it.

    others  numbers of the other versions in the target stage
    """
    if policy.one_production and target is Stage.PRODUCTION and not archive_existing:
        taken = ", ".join(str(number) for number in sorted(others))
        if taken:
            raise StageNotAllowed(
                f"version {taken} is in Production and the model's policy allows one; allowed: archive_existing",
                target=target,
                taken_by=taken,
                rule="one_production",
                allowed="archive_existing",
            )


@dataclass(frozen=True, slots=True)
class Passage:
    """A version coming to Production (`came`) or leaving it, as its activity tells; `rollback` when RollBack did it."""

    number: int
    came: bool
    rollback: bool


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback does: `restored` comes back (or stays), `archived` leaves; None when nothing was there."""

    restored: int
    archived: int | None


def rollback(history: Iterable[Passage], in_production: frozenset[int], gone: Container[int] = frozenset()) -> Rollback:
    """Chooses what a rollback does.

    history        passages of the model's versions in the order they happened, deleted versions' too
    in_production  numbers that are in Production now
    gone           numbers of versions that were deleted, which nothing brings back

    The present version is the last that came and is still there. Rollbacks go further back each time: what one of them
    undid does not count any more. Raises NothingToRollBack when no other version came before the present one.
    """
    came: list[int] = []
    for passage in history:
        if not passage.rollback:
            if passage.came:
                came.append(passage.number)
        elif passage.came:
            while came and came[-1] != passage.number:
                came.pop()
        else:
            while came and came[-1] == passage.number:
                came.pop()
    came = [number for number in came if number not in gone]
    while came and in_production and came[-1] not in in_production:
        came.pop()
    present = came[-1] if in_production and came else None
    while came and came[-1] == present:
        came.pop()
    if not came:
        raise NothingToRollBack("no other version was in Production before", present=present)
    return Rollback(came[-1], present)
