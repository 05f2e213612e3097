"""What events do not carry themselves, in SQL."""

from __future__ import annotations

from sqlalchemy import select

from fivefold_registry.store.records import EventRecord, EventType
from fivefold_registry.store.tables import comments, models, requests, versions
from fivefold_runtime.sql import Database

_WRITTEN = {EventType.COMMENT_CREATED: comments.c.text, EventType.TRANSITION_REQUEST_CREATED: requests.c.comment}


class SqlDetails:
    """Keeps the promises of DetailStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def comment(self, event: EventRecord) -> str:
        column = _WRITTEN.get(event.type)
        if column is None:
            return ""
        sequence = int(event.subject.rpartition("/")[2])
        query = select(column).where(column.table.c.model_id == event.model_id, column.table.c.sequence == sequence)
        with self._database.read() as tx:
            return tx.execute(query).scalar() or ""

    def status(self, event: EventRecord) -> str:
        if event.type is not EventType.MODEL_VERSION_CREATED:
            return ""
        if event.status:
            return event.status.upper()
        query = select(versions.c.status).where(
            versions.c.model_id == event.model_id, versions.c.number == event.number
        )
        with self._database.read() as tx:
            return (tx.execute(query).scalar() or "").upper()

    def model_now(self, model_id: str) -> str | None:
        with self._database.read() as tx:
            return tx.execute(select(models.c.name).where(models.c.id == model_id)).scalar()
