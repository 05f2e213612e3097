"""Logged models in SQL. A change locks the model's row first; metrics come from runs, under the lock of the run's row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from fivefold_runtime.errors import NotFound
from fivefold_runtime.masks import merged
from fivefold_runtime.sql import Database
from fivefold_tracking import lifecycle, logged
from fivefold_tracking.keys import check_unchanged
from fivefold_tracking.metrics import Point, latest
from fivefold_tracking.names import experiment_name, logged_model_name, run_name
from fivefold_tracking.params import number_of
from fivefold_tracking.store import model_searching, upsert
from fivefold_tracking.store.finding import find
from fivefold_tracking.store.loading import number, stored
from fivefold_tracking.store.model_loading import models_by_id
from fivefold_tracking.store.model_records import LoggedModelChange, LoggedModelQuery, LoggedModelRecord, NewLoggedModel
from fivefold_tracking.store.records import Key, ModelOutputRecord, Page
from fivefold_tracking.store.tables import (
    experiments,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_inputs,
    model_outputs,
    runs,
)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """What a change needs to know of its logged model."""

    id: str
    experiment: int
    etag: str
    deleted: int | None  # by itself or with its experiment

    @property
    def name(self) -> str:
        return logged_model_name(self.id)

    def check_active(self) -> None:
        """Raises LoggedModelDeleted."""
        logged.check_active(self.name, self.deleted)


class SqlLoggedModelStore:
    """Keeps the promises of LoggedModelStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewLoggedModel, now: int) -> LoggedModelRecord:
        with self._database.write() as tx:
            _check_place(tx, new)
            tx.execute(
                insert(logged_models).values(
                    id=new.id,
                    experiment=new.experiment,
                    display_name=new.display_name,
                    model_type=new.model_type,
                    source_run=new.source_run,
                    status=new.status,
                    status_message=new.status_message,
                    created=now,
                    updated=now,
                    revision=1,
                )
            )
            _add_params(tx, new.id, new.params)
            upsert.put_tags(tx, logged_model_tags, {"model": new.id}, new.tags)
            return _get(tx, new.id)

    def get(self, model: str) -> LoggedModelRecord:
        with self._database.read() as tx:
            return _get(tx, model)

    def experiment_of(self, model: str) -> int:
        with self._database.read() as tx:
            return find_model(tx, model, lock=False).experiment

    def search(self, query: LoggedModelQuery, after: Key | None, limit: int) -> Page[LoggedModelRecord]:
        with self._database.read() as tx:
            return model_searching.search(tx, query, after, limit)

    def update(self, model: str, change: LoggedModelChange, etag: str, now: int) -> LoggedModelRecord:
        with self._database.write() as tx:
            found = find_model(tx, model, lock=True)
            found.check_active()
            lifecycle.check_etag(found.name, etag, found.etag)
            _add_params(tx, model, change.params)
            _change_tags(tx, model, change)
            new = {
                "status": change.status,
                "status_message": change.status_message,
                "display_name": change.display_name,
            }
            _write(tx, model, updated=now, **{name: value for name, value in new.items() if value is not None})
            return _get(tx, model)

    def delete(self, model: str, now: int) -> None:
        with self._database.write() as tx:
            find_model(tx, model, lock=True).check_active()
            _write(tx, model, updated=now, deleted=now)

    def log_inputs(self, run: str, models: Iterable[str]) -> None:
        with self._database.write() as tx:
            find(tx, run, lock=True).check_active()
            rows = [{"run": run, "model": model} for model in _kept(tx, models)]
            if rows:
                tx.execute(upsert.insert(tx, model_inputs).on_conflict_do_nothing(), rows)

    def log_outputs(self, run: str, outputs: Iterable[ModelOutputRecord]) -> None:
        with self._database.write() as tx:
            found = find(tx, run, lock=True)
            found.check_active()
            steps = {each.model: each.step for each in outputs}
            rows = [
                {"run": run, "model": model, "step": steps[model]}
                for model in _kept(tx, steps, experiment=found.experiment)
            ]
            if rows:
                statement = upsert.insert(tx, model_outputs)
                statement = statement.on_conflict_do_update(
                    index_elements=[model_outputs.c.run, model_outputs.c.model],
                    set_={"step": statement.excluded.step},
                )
                tx.execute(statement, rows)


def record_metrics(tx: Connection, experiment: int, run: str, points: Iterable[Point]) -> None:
    """Keeps the latest of the points that were measured on logged models, by model, key, run and dataset.

    The caller holds the lock of the run's row, so nobody else writes these rows. Points on no model are passed over.
    Raises NotFound for a model that is not of the run's experiment.
    """
    given: dict[tuple[str, str, str, str], list[Point]] = {}
    for point in points:
        if point.model:
            given.setdefault((point.model, point.key, point.dataset, point.digest), []).append(point)
    if not given:
        return
    models = _kept(tx, {model for model, *_ in given}, experiment=experiment)
    kept = logged_model_metrics
    keys = {key for _, key, *_ in given}
    for row in tx.execute(select(kept).where(kept.c.run == run, kept.c.model.in_(models), kept.c.key.in_(keys))):
        of = (row.model, row.key, row.dataset, row.digest)
        if of in given:
            given[of].append(Point(row.key, number(row.value), row.time, row.step))
    last = {of: latest(each) for of, each in given.items()}
    statement = upsert.insert(tx, kept)
    statement = statement.on_conflict_do_update(
        index_elements=list(kept.primary_key.columns),
        set_={name: getattr(statement.excluded, name) for name in ("step", "time", "value")},
    )
    tx.execute(
        statement,
        [
            {
                "model": model,
                "key": key,
                "run": run,
                "dataset": dataset,
                "digest": digest,
                "step": point.step,
                "time": point.time,
                "value": stored(point.value),
            }
            for (model, key, dataset, digest), point in sorted(last.items())
        ],
    )


