"""Reads whole runs: a query per kind of thing that runs have, however many runs there are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, func, literal, or_, select

from fivefold_tracking.lifecycle import RunStatus, is_purged
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.records import InputRecord, ModelOutputRecord, RunRecord, SourceRecord
from fivefold_tracking.store.tables import (
    datasets,
    experiments,
    input_tags,
    inputs,
    logged_models,
    metrics,
    model_inputs,
    model_outputs,
    params,
    runs,
    tags,
)

DELETED = func.coalesce(
    runs.c.deleted, experiments.c.deleted
)  # when a run was deleted, by itself or with its experiment
_WITH_EXPERIMENT = runs.join(experiments, runs.c.experiment == experiments.c.number)


def runs_by_id(tx: Connection, ids: Sequence[str], *, whole: bool = True) -> list[RunRecord]:
    """Returns the runs that there are, in the order of `ids`.

    whole  False leaves out the schemas and profiles of inputs, which may be large
    """
    of_params, of_tags = _texts(tx, params, ids), _texts(tx, tags, ids)
    of_metrics, of_inputs = _points(tx, ids), _inputs(tx, ids, whole)
    used, made = _models(tx, model_inputs, ids), _models(tx, model_outputs, ids)
    query = select(runs, DELETED.label("gone")).select_from(_WITH_EXPERIMENT).where(runs.c.id.in_(ids))
    found = {
        row.id: RunRecord(
            id=row.id,
            experiment=row.experiment,
            display_name=row.display_name,
            status=RunStatus(row.status),
            user=row.user,
            started=row.started,
            ended=row.ended,
            parent=row.parent,
            source=SourceRecord(row.source_type, row.source_name, row.entry_point, row.git_commit, row.git_repo),
            params=of_params[row.id],
            tags=of_tags[row.id],
            metrics=tuple(of_metrics[row.id]),
            inputs=tuple(of_inputs[row.id]),
            created=row.created,
            deleted=row.gone,
            etag=str(row.revision),
            model_inputs=tuple(each.model for each in used[row.id]),
            outputs=tuple(ModelOutputRecord(each.model, each.step) for each in made[row.id]),
        )
        for row in tx.execute(query)
        if not is_purged(row.deleted) and not is_purged(row.gone)
    }
    return [found[run] for run in ids if run in found]


def _texts(tx: Connection, table: Table, ids: Sequence[str]) -> defaultdict[str, dict[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    query = (
        select(table.c.run, table.c.key, table.c.value).where(table.c.run.in_(ids)).order_by(table.c.run, table.c.key)
    )
    for run, key, value in tx.execute(query):
        found[run][key] = value
    return found


def _models(tx: Connection, table: Table, ids: Sequence[str]) -> defaultdict[str, list[Row[Any]]]:
    """Returns the logged models that runs used or made, but for purged ones."""
    found: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    there = or_(logged_models.c.deleted.is_(None), logged_models.c.deleted >= 0)
    query = select(table).join(logged_models, logged_models.c.id == table.c.model)
    for row in tx.execute(query.where(table.c.run.in_(ids), there).order_by(table.c.run, table.c.model)):
        found[row.run].append(row)
    return found


def _points(tx: Connection, ids: Sequence[str]) -> defaultdict[str, list[Point]]:
    found: defaultdict[str, list[Point]] = defaultdict(list)
    query = select(metrics).where(metrics.c.run.in_(ids)).order_by(metrics.c.run, metrics.c.key)
    for row in tx.execute(query):
        found[row.run].append(Point(row.key, number(row.value), row.time, row.step))
    return found


def _inputs(tx: Connection, ids: Sequence[str], whole: bool) -> defaultdict[str, list[InputRecord]]:
    of_use: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for run, dataset, key, value in tx.execute(
        select(input_tags).where(input_tags.c.run.in_(ids)).order_by(input_tags.c.key)
    ):
        of_use[run, dataset][key] = value
    schema, profile = (datasets.c.schema, datasets.c.profile) if whole else (literal(""), literal(""))
    query = (
        select(
            inputs.c.run,
            datasets.c.id,
            datasets.c.name,
            datasets.c.digest,
            datasets.c.source_type,
            datasets.c.source,
            schema.label("schema"),
            profile.label("profile"),
        )
        .select_from(inputs.join(datasets, inputs.c.dataset == datasets.c.id))
        .where(inputs.c.run.in_(ids))
        .order_by(datasets.c.name, datasets.c.digest)
    )
    found: defaultdict[str, list[InputRecord]] = defaultdict(list)
    for row in tx.execute(query):
        found[row.run].append(
            InputRecord(
                row.name, row.digest, row.source_type, row.source, row.schema, row.profile, of_use[row.run, row.id]
            )
        )
    return found


def number(stored: float | None) -> float:
    """Returns a metric's value as it was logged: NULL stands for NaN."""
    return math.nan if stored is None else stored


def stored(value: float) -> float | None:
    """Returns what is kept for a metric's value: the inverse of `number`."""
    return None if math.isnan(value) else value
