"""Purging in SQL: a mark at once, and the rows after it, some at a time.

What is marked (`lifecycle.PURGED`) is there for nobody any more. Its rows go in transactions that each remove a bounded
number of them, in the order that a kill in between leaves something to go on with: what belongs to a run goes before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select, update

from fivefold_runtime import grants
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database
from fivefold_tracking.lifecycle import PURGED, check_deleted, is_purged
from fivefold_tracking.names import experiment_name
from fivefold_tracking.store.tables import artifacts, datasets, experiments, logged_models, metrics, points, runs

_MARKED = 2000  # runs or logged models that one transaction marks
_AT_ONCE = 100  # that one transaction removes, where they are small
_ROWS = 20_000  # rows that one transaction removes


class SqlPurgeStore:
    """Keeps the promises of PurgeStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark_runs(self, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
        return self._mark(runs, experiment, before, ids)

    def mark_models(self, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
        return self._mark(logged_models, experiment, before, ids)

    def mark_experiment(self, number: int) -> None:
        name = experiment_name(number)
        with self._database.write() as tx:
            query = select(experiments.c.deleted).where(experiments.c.number == number)
            row = tx.execute(query.with_for_update()).first()
            if row is None or is_purged(row.deleted):
                raise NotFound.of(name)
            check_deleted(name, row.deleted)
            tx.execute(update(experiments).where(experiments.c.number == number).values(deleted=PURGED))
            grants.forget(tx, name)

    def remove(self) -> bool:
        return self._database.run(lambda tx: _remove_runs(tx) or _remove_models(tx) or _remove_experiments(tx))

    def _mark(self, table: Table, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
        marked = 0
        while batch := self._database.run(lambda tx: _mark_some(tx, table, experiment, before, ids)):
            marked += batch
        return marked


def _mark_some(tx: Connection, table: Table, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
    owner = tx.execute(select(experiments.c.deleted).where(experiments.c.number == experiment)).first()
    if owner is None or is_purged(owner.deleted):
        raise NotFound.of(experiment_name(experiment))
    # What lies in a deleted experiment counts as deleted, since the experiment is.
    deleted = func.coalesce(table.c.deleted, owner.deleted) if owner.deleted is not None else table.c.deleted
    conditions: list[ColumnElement[bool]] = [table.c.experiment == experiment, deleted >= 0]
    if before is not None:
        conditions.append(deleted < before)
    if ids is not None:
        conditions.append(table.c.id.in_(ids))
    some = select(table.c.id).where(*conditions).limit(_MARKED).with_for_update(key_share=True)
    found = tx.execute(some).scalars().all()
    tx.execute(update(table).where(table.c.id.in_(found)).values(deleted=PURGED))
    return len(found)


def _remove_runs(tx: Connection) -> bool:
    """Removes runs, or some of what belongs to one; says whether there was any."""
    found = tx.execute(select(runs.c.id).where(_purged(tx, runs)).limit(_AT_ONCE)).scalars().all()
    if found and _rows_of_runs(tx, found) > _ROWS:
        found = found[:1]
        if _rows_of_runs(tx, found) > _ROWS:
            _shrink(tx, found[0])
            return True
    return _remove(tx, runs, found)


def _remove_models(tx: Connection) -> bool:
    found = tx.execute(select(logged_models.c.id).where(_purged(tx, logged_models)).limit(_AT_ONCE)).scalars().all()
    if found and _entries(tx, found) > _ROWS:
        _remove_entries(tx, found)
        return True
    return _remove(tx, logged_models, found)


def _remove_experiments(tx: Connection) -> bool:
    """Removes an experiment without runs and logged models, or some of its datasets."""
    number = tx.execute(select(experiments.c.number).where(experiments.c.deleted < 0).limit(1)).scalar()
    if number is None:
        return False
    some = select(datasets.c.id).where(datasets.c.experiment == number).limit(_AT_ONCE)
    if tx.execute(delete(datasets).where(datasets.c.id.in_(some))).rowcount < _AT_ONCE:
        tx.execute(delete(experiments).where(experiments.c.number == number))
    return True


def _purged(tx: Connection, table: Table) -> ColumnElement[bool]:
    """Returns the condition that a run or logged model is marked, or its experiment is."""
    gone = tx.execute(select(experiments.c.number).where(experiments.c.deleted < 0).limit(_AT_ONCE)).scalars().all()
    return or_(table.c.deleted < 0, table.c.experiment.in_(gone)) if gone else table.c.deleted < 0


def _rows_of_runs(tx: Connection, ids: Sequence[str]) -> int:
    of_metrics = select(func.coalesce(func.sum(metrics.c.points), 0) + func.count()).where(metrics.c.run.in_(ids))
    return int(tx.execute(of_metrics).scalar_one()) + _entries(tx, ids)


def _entries(tx: Connection, parents: Sequence[str]) -> int:
    return tx.execute(select(func.count()).where(artifacts.c.parent.in_(parents))).scalar_one()


def _shrink(tx: Connection, run: str) -> None:
    """Removes some of what belongs to a run: of its longest history, of its histories, or of its artifacts."""
    query = select(metrics.c.id, metrics.c.points).where(metrics.c.run == run).order_by(metrics.c.points.desc())
    longest = tx.execute(query.limit(_AT_ONCE)).all()
    if longest and longest[0].points > _ROWS // _AT_ONCE:
        _shorten(tx, longest[0].id, longest[0].points)
    elif longest:
        tx.execute(delete(metrics).where(metrics.c.id.in_([row.id for row in longest])))
    else:
        _remove_entries(tx, [run])


def _shorten(tx: Connection, metric: int, left: int) -> None:
    """Removes the first points of a history, in the order of logging. Its metric goes with the last of them."""
    first = tx.execute(select(func.min(points.c.place)).where(points.c.metric == metric)).scalar()
    if first is not None:
        gone = delete(points).where(and_(points.c.metric == metric, points.c.place < first + _ROWS))
        left -= tx.execute(gone).rowcount
    if first is None or left <= 0:
        tx.execute(delete(metrics).where(metrics.c.id == metric))
    else:
        tx.execute(update(metrics).where(metrics.c.id == metric).values(points=left))


def _remove_entries(tx: Connection, parents: Sequence[str]) -> None:
    for parent in parents:
        some = select(artifacts.c.path).where(artifacts.c.parent == parent).limit(_ROWS)
        gone = delete(artifacts).where(artifacts.c.parent == parent, artifacts.c.path.in_(some))
        if tx.execute(gone).rowcount:
            return


def _remove(tx: Connection, table: Table, ids: Sequence[Any]) -> bool:
    if not ids:
        return False
    tx.execute(delete(artifacts).where(artifacts.c.parent.in_(ids)))
    tx.execute(delete(table).where(table.c.id.in_(ids)))
    return True
