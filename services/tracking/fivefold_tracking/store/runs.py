"""Runs in SQL. A change of a run locks its row first, so that its params, metrics and deletion never race."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, bindparam, delete, func, insert, select, update

from fivefold_runtime.errors import NotFound
from fivefold_runtime.prepared import Prepared
from fivefold_runtime.sql import Database
from fivefold_tracking import lifecycle
from fivefold_tracking.bell import Bell
from fivefold_tracking.names import experiment_name, run_name
from fivefold_tracking.store import histories, loading, searching
from fivefold_tracking.store.finding import find
from fivefold_tracking.store.records import (
    Batch,
    InputRecord,
    Key,
    NewRun,
    Page,
    RunChange,
    RunKeys,
    RunQuery,
    RunRecord,
)
from fivefold_tracking.store.tables import experiments, params, runs, tags
from fivefold_tracking.store.upsert import change_tags, check_count, put_tags

_NEW = Prepared(insert(runs), [column.name for column in runs.c if column.name != "deleted"])
_DELETION = Prepared(select(experiments.c.deleted).where(experiments.c.number == bindparam("of")))
_PARAMS, _TAGS = (Prepared(select(func.count()).where(table.c.run == bindparam("of"))) for table in (params, tags))


class SqlRunStore:
    """Keeps the promises of RunStore."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    def create(self, new: NewRun, now: int) -> RunRecord:
        with self._database.write() as tx:
            deleted = _deletion_of_experiment(tx, new.experiment)
            lifecycle.check_experiment_active(experiment_name(new.experiment), deleted)
            if new.parent:
                find(tx, new.parent, lock=False).check_active()
            _NEW.run(
                tx,
                {
                    "id": new.id,
                    "experiment": new.experiment,
                    "display_name": new.display_name,
                    "status": new.status,
                    "user": new.user,
                    "started": new.started,
                    "ended": new.ended,
                    "parent": new.parent,
                    "source_type": new.source.type,
                    "source_name": new.source.name,
                    "entry_point": new.source.entry_point,
                    "git_commit": new.source.git_commit,
                    "git_repo": new.source.git_repo,
                    "created": now,
                    "revision": 1,
                },
            )
            histories.log(tx, new.id, new.experiment, Batch(params=new.params, tags=new.tags))
        # What was written is known: to read it back would take as long again.
        return RunRecord(
            id=new.id,
            experiment=new.experiment,
            display_name=new.display_name,
            status=new.status,
            user=new.user,
            started=new.started,
            ended=new.ended,
            parent=new.parent,
            source=new.source,
            params=new.params,
            tags=new.tags,
            metrics=(),
            inputs=(),
            created=now,
            deleted=None,
            etag="1",
        )

    def get(self, run: str) -> RunRecord:
        with self._database.read() as tx:
            return _get(tx, run)

    def experiment_of(self, run: str) -> int:
        with self._database.read() as tx:
            return find(tx, run, lock=False).experiment

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
            self._news(run)
            if change.tags is not None:
                tx.execute(delete(tags).where(tags.c.run == run))
            owner = {"run": run, "experiment": found.experiment}
            put_tags(tx, tags, owner, change.tags or {})
            change_tags(tx, tags, owner, change.some, "run.tags")
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

    def delete_started(self, experiment: int, until: int, limit: int, now: int) -> int:
        chosen = and_(runs.c.experiment == experiment, runs.c.deleted.is_(None), runs.c.started <= until)
        return self._changed(experiment, chosen, (runs.c.started, runs.c.id), limit, now)

    def undelete_since(self, experiment: int, since: int, limit: int) -> int:
        chosen = and_(runs.c.experiment == experiment, runs.c.deleted >= max(0, since))
        return self._changed(experiment, chosen, (runs.c.deleted, runs.c.id), limit, None)

    def _changed(
        self,
        experiment: int,
        chosen: ColumnElement[bool],
        order: Sequence[Column[Any]],
        limit: int,
        deleted: int | None,
    ) -> int:
        """Sets the time of deletion of the first runs that are chosen; returns how many these are."""
        with self._database.write() as tx:
            gone = _deletion_of_experiment(tx, experiment)
            lifecycle.check_experiment_active(experiment_name(experiment), gone)
            first = select(runs.c.id).where(chosen).order_by(*order).limit(limit).with_for_update(key_share=True)
            found = tx.execute(first).scalars().all()
            changing = update(runs).where(runs.c.id == bindparam("of"))
            if found:
                new = {"deleted": deleted, "revision": runs.c.revision + 1}
                tx.execute(changing.values(**new), [{"of": run} for run in found])
            return len(found)

    def search(self, query: RunQuery, after: Key | None, limit: int) -> Page[RunRecord]:
        with self._database.read() as tx:
            return searching.search(tx, query, after, limit)

    def keys(self, query: RunQuery, limit: int) -> RunKeys:
        with self._database.read() as tx:
            return searching.keys(tx, query, limit)

    def log(self, run: str, batch: Batch, *, allow_ended: bool = False) -> None:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            if batch.points and not allow_ended:
                lifecycle.check_run_open(found.name, found.status)
            histories.log(tx, run, found.experiment, batch)
            if batch.params:
                check_count(_PARAMS.first(tx, {"of": run})[0], "params")
            if batch.tags:
                check_count(_TAGS.first(tx, {"of": run})[0], "tags")
            self._news(run)

    def log_inputs(self, run: str, inputs: Iterable[InputRecord]) -> None:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            histories.log_inputs(tx, run, found.experiment, inputs)

    def _news(self, run: str) -> None:
        self._database.after_commit(partial(self._bell.ring, run))


def _get(tx: Connection, run: str) -> RunRecord:
    found = loading.runs_by_id(tx, [run])
    if not found:
        raise NotFound.of(run_name(run))
    return found[0]


def _deletion_of_experiment(tx: Connection, number: int) -> int | None:
    row = _DELETION.first(tx, {"of": number})
    if row is None or lifecycle.is_purged(row[0]):
        raise NotFound.of(experiment_name(number))
    deleted: int | None = row[0]
    return deleted
