"""Reads whole runs: a query per kind of thing that runs have, however many runs there are.

The statements are built once, and the texts of a run come as one JSON object: a page of 1000 runs has 20,000 rows, and
to build statements and rows for them takes longer than the database does.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
)

from fivefold_tracking.lifecycle import RunStatus
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
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)


def runs_by_id(tx: Connection, ids: Sequence[str], *, whole: bool = True) -> list[RunRecord]:
    """Returns the runs that there are, in the order of `ids`.

    whole  False leaves out the schemas and profiles of inputs, which may be large
    """
    chosen = {"ids": ids}
    group = "json_object_agg" if tx.dialect.name == "postgresql" else "json_group_object"
    of_params = {run: json.loads(texts) for run, texts in tx.execute(_TEXTS[params.name, group], chosen).all()}
    of_tags = {run: json.loads(texts) for run, texts in tx.execute(_TEXTS[tags.name, group], chosen).all()}
    of_metrics = _points(tx, chosen)
    of_inputs = _inputs(tx, chosen, whole)
    used, made = _models(tx, _MODEL_INPUTS, chosen), _models(tx, _MODEL_OUTPUTS, chosen)
    found = {
        run: RunRecord(
            run,
            experiment,
            display_name,
            _STATUS[status],
            user,
            started,
            ended,
            parent,
            SourceRecord(*source),
            of_params.get(run, {}),
            of_tags.get(run, {}),
            tuple(of_metrics.get(run, ())),
            tuple(of_inputs.get(run, ())),
            created,
            gone,
            str(revision),
            tuple(model for model, _ in used.get(run, ())),
            tuple(ModelOutputRecord(*each) for each in made.get(run, ())),
        )
        for (
            run, experiment, display_name, status, user, started, ended, parent, *source, created, gone, revision,
        ) in tx.execute(_RUNS, chosen).all()
    }  # fmt: skip
    return [found[run] for run in ids if run in found]


def there(deleted: ColumnElement[Any]) -> ColumnElement[bool]:
    """Returns the condition that what has this time of deletion is not purged."""
    return or_(deleted.is_(None), deleted >= 0)


def number(stored: float | None) -> float:
    """Returns a metric's value as it was logged: NULL stands for NaN."""
    return math.nan if stored is None else stored


def stored(value: float) -> float | None:
    """Returns what is kept for a metric's value: the inverse of `number`."""
    return None if math.isnan(value) else value


def _points(tx: Connection, chosen: dict[str, Any]) -> dict[str, list[Point]]:
    found: defaultdict[str, list[Point]] = defaultdict(list)
    for run, key, value, time, step in tx.execute(_METRICS, chosen).all():
        found[run].append(Point(key, math.nan if value is None else value, time, step))
    return found


def _inputs(tx: Connection, chosen: dict[str, Any], whole: bool) -> dict[str, list[InputRecord]]:
    found: defaultdict[str, list[InputRecord]] = defaultdict(list)
    rows = tx.execute(_INPUTS[whole], chosen).all()
    if rows:
        of_use: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for run, dataset, key, value in tx.execute(_INPUT_TAGS, chosen).all():
            of_use[run, dataset][key] = value
        for run, dataset, name, digest, kind, source, schema, profile in rows:
            used = of_use[run, dataset]
            found[run].append(InputRecord(name, digest, kind, source, schema, profile, used))
    return found


def _models(tx: Connection, query: Select[Any], chosen: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """Returns the logged models that runs used or made, each with a step."""
    found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for run, model, step in tx.execute(query, chosen).all():
        found[run].append((model, step))
    return found


def _texts(table: Table, group: str) -> Select[Any]:
    """Returns the statement for all params or tags of each run, as JSON."""
    texts = cast(getattr(func, group)(table.c.key, table.c.value), Text)
    return select(table.c.run, texts).where(table.c.run.in_(_IDS)).group_by(table.c.run)


def _used(whole: bool) -> Select[Any]:
    description = (datasets.c.schema, datasets.c.profile) if whole else (literal(""), literal(""))
    used = inputs.join(datasets, inputs.c.dataset == datasets.c.id)
    known = (datasets.c.id, datasets.c.name, datasets.c.digest, datasets.c.source_type, datasets.c.source)
    query = select(inputs.c.run, *known, *description).select_from(used)
    return query.where(inputs.c.run.in_(_IDS)).order_by(datasets.c.name, datasets.c.digest)


def _related(table: Table, step: ColumnElement[int]) -> Select[Any]:
    """Returns the statement for the logged models of each run, but for purged ones."""
    models = table.join(logged_models, logged_models.c.id == table.c.model)
    query = select(table.c.run, table.c.model, step).select_from(models)
    return query.where(table.c.run.in_(_IDS), there(logged_models.c.deleted)).order_by(table.c.run, table.c.model)


_STATUS = {status.value: status for status in RunStatus}
_RUNS = (
    select(
        *(
            runs.c[name]
            for name in ("id", "experiment", "display_name", "status", "user", "started", "ended", "parent")
        ),
        *(runs.c[name] for name in ("source_type", "source_name", "entry_point", "git_commit", "git_repo", "created")),
        DELETED.label("gone"),
        runs.c.revision,
    )
    .select_from(_WITH_EXPERIMENT)
    .where(runs.c.id.in_(_IDS), *map(there, (runs.c.deleted, experiments.c.deleted)))
)
_TEXTS = {
    (table.name, group): _texts(table, group)
    for table in (params, tags)
    for group in ("json_object_agg", "json_group_object")
}
_METRICS = (
    select(metrics.c.run, metrics.c.key, metrics.c.value, metrics.c.time, metrics.c.step)
    .where(metrics.c.run.in_(_IDS))
    .order_by(metrics.c.run, metrics.c.key)
)
_INPUTS = {whole: _used(whole) for whole in (True, False)}
_MODEL_INPUTS = _related(model_inputs, literal(0))
_MODEL_OUTPUTS = _related(model_outputs, model_outputs.c.step)
_INPUT_TAGS = select(input_tags).where(input_tags.c.run.in_(_IDS)).order_by(input_tags.c.key)
