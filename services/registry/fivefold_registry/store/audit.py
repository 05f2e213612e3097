"""The chain of activities in SQL: checked, and begun for activities that are older than it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NoReturn

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.chain import Chain, Fault, Head, Link, Verdict
from fivefold_registry.names import ModelName
from fivefold_registry.store.records import ActivityType
from fivefold_registry.store.rows import Row, chain_parts
from fivefold_registry.store.tables import activities, chain_key, comments, models
from fivefold_runtime import calls
from fivefold_runtime.errors import NotFound
from fivefold_runtime.settings import StartError
from fivefold_runtime.sql import Database

log = logging.getLogger(__name__)

_WRITTEN = (ActivityType.NEW_COMMENT, ActivityType.EDITED_COMMENT)
_BATCH = 1_000  # rows in memory


class SqlAudit:
    """Keeps the promises of AuditStore."""

    def __init__(self, database: Database, chain: Chain) -> None:
        self._database = database
        self._chain = chain

    def verify(self, name: ModelName, expected: Head | None) -> tuple[Verdict, int]:
        with self._database.read() as tx:
            model = tx.execute(select(models).where(models.c.name == name.model)).one_or_none()
            if model is None:
                raise NotFound.of(str(name))
            texts = _Texts(self._chain, model.id)
            links = texts.seen(_rows(tx, model.id))
            verdict = self._chain.check(links, Head(model.activities, model.head), expected)
            altered = texts.altered(tx)
            if altered and (not verdict.bad or altered < verdict.bad):
                verdict = replace(verdict, fault=Fault.EDITED, bad=altered)
            number = tx.execute(
                select(activities.c.number).where(
                    activities.c.model_id == model.id, activities.c.sequence == verdict.bad
                )
            ).scalar_one_or_none()
            return verdict, number or 0

    def begin(self) -> None:
        with self._database.write() as tx:
            mark = tx.execute(select(chain_key.c.mark)).scalar_one_or_none()
            if mark == self._chain.mark:
                return
            if mark is not None:
                _refuse()
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            tx.execute(insert(chain_key).values(id=1, mark=self._chain.mark).on_conflict_do_nothing())
            if tx.execute(select(chain_key.c.mark)).scalar_one() != self._chain.mark:
                _refuse()  # Another server was faster.
            old = tx.execute(select(models.c.id).where(models.c.head == "", models.c.activities > 0)).scalars().all()
            for model_id in old:
                self._adopt(tx, model_id)
        if old:
            log.warning("chains begun", extra={"models": len(old)})

    def _adopt(self, tx: Connection, model_id: str) -> None:
        """Gives hashes to the activities of a model from before there was a chain."""
        query = select(comments.c.sequence, comments.c.text).where(comments.c.model_id == model_id)
        texts = {row.sequence: row.text for row in tx.execute(query)}
        head = ""
        for row in _rows(tx, model_id):
            told = dict(row._mapping)
            new: dict[str, object] = {}
            if row.type == ActivityType.NEW_COMMENT:
                new["subject"] = row.sequence
                new["digest"] = self._chain.digest(model_id, row.sequence, texts.get(row.sequence, ""))
            head = new["hash"] = self._chain.hash(head, chain_parts(model_id, told | new))
            tx.execute(
                update(activities)
                .where(activities.c.model_id == model_id, activities.c.sequence == row.sequence)
                .values(**new)
            )
        tx.execute(update(models).where(models.c.id == model_id).values(head=head))


class _Texts:
    """Compares the texts of comments with what the activities, as they pass by, say of them."""

    def __init__(self, chain: Chain, model_id: str) -> None:
        self._chain = chain
        self._model_id = model_id
        self._said: dict[int, tuple[int, str, int]] = {}  # comment -> (activity that says it, digest, version)
        self._gone: set[int] = set()  # versions that were deleted, with their comments, as the chain itself tells

    def seen(self, rows: Iterable[Row]) -> Iterator[Link]:
        for row in rows:
            if row.type in _WRITTEN:
                self._said[row.subject] = (row.sequence, row.digest, row.number)
            elif row.type == ActivityType.DELETED_COMMENT:
                self._said.pop(row.subject, None)
            elif row.type == ActivityType.DELETED_VERSION:
                self._gone.add(row.number)
            yield Link(row.sequence, chain_parts(self._model_id, row), row.hash)

    def altered(self, tx: Connection) -> int:
        """Returns the first activity whose comment is not there or has another text, 0 when there is none."""
        query = select(comments.c.sequence, comments.c.text).where(comments.c.model_id == self._model_id)
        there = {row.sequence: self._chain.digest(self._model_id, row.sequence, row.text) for row in tx.execute(query)}
        bad = [
            sequence
            for comment, (sequence, digest, version) in self._said.items()
            if version not in self._gone and there.get(comment) != digest
        ]
        return min(bad, default=0)


def _rows(tx: Connection, model_id: str) -> Iterator[Row]:
    """Returns a model's activities in order, a few at a time."""
    after = -1
    while True:
        calls.check_deadline()
        query = (
            select(activities)
            .where(activities.c.model_id == model_id, activities.c.sequence > after)
            .order_by(activities.c.sequence)
            .limit(_BATCH)
        )
        rows = tx.execute(query).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        after = rows[-1].sequence


def _refuse() -> NoReturn:
    raise StartError(
        "the activities of this database are chained with another key. Restore the file activity.key in the data folder,"
        " or set --activity-key to the same secret for all replicas."
    )