def find_model(tx: Connection, model: str, *, lock: bool) -> FoundModel:
    """Returns a logged model; with `lock` nobody else changes it until the commit. Raises NotFound."""
    query = select(logged_models, experiments.c.deleted.label("experiment_deleted"))
    query = query.join(experiments, logged_models.c.experiment == experiments.c.number)
    query = query.where(logged_models.c.id == model)
    row = tx.execute(query.with_for_update(of=logged_models, key_share=True) if lock else query).first()
    if row is None or lifecycle.is_purged(row.deleted) or lifecycle.is_purged(row.experiment_deleted):
        raise NotFound.of(logged_model_name(model))
    deleted = row.deleted if row.deleted is not None else row.experiment_deleted
    return FoundModel(row.id, row.experiment, str(row.revision), deleted)


def _check_place(tx: Connection, new: NewLoggedModel) -> None:
    """Raises NotFound, ExperimentDeleted where a logged model cannot be made."""
    name = experiment_name(new.experiment)
    row = tx.execute(select(experiments.c.deleted).where(experiments.c.number == new.experiment)).first()
    if row is None or lifecycle.is_purged(row.deleted):
        raise NotFound.of(name)
    lifecycle.check_experiment_active(name, row.deleted)
    if new.source_run:
        query = select(runs.c.deleted).where(runs.c.id == new.source_run, runs.c.experiment == new.experiment)
        source = tx.execute(query).first()
        if source is None or lifecycle.is_purged(source.deleted):
            raise NotFound.of(run_name(new.source_run))


def _kept(tx: Connection, models: Iterable[str], experiment: int | None = None) -> list[str]:
    """Returns the logged models in order; nobody purges them before the commit. Raises NotFound for one not there.

    experiment  that they must be of
    """
    wanted = sorted(set(models))
    query = select(logged_models.c.id, logged_models.c.experiment, logged_models.c.deleted)
    query = query.join(experiments, logged_models.c.experiment == experiments.c.number)
    query = query.where(logged_models.c.id.in_(wanted), experiments.c.deleted.is_(None) | (experiments.c.deleted >= 0))
    lock = {"read": True, "key_share": True}
    found = {
        row.id
        for row in tx.execute(query.order_by(logged_models.c.id).with_for_update(of=logged_models, **lock))
        if not lifecycle.is_purged(row.deleted) and experiment in (None, row.experiment)
    }
    for model in wanted:
        if model not in found:
            raise NotFound.of(logged_model_name(model))
    return wanted


def _add_params(tx: Connection, model: str, given: Mapping[str, str]) -> None:
    """Raises ParamChanged, TooManyItems."""
    if not given:
        return
    query = select(logged_model_params.c.key, logged_model_params.c.value)
    query = query.where(logged_model_params.c.model == model, logged_model_params.c.key.in_(given))
    there = {row.key: row.value for row in tx.execute(query)}
    for key, value in there.items():
        check_unchanged(key, value, given[key])
    new = [
        {"model": model, "key": key, "value": value, "number": number_of(value)}
        for key, value in given.items()
        if key not in there
    ]
    if new:
        tx.execute(insert(logged_model_params), new)
        count = select(func.count()).where(logged_model_params.c.model == model)
        upsert.check_count(tx.execute(count).scalar_one(), "logged_model.params")


def _change_tags(tx: Connection, model: str, change: LoggedModelChange) -> None:
    """Raises TooManyItems."""
    if change.tags is None and not change.some:
        return
    kept = logged_model_tags
    before = {row.key: row.value for row in tx.execute(select(kept.c.key, kept.c.value).where(kept.c.model == model))}
    after = merged(before if change.tags is None else change.tags, change.some, "logged_model.tags")
    gone = before.keys() - after.keys()
    if gone:
        tx.execute(delete(kept).where(kept.c.model == model, kept.c.key.in_(gone)))
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    upsert.put_tags(tx, kept, {"model": model}, changed)


def _write(tx: Connection, model: str, **values: object) -> None:
    statement = update(logged_models).where(logged_models.c.id == model)
    tx.execute(statement.values(revision=logged_models.c.revision + 1, **values))


def _get(tx: Connection, model: str) -> LoggedModelRecord:
    found = models_by_id(tx, [model])
    if not found:
        raise NotFound.of(logged_model_name(model))
    return found[0]
