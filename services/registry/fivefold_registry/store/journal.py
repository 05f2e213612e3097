"""What happened to a model's versions, in SQL: comments and activities. Both are only ever added."""

from __future__ import annotations

from sqlalchemy import and_, insert, select

from fivefold_registry.names import VersionName
from fivefold_registry.store.change import changing
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import ActivityRecord, ActivityType, CommentRecord, EventType
from fivefold_registry.store.rows import activity_of, moment
from fivefold_registry.store.tables import activities, comments
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database


class SqlJournal:
    """Keeps the promises of JournalStore."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def comment(self, name: VersionName, text: str, user: str) -> CommentRecord:
        with changing(self._database, self._outbox, name, user) as change:
            change.version(name)
            sequence = change.activity(ActivityType.NEW_COMMENT, name.number)
            change.tx.execute(
                insert(comments).values(
                    model_id=change.row.id,
                    sequence=sequence,
                    number=name.number,
                    text=text,
                    author=user,
                    created=change.now,
                )
            )
            change.event(EventType.COMMENT_CREATED, name.number, subject=f"{name}/comments/{sequence}")
            return CommentRecord(version=name, sequence=sequence, text=text, author=user, created=moment(change.now))

    def activities(self, model: str, number: int | None, after: int, limit: int) -> list[ActivityRecord]:
        with self._database.read() as tx:
            model_id = model_and_version(tx, model, number).id
            query = (
                select(activities, comments.c.text)
                .join(
                    comments,
                    and_(
                        comments.c.model_id == activities.c.model_id,
                        comments.c.sequence == activities.c.sequence,
                    ),
                    isouter=True,
                )
                .where(activities.c.model_id == model_id, activities.c.sequence > after)
            )
            if number is not None:
                query = query.where(activities.c.number == number)
            rows = tx.execute(query.order_by(activities.c.sequence).limit(limit)).all()
        return [activity_of(row, model, row.text) for row in rows]
