"""A change of one model: its row is locked first, and its activities and events are written in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from fivefold_registry.chain import Chain, Part
from fivefold_registry.lifecycle import Policy, Stage, VersionNotReady
from fivefold_registry.names import AliasName, CommentName, ModelName, RequestName, VersionName
from fivefold_registry.store.events import Written
from fivefold_registry.store.records import ActivityType, EventType, VersionRecord, VersionStatus
from fivefold_registry.store.rows import Row, chain_parts, policy_of, version_of
from fivefold_registry.store.tables import activities, aliases, models, versions
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, NotFound
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database

Name = ModelName | VersionName | RequestName | CommentName | AliasName


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where changes are written down: the outbox for those who follow, the chain for those who check."""

    outbox: Outbox
    chain: Chain


class Change:
    """One change while it is made; `changing` begins and ends it.

    tx    the write transaction
    row   the model's row, which nobody else can change meanwhile
    user  who makes the change
    now   microseconds, the same for everything in the change, and never before the model's last one
    """

    def __init__(self, tx: Connection, ledger: Ledger, row: Row, user: str, now: int) -> None:
        self.tx = tx
        self.row = row
        self.user = user
        self.now = max(now, row.updated)  # A clock that was set back does not turn the story around.
        self.chain = ledger.chain
        self._outbox = ledger.outbox
        self._sequence: int = row.activities
        self._head: str = row.head

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

    def record(self, number: int) -> VersionRecord:
        """Returns a version as it is now, without files."""
        name = VersionName(self.row.name, number)
        meaning = select(aliases.c.alias).where(aliases.c.model_id == self.row.id, aliases.c.number == number)
        return version_of(
            self.version(name), self.row, aliases=self.tx.execute(meaning.order_by(aliases.c.alias)).scalars()
        )

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
        subject: int = 0,
        digest: str = "",
    ) -> int:
        """Records what happened to a version; returns its place among the model's activities.

        rollback  RollBack did it
        passage   later rollbacks look at it
        subject   place of the comment that it is about
        digest    of that comment's text
        """
        self._sequence += 1
        told: dict[str, Part] = {
            "sequence": self._sequence,
            "number": number,
            "type": type,
            "user": self.user,
            "from_stage": from_stage,
            "to_stage": to_stage,
            "comment": comment,
            "created": self.now,
            "rollback": rollback,
            "passage": passage,
            "subject": subject,
            "digest": digest,
        }
        self._head = self.chain.hash(self._head, chain_parts(self.row.id, told))
        self.tx.execute(insert(activities).values(model_id=self.row.id, hash=self._head, **told))
        return self._sequence

    @property
    def next(self) -> int:
        """The place that the next activity gets."""
        return self._sequence + 1

    def event(
        self,
        type: EventType,
        number: int = 0,
        from_stage: Stage | None = None,
        to_stage: Stage | None = None,
        subject: str = "",
        readers: Iterable[str] = (),
        renamed: str = "",
        status: str = "",
    ) -> None:
        """Adds an event to the outbox; it gets its position as the transaction commits.

        renamed  the model's new id, of the event that tells of it
        status   of a version, of the event that tells of its making
        """
        written = Written(
            type=type,
            model_id=self.row.id,
            model=renamed or self.row.name,
            old=self.row.name if renamed else "",
            user=self.user,
            number=number,
            from_stage=from_stage,
            to_stage=to_stage,
            subject=subject,
            readers=readers,
            status=status,
        )
        self._outbox.append(self.tx, type, written.key, written.payload())

    def finish(self) -> None:
        """Writes what the model's row keeps of the change."""
        self.tx.execute(
            update(models)
            .where(models.c.id == self.row.id)
            .values(activities=self._sequence, head=self._head, updated=self.now)
        )


@contextmanager
def changing(database: Database, ledger: Ledger, name: Name, user: str) -> Iterator[Change]:
    """Begins a change of the model that a name belongs to, and ends it unless the block raises.

    Joins the running transaction when there is one. Raises NotFound of `name` when there is no such model.
    """
    with database.write() as tx:
        # SQLite has the whole database locked by BEGIN IMMEDIATE and knows no FOR UPDATE.
        row = tx.execute(select(models).where(models.c.name == name.model).with_for_update()).one_or_none()
        if row is None:
            raise NotFound.of(str(name))
        change = Change(tx, ledger, row, user, micros(database.clock.now()))
        yield change
        change.finish()


def check_etag(given: str, present: str, name: Name) -> None:
    """Raises Aborted when an etag is given that is not the present one."""
    if given and given != present:
        raise Aborted(
            f"{name} was changed since its etag was read; read it again", name=name, given=given, present=present
        )
