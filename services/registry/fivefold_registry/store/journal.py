"""What happened to a model's versions, in SQL: comments and activities. Activities are only ever added."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update

from fivefold_registry.lifecycle import Actor
from fivefold_registry.names import CommentName, VersionName
from fivefold_registry.remarks import check_deleting, check_editing
from fivefold_registry.store.change import Change, Ledger, changing
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import ActivityRecord, ActivityType, CommentRecord, EventType
from fivefold_registry.store.rows import Row, activity_of, comment_of
from fivefold_registry.store.tables import activities, comments
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database


class SqlJournal:
    """Keeps the promises of JournalStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def comment(self, name: VersionName, text: str, user: str) -> CommentRecord:
        with changing(self._database, self._ledger, name, user) as change:
            change.version(name)
            made = CommentName(name.model, name.number, change.next)
            self._tell(change, ActivityType.NEW_COMMENT, EventType.COMMENT_CREATED, made, text)
            change.tx.execute(
                insert(comments).values(
                    model_id=change.row.id,
                    sequence=made.sequence,
                    number=name.number,
                    text=text,
                    author=user,
                    created=change.now,
                )
            )
            return comment_of(_row(change, made), name.model)

    def edit(self, name: CommentName, text: str, user: str) -> CommentRecord:
        with changing(self._database, self._ledger, name, user) as change:
            row = _row(change, name)
            check_editing(row.author, user)
            if text != row.text:
                self._tell(change, ActivityType.EDITED_COMMENT, EventType.COMMENT_UPDATED, name, text)
                change.tx.execute(update(comments).where(_is(change, name)).values(text=text, updated=change.now))
            return comment_of(_row(change, name), name.model)

    def delete(self, name: CommentName, actor: Actor) -> None:
        with changing(self._database, self._ledger, name, actor.subject) as change:
            check_deleting(_row(change, name).author, actor)
            self._tell(change, ActivityType.DELETED_COMMENT, EventType.COMMENT_DELETED, name, None)
            change.tx.execute(delete(comments).where(_is(change, name)))

    def comments(self, model: str, number: int | None, after: int, limit: int) -> list[CommentRecord]:
        with self._database.read() as tx:
            model_id = model_and_version(tx, model, number).id
            query = select(comments).where(comments.c.model_id == model_id, comments.c.sequence > after)
            if number is not None:
                query = query.where(comments.c.number == number)
            rows = tx.execute(query.order_by(comments.c.sequence).limit(limit)).all()
        return [comment_of(row, model) for row in rows]

    def activities(self, model: str, number: int | None, after: int, limit: int) -> list[ActivityRecord]:
        with self._database.read() as tx:
            model_id = model_and_version(tx, model, number).id
            # `subject` names the comment; activities from before there was one have none, and the comment's own number.
            subject = func.coalesce(func.nullif(activities.c.subject, 0), activities.c.sequence)
            query = (
                select(activities, comments.c.text)
                .join(
                    comments,
                    and_(comments.c.model_id == activities.c.model_id, comments.c.sequence == subject),
                    isouter=True,
                )
                .where(activities.c.model_id == model_id, activities.c.sequence > after)
            )
            if number is not None:
                query = query.where(activities.c.number == number)
            rows = tx.execute(query.order_by(activities.c.sequence).limit(limit)).all()
        return [activity_of(row, model, row.text) for row in rows]

    def _tell(self, change: Change, kind: ActivityType, event: EventType, name: CommentName, text: str | None) -> None:
        """Tells of a comment; its text enters the chain by digest only, so that it can be deleted."""
        digest = "" if text is None else change.chain.digest(change.row.id, name.sequence, text)
        change.activity(kind, name.number, subject=name.sequence, digest=digest)
        change.event(event, name.number, subject=str(name))


def _is(change: Change, name: CommentName) -> ColumnElement[bool]:
    return and_(
        comments.c.model_id == change.row.id,
        comments.c.sequence == name.sequence,
        comments.c.number == name.number,
    )


def _row(change: Change, name: CommentName) -> Row:
    row = change.tx.execute(select(comments).where(_is(change, name))).one_or_none()
    if row is None:
        raise NotFound.of(str(name))
    return row
