"""Experiments in SQL. A partial unique index keeps display names apart, so that races end in the database."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, cast, delete, literal, select, update
from sqlalchemy.exc import IntegrityError

from fivefold_runtime import grants
from fivefold_runtime.errors import NotFound
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_tracking.lifecycle import DisplayNameTaken, check_etag, check_experiment_active
from fivefold_tracking.names import experiment_name
from fivefold_tracking.store.records import ExperimentRecord, Key, Page
from fivefold_tracking.store.tables import experiment_tags, experiments
from fivefold_tracking.store.upsert import insert, put_tags


class SqlExperimentStore:
    """Keeps the promises of ExperimentStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, display_name: str, tags: Mapping[str, str], now: int) -> ExperimentRecord:
        with self._database.write() as tx:
            number = _add(tx, display_name, tags, now)
            if number is None:
                raise DisplayNameTaken.of(display_name)
            return _get(tx, number)

    def ensure(self, display_name: str, tags: Mapping[str, str], now: int) -> ExperimentRecord:
        with self._database.write() as tx:
            # Looked up first, so that asking for one that is there costs no number. The loop turns again only when
            # another call took the name and gave it up in between.
            while (number := _active(tx, display_name)) is None:
                number = _add(tx, display_name, tags, now)
                if number is not None:
                    break
            return _get(tx, number)

    def get(self, number: int) -> ExperimentRecord:
        with self._database.read() as tx:
            return _get(tx, number)

    def lookup(self, display_name: str) -> ExperimentRecord:
        with self._database.read() as tx:
            number = _active(tx, display_name)
            if number is None:
                raise NotFound.of(display_name)
            return _get(tx, number)

    def list(
        self, authorizer: Authorizer, *, show_deleted: bool, after: Key | None, limit: int
    ) -> Page[ExperimentRecord]:
        query = select(experiments).where(
            authorizer.may_read(literal(experiment_name(0)[:-1]).concat(cast(experiments.c.number, Text)))
        )
        if not show_deleted:
            query = query.where(experiments.c.deleted.is_(None))
        if after is not None:
            query = query.where(experiments.c.number < after[0])
        with self._database.read() as tx:
            rows = tx.execute(query.order_by(experiments.c.number.desc()).limit(limit + 1)).all()
            records = _records(tx, rows[:limit])
        return Page(records, (records[-1].number,) if len(rows) > limit else None)

    def update(
        self, number: int, *, display_name: str | None, tags: Mapping[str, str] | None, etag: str, now: int
    ) -> ExperimentRecord:
        with self._database.write() as tx:
            found = _locked(tx, number, etag)
            check_experiment_active(found.name, found.deleted)
            name = found.display_name if display_name is None else display_name
            _write(tx, found, name, display_name=name, updated=now)
            if tags is not None:
                tx.execute(delete(experiment_tags).where(experiment_tags.c.experiment == number))
                put_tags(tx, experiment_tags, {"experiment": number}, tags)
            return _get(tx, number)

    def delete(self, number: int, etag: str, now: int) -> ExperimentRecord:
        with self._database.write() as tx:
            found = _locked(tx, number, etag)
            check_experiment_active(found.name, found.deleted)
            _write(tx, found, found.display_name, deleted=now, updated=now)
            return _get(tx, number)

    def undelete(self, number: int, now: int) -> ExperimentRecord:
        with self._database.write() as tx:
            found = _locked(tx, number, "")
            if found.deleted is not None:
                _write(tx, found, found.display_name, deleted=None, updated=now)
            return _get(tx, number)


def active_among(tx: Connection, numbers: Sequence[int]) -> builtins.list[int]:
    """Returns those of the experiments that are there and not deleted."""
    query = select(experiments.c.number).where(experiments.c.number.in_(numbers), experiments.c.deleted.is_(None))
    return builtins.list(tx.execute(query).scalars())


def _active(tx: Connection, display_name: str) -> int | None:
    query = select(experiments.c.number)
    return tx.execute(query.where(experiments.c.display_name == display_name, experiments.c.deleted.is_(None))).scalar()


def _add(tx: Connection, display_name: str, tags: Mapping[str, str], now: int) -> int | None:
    """Adds an experiment and returns its number, None when the display name is taken. Waits for others who take it."""
    number = tx.execute(
        insert(tx, experiments)
        .values(display_name=display_name, created=now, updated=now, revision=1)
        .on_conflict_do_nothing()
        .returning(experiments.c.number)
    ).scalar()
    if number is not None:
        put_tags(tx, experiment_tags, {"experiment": number}, tags)
        grants.own(tx, experiment_name(number))
    return number


def _locked(tx: Connection, number: int, etag: str) -> ExperimentRecord:
    """Returns an experiment that nobody else changes until the commit. Raises EtagMismatch."""
    tx.execute(select(experiments.c.number).where(experiments.c.number == number).with_for_update(key_share=True))
    found = _get(tx, number)
    check_etag(found.name, etag, found.etag)
    return found


def _write(tx: Connection, found: ExperimentRecord, shown: str, **values: object) -> None:
    try:
        tx.execute(
            update(experiments)
            .where(experiments.c.number == found.number)
            .values(revision=experiments.c.revision + 1, **values)
        )
    except IntegrityError:
        raise DisplayNameTaken.of(shown) from None


def _get(tx: Connection, number: int) -> ExperimentRecord:
    rows = tx.execute(select(experiments).where(experiments.c.number == number)).all()
    if not rows:
        raise NotFound.of(experiment_name(number))
    return _records(tx, rows)[0]


def _records(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[ExperimentRecord, ...]:
    tags: dict[int, dict[str, str]] = {row.number: {} for row in rows}
    kept = select(experiment_tags).where(experiment_tags.c.experiment.in_(tags)).order_by(experiment_tags.c.key)
    for tag in tx.execute(kept) if rows else ():
        tags[tag.experiment][tag.key] = tag.value
    return tuple(
        ExperimentRecord(
            number=row.number,
            display_name=row.display_name,
            tags=tags[row.number],
            created=row.created,
            updated=row.updated,
            deleted=row.deleted,
            etag=str(row.revision),
        )
        for row in rows
    )
