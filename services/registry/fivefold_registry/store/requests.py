"""Transition requests in SQL. Settling one and what follows from it are one transaction."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from fivefold_registry import requests as rules
from fivefold_registry.lifecycle import Actor, Stage, check_move
from fivefold_registry.names import RequestName, VersionName
from fivefold_registry.requests import SETTLED, Action, RequestState
from fivefold_registry.store import stages
from fivefold_registry.store.change import Change, Ledger, changing
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import ActivityType, EventType, Move, Moved, RequestRecord
from fivefold_registry.store.rows import policy_of, request_of
from fivefold_registry.store.tables import requests, versions
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database

_TOLD = {
    Action.APPROVE: ActivityType.APPROVED_REQUEST,
    Action.REJECT: ActivityType.REJECTED_REQUEST,
    Action.CANCEL: ActivityType.CANCELLED_REQUEST,
}


class SqlRequests:
    """Keeps the promises of RequestStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def ask(self, name: VersionName, target: Stage, comment: str, user: str) -> RequestRecord:
        with changing(self._database, self._ledger, name, user) as change:
            row = change.ready(name)
            current = Stage(row.stage)
            check_move(change.policy, current, target)
            sequence = change.activity(ActivityType.REQUESTED_TRANSITION, name.number, current, target, comment)
            change.tx.execute(
                insert(requests).values(
                    model_id=change.row.id,
                    sequence=sequence,
                    number=name.number,
                    stage=target,
                    creator=user,
                    comment=comment,
                    state=RequestState.OPEN,
                    settled_by="",
                    created=change.now,
                )
            )
            asked = RequestName(name.model, name.number, sequence)
            change.event(EventType.TRANSITION_REQUEST_CREATED, name.number, current, target, subject=str(asked))
            return self._record(change, asked)

    def approve(
        self, name: RequestName, archive_existing: bool, comment: str, actor: Actor
    ) -> tuple[RequestRecord, Moved]:
        with changing(self._database, self._ledger, name, actor.subject) as change:
            target = self._check(change, name, Action.APPROVE, actor)
            move = Move(target=target, archive_existing=archive_existing, comment=comment)
            moved = stages.apply(change, name.version, move, ActivityType.APPROVED_REQUEST)
            self._settle(change, name, Action.APPROVE, target)
            return self._record(change, name), moved

    def reject(self, name: RequestName, comment: str, actor: Actor) -> RequestRecord:
        return self._close(name, Action.REJECT, comment, actor)

    def cancel(self, name: RequestName, comment: str, actor: Actor) -> RequestRecord:
        return self._close(name, Action.CANCEL, comment, actor)

    def list(
        self, model: str, number: int | None, settled: bool, before: int | None, limit: int
    ) -> list[RequestRecord]:
        with self._database.read() as tx:
            row = model_and_version(tx, model, number)
            query = (
                select(requests, versions.c.stage.label("current"))
                .join(
                    versions,
                    (versions.c.model_id == requests.c.model_id) & (versions.c.number == requests.c.number),
                )
                .where(requests.c.model_id == row.id)
            )
            if number is not None:
                query = query.where(requests.c.number == number)
            if not settled:
                query = query.where(requests.c.state == RequestState.OPEN)
            if before is not None:
                query = query.where(requests.c.sequence < before)
            found = tx.execute(query.order_by(requests.c.sequence.desc()).limit(limit)).all()
        return [request_of(one, model, one.current, policy_of(row)) for one in found]

    def _close(self, name: RequestName, action: Action, comment: str, actor: Actor) -> RequestRecord:
        with changing(self._database, self._ledger, name, actor.subject) as change:
            target = self._check(change, name, action, actor)
            current = Stage(change.version(name.version).stage)
            change.activity(_TOLD[action], name.number, current, target, comment)
            self._settle(change, name, action, target)
            return self._record(change, name)

    def _check(self, change: Change, name: RequestName, action: Action, actor: Actor) -> Stage:
        """Returns where the request wants to go, when the actor may do this to it."""
        found = self._record(change, name)
        rules.check_settling(action, found.state, found.creator, found.current, found.stage, found.policy, actor)
        return found.stage

    def _settle(self, change: Change, name: RequestName, action: Action, target: Stage) -> None:
        change.tx.execute(
            update(requests)
            .where(requests.c.model_id == change.row.id, requests.c.sequence == name.sequence)
            .values(state=SETTLED[action], settled_by=change.user, settled=change.now)
        )
        change.event(EventType.TRANSITION_REQUEST_SETTLED, name.number, to_stage=target, subject=str(name))

    def _record(self, change: Change, name: RequestName) -> RequestRecord:
        row = change.tx.execute(
            select(requests).where(
                requests.c.model_id == change.row.id,
                requests.c.number == name.number,
                requests.c.sequence == name.sequence,
            )
        ).one_or_none()
        if row is None:
            raise NotFound.of(str(name))
        return request_of(row, name.model, change.version(name.version).stage, change.policy)
