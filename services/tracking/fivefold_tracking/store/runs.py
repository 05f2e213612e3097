"""Runs in SQL. A change of a run locks its row first, so that its params, metrics and deletion never race."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select, update
from sqlalchemy import insert as plain_insert

from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database
from fivefold_tracking import lifecycle
from fivefold_tracking.metrics import Point
from fivefold_tracking.names import experiment_name, run_name
from fivefold_tracking.store import histories, loading, searching
from fivefold_tracking.store.records import Batch, InputRecord, Key, NewRun, Page, RunChange, RunQuery, RunRecord
from fivefold_tracking.store.tables import experiments, runs


@dataclass(frozen=True, slots=True)
class Found:
    """What a change needs to know of its run. Times of deletion, None while active."""

    id: str
    experiment: int
    status: lifecycle.RunStatus
    display_name: str
    ended: int | None
    etag: str
    deleted: int | None  # the run by itself
    experiment_deleted: int | None

    @property
    def name(self) -> str:
        return run_name(self.id)

    def check_active(self) -> None:
        """Raises RunDeleted."""
        lifecycle.check_run_active(self.name, self.deleted if self.deleted is not None else self.experiment_deleted)


class SqlRunStore:
    """Keeps the promises of RunStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewRun, now: int) -> RunRecord:
        with self._database.write() as tx:
            deleted = _deletion_of_experiment(tx, new.experiment)
            lifecycle.check_experiment_active(experiment_name(new.experiment), deleted)
            if new.parent:
                find(tx, new.parent, lock=False).check_active()
            tx.execute(
                plain_insert(runs).values(
                    id=new.id,
                    experiment=new.experiment,
                    display_name=new.display_name,
                    status=new.status,
                    user=new.user,
                    started=new.started,
                    ended=new.ended,
                    parent=new.parent,
                    source_type=new.source.type,
                    source_name=new.source.name,
                    entry_point=new.source.entry_point,
                    git_commit=new.source.git_commit,
                    git_repo=new.source.git_repo,
                    created=now,
                    revision=1,
                )
            )
            histories.log(tx, new.id, new.experiment, Batch(params=new.params, tags=new.tags))
            return _get(tx, new.id)

    def get(self, run: str) -> RunRecord:
        with self._database.read() as tx:
            return _get(tx, run)

    def experiment_of(self, run: str) -> int:
        with self._database.read() as tx:
            found = tx.execute(select(runs.c.experiment).where(runs.c.id == run)).scalar()
        if found is None:
            raise NotFound.of(run_name(run))
        return found

    def update(self, run: str, change: RunChange, etag: str, now: int) -> RunRecord:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            lifecycle.check_etag(found.name, etag, found.etag)
            status = change.status or found.status
            tx.execute(
                update(runs)
                .where(runs.c.id == run)
                .values(
                    status=status,
                    display_name=change.display_name or found.display_name,
                    ended=lifecycle.end_time(status, found.ended, change.ended, now),
                    revision=runs.c.revision + 1,
                )
            )
            return _get(tx, run)

    def delete(self, run: str, now: int) -> RunRecord:
        with self._database.write() as tx:
            find(tx, run, lock=True).check_active()
            tx.execute(update(runs).where(runs.c.id == run).values(deleted=now, revision=runs.c.revision + 1))
            return _get(tx, run)

    def undelete(self, run: str) -> RunRecord:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            lifecycle.check_experiment_active(experiment_name(found.experiment), found.experiment_deleted)
            if found.deleted is not None:
                tx.execute(update(runs).where(runs.c.id == run).values(deleted=None, revision=runs.c.revision + 1))
            return _get(tx, run)

    def search(self, query: RunQuery, after: Key | None, limit: int) -> Page[RunRecord]:
        with self._database.read() as tx:
            return searching.search(tx, query, after, limit)

    def log(self, run: str, batch: Batch) -> None:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            histories.log(tx, run, found.experiment, batch)

    def log_inputs(self, run: str, inputs: Iterable[InputRecord]) -> None:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            histories.log_inputs(tx, run, found.experiment, inputs)

    def points(self, run: str, key: str, after: Key | None, limit: int) -> Page[Point]:
        with self._database.read() as tx:
            if tx.execute(select(runs.c.id).where(runs.c.id == run)).first() is None:
                raise NotFound.of(run_name(run))
            return histories.points(tx, run, key, after, limit)


def find(tx: Connection, run: str, *, lock: bool) -> Found:
    """Returns a run; with `lock` nobody else changes it until the commit. Raises NotFound."""
    query = select(runs, experiments.c.deleted.label("experiment_deleted"))
    query = query.join(experiments, runs.c.experiment == experiments.c.number).where(runs.c.id == run)
    row = tx.execute(query.with_for_update(of=runs, key_share=True) if lock else query).first()
    if row is None:
        raise NotFound.of(run_name(run))
    return Found(
        id=row.id,
        experiment=row.experiment,
        status=lifecycle.RunStatus(row.status),
        display_name=row.display_name,
        ended=row.ended,
        etag=str(row.revision),
        deleted=row.deleted,
        experiment_deleted=row.experiment_deleted,
    )


def _get(tx: Connection, run: str) -> RunRecord:
    found = loading.runs_by_id(tx, [run])
    if not found:
        raise NotFound.of(run_name(run))
    return found[0]


def _deletion_of_experiment(tx: Connection, number: int) -> int | None:
    row = tx.execute(select(experiments.c.deleted).where(experiments.c.number == number)).first()
    if row is None:
        raise NotFound.of(experiment_name(number))
    return row.deleted
