"""Searches for logged models, in SQL. Every part of an order is a rank (0 has a value, 1 NaN, 2 has none) and a value,
neither of which is ever NULL, so that a page begins where the one before ended, whatever the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from fivefold_runtime.filters import sql
from fivefold_runtime.filters.tree import Comparison, Field, Presence
from fivefold_tracking import logged
from fivefold_tracking.lifecycle import View
from fivefold_tracking.store.model_loading import DELETED, THERE, WITH_EXPERIMENT, models_by_id
from fivefold_tracking.store.model_records import LoggedModelQuery, LoggedModelRecord
from fivefold_tracking.store.records import Key, Page
from fivefold_tracking.store.tables import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)

_BLOCK = 50  # logged models that are read at once
_PAGE_BYTES = 4 * 1024 * 1024  # after which a page ends early
_ATTRIBUTES: dict[str, Column[Any]] = {
    "name": logged_models.c.display_name,
    "model_id": logged_models.c.id,
    "model_type": logged_models.c.model_type,
    "status": logged_models.c.status,
    "source_run_id": logged_models.c.source_run,
    "creation_timestamp": logged_models.c.created,
    "last_updated_timestamp": logged_models.c.updated,
}
_TIMES = frozenset({"creation_timestamp", "last_updated_timestamp"})
_METRICS = logged_model_metrics.c
_NEWEST = (_METRICS.time.desc(), _METRICS.step.desc(), _METRICS.run.desc(), _METRICS.dataset, _METRICS.digest)


def search(tx: Connection, query: LoggedModelQuery, after: Key | None, limit: int) -> Page[LoggedModelRecord]:
    """Returns a page. Its key is (rank, value) of each part of the order, then (creation, id)."""
    found = _ordered(query, sqlite=tx.dialect.name == "sqlite")
    columns = list(found.c)[:-2]
    descending = [each.descending for each in query.order for _ in range(2)]
    # A rank ascends whatever the direction of its value: what has no value comes last.
    directions = [down and index % 2 == 1 for index, down in enumerate(descending)] + [True, True]
    order = [*columns, found.c.created, found.c.id]
    page = select(found).order_by(
        *(column.desc() if down else column.asc() for column, down in zip(order, directions, strict=True))
    )
    if after is not None:
        page = page.where(_beyond(order, directions, after))
    rows = tx.execute(page.limit(limit + 1)).all()
    models = _load(tx, [row.id for row in rows[:limit]])
    if not models or (len(rows) <= limit and len(models) == len(rows)):
        return Page(tuple(models))
    return Page(tuple(models), tuple(rows[len(models) - 1]))


def _ordered(query: LoggedModelQuery, *, sqlite: bool) -> FromClause:
    """Returns the logged models that the query is about, with the columns that they are ordered by."""
    columns: list[ColumnElement[Any]] = []
    for place, part in enumerate(query.order):
        if part.field.group == logged.METRICS:
            # Looked up for each logged model: a join with the newest of all would have no index.
            measured = _points(part.field.key, query)
            newest = measured.order_by(*_NEWEST).limit(1).scalar_subquery()
            columns.append(case((newest.is_not(None), 0), (measured.exists(), 1), else_=2).label(f"rank{place}"))
            columns.append(func.coalesce(newest, 0.0).label(f"value{place}"))
        else:
            columns.append(literal(0).label(f"rank{place}"))
            columns.append(_ATTRIBUTES[part.field.key].label(f"value{place}"))
    conditions = [logged_models.c.experiment.in_(query.experiments), THERE]
    if query.view is not View.ALL:
        conditions.append(DELETED.is_(None) if query.view is View.ACTIVE else DELETED.is_not(None))
    if query.filter is not None:
        conditions.append(sql.where(query.filter, lambda part: _condition(part, query, sqlite)))
    selected: Select[Any] = select(*columns, logged_models.c.created, logged_models.c.id)
    return selected.select_from(WITH_EXPERIMENT).where(*conditions).subquery()


def _points(key: str, query: LoggedModelQuery) -> Select[Any]:
    """Returns the values of a metric of a logged model, on the datasets chosen."""
    found = select(_METRICS.value).where(_METRICS.model == logged_models.c.id, _METRICS.key == key)
    return found.where(_measured(query)).correlate(logged_models)


def _measured(query: LoggedModelQuery) -> ColumnElement[bool]:
    """Returns the condition that a metric was measured on one of the datasets chosen."""
    if not query.datasets:
        return and_(True)
    return or_(
        false(),
        *(
            and_(_METRICS.dataset == name, _METRICS.digest == digest) if digest else _METRICS.dataset == name
            for name, digest in query.datasets
        ),
    )


def _condition(part: Comparison | Presence, query: LoggedModelQuery, sqlite: bool) -> ColumnElement[bool]:
    field = part.field
    if field.group == logged.ATTRIBUTES:
        return _attribute(part, sqlite)
    there = _of(field, query)
    if isinstance(part, Presence):
        return there.exists() if part.present else not_(there.exists())
    plain = replace(part, negated=False)
    holds = there.where(_compared(field, plain, sqlite)).exists()
    # A metric has many values: one that is compared and negated has none for which it holds.
    return and_(there.exists(), not_(holds)) if part.negated else holds


def _of(field: Field, query: LoggedModelQuery) -> Select[Any]:
    """Returns what a logged model has of a metric, param or tag."""
    if field.group == logged.METRICS:
        return _points(field.key, query)
    table = logged_model_params if field.group == logged.PARAMS else logged_model_tags
    found = select(table.c.key).where(table.c.model == logged_models.c.id, table.c.key == field.key)
    return found.correlate(logged_models)


def _compared(field: Field, part: Comparison, sqlite: bool) -> ColumnElement[bool]:
    if field.group == logged.METRICS:
        return sql.number(_METRICS.value, part)
    if field.group == logged.PARAMS and not isinstance(part.value, str):
        return sql.number(logged_model_params.c.number, part)
    table = logged_model_params if field.group == logged.PARAMS else logged_model_tags
    return sql.text(table.c.value, part, sqlite=sqlite)


def _attribute(part: Comparison | Presence, sqlite: bool) -> ColumnElement[bool]:
    column = _ATTRIBUTES[part.field.key]
    if isinstance(part, Presence):  # Only a source run may be missing.
        return (
            (column != "") == part.present if part.field.key not in _TIMES else literal(part.present) == literal(True)
        )
    return sql.number(column, part) if part.field.key in _TIMES else sql.text(column, part, sqlite=sqlite)


def _beyond(columns: Sequence[ColumnElement[Any]], descending: Sequence[bool], key: Key) -> ColumnElement[bool]:
    """Returns the condition that a row comes after the key in a lexicographic order of mixed directions."""
    steps = []
    for place, (column, down, value) in enumerate(zip(columns, descending, key, strict=True)):
        equal = [before == given for before, given in zip(columns[:place], key[:place], strict=True)]
        steps.append(and_(*equal, column < value if down else column > value))
    return or_(*steps)


def _load(tx: Connection, ids: list[str]) -> list[LoggedModelRecord]:
    """Returns the logged models, in order; fewer than asked for, but at least one, where they are big."""
    loaded: list[LoggedModelRecord] = []
    size = 0
    for start in range(0, len(ids), _BLOCK):
        for model in models_by_id(tx, ids[start : start + _BLOCK]):
            size += _size(model)
            if loaded and size > _PAGE_BYTES:
                return loaded
            loaded.append(model)
    return loaded


def _size(model: LoggedModelRecord) -> int:
    """Returns about how many bytes of an answer a logged model takes."""
    size = 500 + 200 * len(model.metrics)
    for texts in (model.params, model.tags):
        size += sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())
    return size
