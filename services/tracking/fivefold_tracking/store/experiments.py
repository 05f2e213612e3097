"""Experiments in SQL. A partial unique index keeps display names apart, so that races end in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    cast,
    delete,
    false,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from fivefold_runtime import grants
from fivefold_runtime.errors import NotFound
from fivefold_runtime.filters import Comparison, Presence, sql
from fivefold_runtime.masks import Entries
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_tracking.fields import AMONG_EQUAL_EXPERIMENTS, TAGS, completed
from fivefold_tracking.lifecycle import DisplayNameTaken, View, check_etag, check_experiment_active, is_purged
from fivefold_tracking.names import experiment_name
from fivefold_tracking.store.keyset import VALUE, Column, beyond, ordered
from fivefold_tracking.store.leaves import experiment_id
from fivefold_tracking.store.records import ExperimentQuery, ExperimentRecord, Key, Page
from fivefold_tracking.store.tables import experiment_tags, experiments
from fivefold_tracking.store.upsert import change_tags, insert, put_tags

_COLUMNS: dict[str, sa.Column[Any]] = {
    "name": experiments.c.display_name,
    "experiment_id": experiments.c.number,
    "creation_time": experiments.c.created,
    "last_update_time": experiments.c.updated,
}


class SqlExperimentStore:
    """Keeps the promises of ExperimentStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, display_name: str, tags: Mapping[str, str], now: int, artifact_location: str = ""
    ) -> ExperimentRecord:
        with self._database.write() as tx:
            number = _add(tx, display_name, tags, now, artifact_location)
            if number is None:
                raise DisplayNameTaken.of(display_name)
            return _get(tx, number)

    def ensure(
        self, display_name: str, tags: Mapping[str, str], now: int, artifact_location: str = ""
    ) -> ExperimentRecord:
        with self._database.write() as tx:
            # Looked up first, so that asking for one that is there costs no number. The loop turns again only when
            # another call took the name and gave it up in between.
            while (number := _active(tx, display_name)) is None:
                number = _add(tx, display_name, tags, now, artifact_location)
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
        self, authorizer: Authorizer, query: ExperimentQuery, after: Key | None, limit: int
    ) -> Page[ExperimentRecord]:
        order = completed(query.order, *AMONG_EQUAL_EXPERIMENTS)
        columns = [Column(_COLUMNS[key.field.key], None, key.descending) for key in order]
        found = select(experiments).where(
            viewed(query.view),
            authorizer.may_read(literal(experiment_name(0)[:-1]).concat(cast(experiments.c.number, Text))),
        )
        if query.filter is not None:
            sqlite = self._database.is_sqlite
            found = found.where(sql.where(query.filter, lambda leaf: _compared(leaf, sqlite)))
        if after is not None:
            found = found.where(beyond(columns, after))
        with self._database.read() as tx:
            rows = tx.execute(found.order_by(*ordered(columns)).limit(limit + 1)).all()
            records = _records(tx, rows[:limit])
        more = (
            tuple(part for key in order for part in (VALUE, rows[limit - 1]._mapping[_COLUMNS[key.field.key]]))
            if len(rows) > limit
            else None
        )
        return Page(records, more)

    def update(
        self,
        number: int,
        *,
        display_name: str | None,
        tags: Mapping[str, str] | None,
        etag: str,
        now: int,
        some: Entries = MappingProxyType({}),
    ) -> ExperimentRecord:
        with self._database.write() as tx:
            found = _locked(tx, number, etag)
            check_experiment_active(found.name, found.deleted)
            name = found.display_name if display_name is None else display_name
            _write(tx, found, name, display_name=name, updated=now)
            if tags is not None:
                tx.execute(delete(experiment_tags).where(experiment_tags.c.experiment == number))
                put_tags(tx, experiment_tags, {"experiment": number}, tags)
            change_tags(tx, experiment_tags, {"experiment": number}, some, "experiment.tags")
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


def in_view(tx: Connection, numbers: Sequence[int], view: View) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns those of the experiments whose runs a view may have, and those of them that are deleted."""
    query = select(experiments.c.number, experiments.c.deleted).where(experiments.c.number.in_(numbers))
    query = query.where(viewed(View.ACTIVE if view is View.ACTIVE else View.ALL))
    rows = tx.execute(query.order_by(experiments.c.number)).all()
    return tuple(row.number for row in rows), tuple(row.number for row in rows if row.deleted is not None)


def viewed(view: View) -> ColumnElement[bool]:
    """Returns the condition that an experiment is in a view. What is purged is in none."""
    if view is View.ACTIVE:
        return experiments.c.deleted.is_(None)
    if view is View.DELETED:
        return experiments.c.deleted >= 0
    return or_(experiments.c.deleted.is_(None), experiments.c.deleted >= 0)


def _compared(leaf: Comparison | Presence, sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that an experiment compares so."""
    if leaf.field.group == TAGS:
        tags = select(experiment_tags.c.key).where(
            experiment_tags.c.experiment == experiments.c.number, experiment_tags.c.key == leaf.field.key
        )
        if isinstance(leaf, Presence):
            return tags.exists() if leaf.present else not_(tags.exists())
        return tags.where(sql.text(experiment_tags.c.value, leaf, sqlite=sqlite)).exists()
    column = _COLUMNS[leaf.field.key]
    if isinstance(leaf, Presence):
        return true() if leaf.present else false()
    if column is experiments.c.number:
        return experiment_id(column, leaf, sqlite=sqlite)
    return sql.text(column, leaf, sqlite=sqlite) if leaf.field.key == "name" else sql.number(column, leaf)


def _active(tx: Connection, display_name: str) -> int | None:
    query = select(experiments.c.number)
    return tx.execute(query.where(experiments.c.display_name == display_name, experiments.c.deleted.is_(None))).scalar()


def _add(tx: Connection, display_name: str, tags: Mapping[str, str], now: int, artifact_location: str) -> int | None:
    """Adds an experiment and returns its number, None when the display name is taken. Waits for others who take it."""
    number = tx.execute(
        insert(tx, experiments)
        .values(display_name=display_name, artifact_location=artifact_location, created=now, updated=now, revision=1)
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
    if not rows or is_purged(rows[0].deleted):
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
            artifact_location=row.artifact_location,
        )
        for row in rows
    )
