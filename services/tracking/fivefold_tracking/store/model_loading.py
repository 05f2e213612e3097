"""Reads whole logged models: a query per kind of thing that they have, however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, Table, and_, func, select

from fivefold_tracking.logged import LoggedModelStatus
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.loading import number, there
from fivefold_tracking.store.model_records import LoggedModelRecord, MeasuredRecord
from fivefold_tracking.store.tables import (
    experiments,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)

# When a logged model was deleted, by itself or with its experiment.
DELETED = func.coalesce(logged_models.c.deleted, experiments.c.deleted)
WITH_EXPERIMENT = logged_models.join(experiments, logged_models.c.experiment == experiments.c.number)
THERE = and_(there(logged_models.c.deleted), there(experiments.c.deleted))


def models_by_id(tx: Connection, ids: Sequence[str]) -> list[LoggedModelRecord]:
    """Returns the logged models that there are, in the order of `ids`."""
    params, tags, metrics = _texts(tx, logged_model_params, ids), _texts(tx, logged_model_tags, ids), _metrics(tx, ids)
    query = select(logged_models, DELETED.label("gone")).select_from(WITH_EXPERIMENT)
    found = {
        row.id: LoggedModelRecord(
            id=row.id,
            experiment=row.experiment,
            display_name=row.display_name,
            model_type=row.model_type,
            source_run=row.source_run,
            status=LoggedModelStatus(row.status),
            status_message=row.status_message,
            params=params[row.id],
            tags=tags[row.id],
            metrics=tuple(metrics[row.id]),
            created=row.created,
            updated=row.updated,
            deleted=row.gone,
            etag=str(row.revision),
        )
        for row in tx.execute(query.where(logged_models.c.id.in_(ids), THERE))
    }
    return [found[model] for model in ids if model in found]


def _texts(tx: Connection, table: Table, ids: Sequence[str]) -> defaultdict[str, dict[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    query = select(table.c.model, table.c.key, table.c.value).where(table.c.model.in_(ids))
    for model, key, value in tx.execute(query.order_by(table.c.model, table.c.key)):
        found[model][key] = value
    return found


def _metrics(tx: Connection, ids: Sequence[str]) -> defaultdict[str, list[MeasuredRecord]]:
    found: defaultdict[str, list[MeasuredRecord]] = defaultdict(list)
    kept = logged_model_metrics.c
    query = select(logged_model_metrics).where(kept.model.in_(ids))
    for row in tx.execute(query.order_by(kept.model, kept.key, kept.dataset, kept.digest, kept.run)):
        point = Point(row.key, number(row.value), row.time, row.step, row.model, row.dataset, row.digest)
        found[row.model].append(MeasuredRecord(point, row.run))
    return found
