"""Moves between stages in SQL: the model's row first, then the rules, then the rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from fivefold_registry import lifecycle
from fivefold_registry.lifecycle import Actor, Passage, Stage
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.change import Change, Ledger, changing, check_etag
from fivefold_registry.store.records import ActivityType, EventType, Move, Moved, Tenure
from fivefold_registry.store.rows import Row, version_etag
from fivefold_registry.store.tables import activities, deleted_versions, versions
from fivefold_registry.store.tenures import tenures
from fivefold_runtime.clock import micros
from fivefold_runtime.sql import Database

_NOW = 2**62  # microseconds: later than whatever happened, even by a clock that was ahead


class SqlStages:
    """Keeps the promises of StageStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def move(self, name: VersionName, move: Move, actor: Actor) -> Moved:
        with changing(self._database, self._ledger, name, actor.subject) as change:
            row = change.version(name)
            lifecycle.check_right(actor, Stage(row.stage), move.target)
            if row.stage == move.target:
                return _stay(change, name, move)
            return apply(change, name, move, ActivityType.APPLIED_TRANSITION)

    def tenures(self, name: ModelName, stage: Stage, time: datetime | None) -> list[Tenure]:
        return tenures(self._database, name, stage, _NOW if time is None else micros(time))

    def roll_back(self, name: ModelName, comment: str, actor: Actor) -> Moved:
        with changing(self._database, self._ledger, name, actor.subject) as change:
            lifecycle.check_right(actor, Stage.PRODUCTION, Stage.ARCHIVED)
            present = frozenset(_in_stage(change, Stage.PRODUCTION))
            choice = lifecycle.rollback(_passages(change), present, _gone(change))
            restored = VersionName(name.model, choice.restored)
            row = change.ready(restored)
            leaving = [] if choice.archived is None else [choice.archived]
            if row.stage == Stage.PRODUCTION:  # It never left: what came after it goes, that is all.
                _archive(change, leaving, Stage.PRODUCTION, ActivityType.APPLIED_TRANSITION, comment, rollback=True)
            else:
                lifecycle.check_move(change.policy, Stage(row.stage), Stage.PRODUCTION)
                _enter(change, row, Stage.PRODUCTION, leaving, ActivityType.APPLIED_TRANSITION, comment, rollback=True)
            return Moved(version=change.record(restored.number), archived=tuple(leaving))


def _stay(change: Change, name: VersionName, move: Move) -> Moved:
    """Leaves a version where it is, and archives the others there when that is asked for.

    So a script may promote a version again, as with MLflow. Raises as `apply`.
    """
    check_etag(move.etag, version_etag(change.ready(name)), name)
    lifecycle.check_archiving(move.target, move.archive_existing)
    leaving = [other for other in _in_stage(change, move.target) if move.archive_existing and other != name.number]
    _archive(change, leaving, move.target, ActivityType.SYSTEM_TRANSITION, "", rollback=False)
    return Moved(version=change.record(name.number), archived=tuple(leaving))


def apply(change: Change, name: VersionName, move: Move, type: ActivityType) -> Moved:
    """Moves one version within a change; the right to do so is the caller's to check.

    Raises NotFound, VersionNotReady, Aborted (etag), StageNotAllowed, NothingToArchive; then nothing is changed.
    """
    row = change.ready(name)
    check_etag(move.etag, version_etag(row), name)
    lifecycle.check_archiving(move.target, move.archive_existing)
    lifecycle.check_move(change.policy, Stage(row.stage), move.target)
    others = _in_stage(change, move.target)
    lifecycle.check_room(change.policy, move.target, others, move.archive_existing)
    leaving = others if move.archive_existing else []
    _enter(change, row, move.target, leaving, type, move.comment, rollback=False)
    return Moved(version=change.record(name.number), archived=tuple(leaving))


def _enter(
    change: Change, row: Row, target: Stage, leaving: Sequence[int], type: ActivityType, comment: str, rollback: bool
) -> None:
    """Moves a version in and others out.

    Rows go out first, because the unique index looks at every step; the story is told the other way round, so that one
    who follows it never sees the stage empty.
    """
    for number in leaving:
        change.touch(number, stage=Stage.ARCHIVED, sole=False)
    change.touch(row.number, stage=target, sole=target is Stage.PRODUCTION and change.policy.one_production)
    _tell(change, row.number, Stage(row.stage), target, type, comment, rollback)
    for number in leaving:
        _tell(change, number, target, Stage.ARCHIVED, ActivityType.SYSTEM_TRANSITION, "", rollback)


def _archive(
    change: Change, leaving: Sequence[int], stage: Stage, type: ActivityType, comment: str, rollback: bool
) -> None:
    for number in leaving:
        change.touch(number, stage=Stage.ARCHIVED, sole=False)
        _tell(change, number, stage, Stage.ARCHIVED, type, comment, rollback)


def _tell(
    change: Change, number: int, current: Stage, target: Stage, type: ActivityType, comment: str, rollback: bool
) -> None:
    change.activity(type, number, current, target, comment, rollback, passage=rollback or target is Stage.PRODUCTION)
    change.event(EventType.MODEL_VERSION_TRANSITIONED_STAGE, number, current, target)


def _in_stage(change: Change, stage: Stage) -> list[int]:
    query = (
        select(versions.c.number)
        .where(versions.c.model_id == change.row.id, versions.c.stage == stage)
        .order_by(versions.c.number)
    )
    return list(change.tx.execute(query).scalars())


def _gone(change: Change) -> frozenset[int]:
    """Returns the model's versions that were deleted."""
    query = select(deleted_versions.c.number).where(deleted_versions.c.model_id == change.row.id)
    return frozenset(change.tx.execute(query).scalars())


def _passages(change: Change) -> list[Passage]:
    """Returns how versions came to Production, and how rollbacks took them away, in order."""
    query = (
        select(activities.c.number, activities.c.to_stage, activities.c.rollback)
        .where(
            activities.c.model_id == change.row.id,
            activities.c.passage,
        )
        .order_by(activities.c.sequence)
    )
    return [Passage(row.number, row.to_stage == Stage.PRODUCTION, row.rollback) for row in change.tx.execute(query)]
