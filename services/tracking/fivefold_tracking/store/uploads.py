"""What has arrived of uploads, in SQL. Only the call that holds an upload adds to it; the next one takes it over."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from fivefold_runtime.sql import Database
from fivefold_tracking.store.tables import upload_parts, uploads
from fivefold_tracking.store.upload_records import PartRecord, UploadKey, UploadRecord


class SqlUploadStore:
    """Keeps the promises of UploadStore.

    Everything is written by `write`, which asks for no deadline: what has arrived is kept when nobody waits any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def received(self, key: UploadKey, since: int) -> int:
        query = select(uploads.c.received).where(_is(key), uploads.c.touched >= since)
        with self._database.read() as tx:
            return tx.execute(query.order_by(uploads.c.received.desc()).limit(1)).scalar() or 0

    def begin(self, id: str, writer: str, key: UploadKey, now: int, most: int, most_bytes: int) -> list[str]:
        with self._database.write() as tx:
            dropped = _beyond(tx, key.subject, most - 1, most_bytes)
            if dropped:
                tx.execute(delete(uploads).where(uploads.c.id.in_(dropped)))
            tx.execute(
                insert(uploads).values(
                    id=id,
                    parent=key.parent,
                    path=key.path,
                    sha256=key.sha256,
                    subject=key.subject,
                    writer=writer,
                    received=0,
                    touched=now,
                )
            )
            return dropped

    def take(self, key: UploadKey, offset: int, writer: str, now: int, since: int) -> UploadRecord | None:
        query = select(uploads.c.id).where(_is(key), uploads.c.received == offset, uploads.c.touched >= since)
        with self._database.write() as tx:
            found = tx.execute(query.limit(1).with_for_update()).scalar()
            if found is None:
                return None
            tx.execute(update(uploads).where(uploads.c.id == found).values(writer=writer, touched=now))
            parts = select(upload_parts).where(upload_parts.c.upload == found).order_by(upload_parts.c.start)
            return UploadRecord(found, tuple(PartRecord(row.start, row.size, row.writer) for row in tx.execute(parts)))

    def add(self, id: str, part: PartRecord, now: int) -> bool:
        held = update(uploads).where(
            uploads.c.id == id, uploads.c.writer == part.writer, uploads.c.received == part.start
        )
        with self._database.write() as tx:
            if not tx.execute(held.values(received=part.start + part.size, touched=now)).rowcount:
                return False
            tx.execute(insert(upload_parts).values(upload=id, start=part.start, size=part.size, writer=part.writer))
            return True

    def end(self, id: str, writer: str) -> bool:
        with self._database.write() as tx:
            return bool(tx.execute(delete(uploads).where(uploads.c.id == id, uploads.c.writer == writer)).rowcount)

    def expire(self, before: int) -> list[str]:
        with self._database.write() as tx:
            return [*tx.execute(delete(uploads).where(uploads.c.touched < before).returning(uploads.c.id)).scalars()]

    def unknown(self, ids: Iterable[str]) -> set[str]:
        asked = set(ids)
        with self._database.read() as tx:
            return asked - set(tx.execute(select(uploads.c.id).where(uploads.c.id.in_(asked))).scalars())


def _is(key: UploadKey) -> ColumnElement[bool]:
    return and_(
        uploads.c.subject == key.subject,
        uploads.c.parent == key.parent,
        uploads.c.path == key.path,
        uploads.c.sha256 == key.sha256,
    )


def _beyond(tx: Connection, subject: str, most: int, most_bytes: int) -> list[str]:
    """Returns a caller's uploads beyond the newest `most`, or beyond the newest that have `most_bytes` together."""
    query = select(uploads.c.id, uploads.c.received).where(uploads.c.subject == subject)
    beyond, size = [], 0
    for place, row in enumerate(tx.execute(query.order_by(uploads.c.touched.desc(), uploads.c.id))):
        size += row.received
        if place >= most or size > most_bytes:
            beyond.append(row.id)
    return beyond
