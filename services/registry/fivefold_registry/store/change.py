"""A change of one model: its row is locked first, and its activities and events are written in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, insert, select, update

from fivefold_registry.lifecycle import Policy, Stage, VersionNotReady
from fivefold_registry.names import ModelName, RequestName, VersionName
from fivefold_registry.store.events import Written
from fivefold_registry.store.records import ActivityType, EventType, VersionStatus
from fivefold_registry.store.rows import Row, policy_of
from fivefold_registry.store.tables import activities, models, versions
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, NotFound
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database

Name = ModelName | VersionName | RequestName


class Change:
    """One change while it is made; `changing` begins and ends it.

    tx    the write transaction
    row   the model's row, which nobody else can change meanwhile
    user  who makes the change
    now   microseconds, the same for everything in the change
    """

    def __init__(self, tx: Connection, outbox: Outbox, row: Row, user: str, now: int) -> None:
        self.tx = tx
        self.row = row
        self.user = user
        self.now = now
        self._outbox = outbox
        self._sequence: int = row.activities

    @property
    def policy(self) -> Policy:
        return policy_of(self.row)

    def version(self, name: VersionName) -> Row:
        """Returns a version's row. Raises NotFound."""
        found = self.tx.execute(
            select(versions).where(versions.c.model_id == self.row.id, versions.c.number == name.number)
        ).one_or_none()
        if found is None:
            raise NotFound.of(str(name))
        return found

    def ready(self, name: VersionName) -> Row:
        """Returns the row of a version that is READY. Raises NotFound, VersionNotReady."""
        found = self.version(name)
        if found.status != VersionStatus.READY:
            raise VersionNotReady(
                f"{name} is {found.status.upper()}, not READY", name=name, status=found.status.upper()
            )
        return found

    def touch(self, number: int, **values: object) -> None:
        """Writes values of a version, with a new etag."""
        self.tx.execute(
            update(versions)
            .where(versions.c.model_id == self.row.id, versions.c.number == number)
            .values(revision=versions.c.revision + 1, updated=self.now, **values)
        )

    def activity(
        self,
        type: ActivityType,
        number: int,
        from_stage: Stage | None = None,
        to_stage: Stage | None = None,
        comment: str = "",
        rollback: bool = False,
        passage: bool = False,
    ) -> int:
        """Records what happened to a version; returns its place among the model's activities.

        rollback  RollBack did it
        passage   later rollbacks look at it
        """
        self._sequence += 1
        self.tx.execute(
            insert(activities).values(
                model_id=self.row.id,
                sequence=self._sequence,
                number=number,
                type=type,
                user=self.user,
                from_stage=from_stage,
                to_stage=to_stage,
                comment=comment,
                created=self.now,
                rollback=rollback,
                passage=passage,
            )
        )
        return self._sequence

    def event(
        self,
        type: EventType,
        number: int = 0,
        from_stage: Stage | None = None,
        to_stage: Stage | None = None,
        subject: str = "",
        readers: Iterable[str] = (),
    ) -> None:
        """Adds an event to the outbox; it gets its position as the transaction commits."""
        written = Written(
            type=type,
            model_id=self.row.id,
            model=self.row.name,
            user=self.user,
            number=number,
            from_stage=from_stage,
            to_stage=to_stage,
            subject=subject,
            readers=readers,
        )
        self._outbox.append(self.tx, type, written.key, written.payload())

    def finish(self) -> None:
        """Writes what the model's row keeps of the change."""
        self.tx.execute(
            update(models).where(models.c.id == self.row.id).values(activities=self._sequence, updated=self.now)
        )


@contextmanager
def changing(database: Database, outbox: Outbox, name: Name, user: str) -> Iterator[Change]:
    """Begins a change of the model that a name belongs to, and ends it unless the block raises.

    Joins the running transaction when there is one. Raises NotFound of `name` when there is no such model.
    """
    with database.write() as tx:
        # SQLite has the whole database locked by BEGIN IMMEDIATE and knows no FOR UPDATE.
        row = tx.execute(select(models).where(models.c.name == name.model).with_for_update()).one_or_none()
        if row is None:
            raise NotFound.of(str(name))
        change = Change(tx, outbox, row, user, micros(database.clock.now()))
        yield change
        change.finish()


def check_etag(given: str, present: str, name: Name) -> None:
    """Raises Aborted when an etag is given that is not the present one."""
    if given and given != present:
        raise Aborted(
            f"{name} was changed since its etag was read; read it again", name=name, given=given, present=present
        )
