"""Searches as SQL. What the caller may read is added by those who ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, not_, or_, select, true

from fivefold_registry.lifecycle import Stage
from fivefold_registry.searches import TAGS, Search
from fivefold_registry.store.tables import aliases, models, versions
from fivefold_runtime.filters import Comparison, Operator, Presence, sql
from fivefold_runtime.paging import Key

_Column = ColumnElement[Any]
_STAGES = {stage.casefold(): stage.value for stage in Stage}
_NOT = {Operator.NOT_EQUAL: Operator.EQUAL, Operator.NOT_IN: Operator.IN}
_LIKES = (Operator.LIKE, Operator.ILIKE)
_RUN = "runs/"

_MODEL_COLUMNS: dict[str, _Column] = {
    "name": models.c.name,
    "create_time": models.c.created,
    "update_time": models.c.updated,
}
_VERSION_COLUMNS: dict[str, _Column] = {
    "name": models.c.name,
    "version": versions.c.number,
    "run": func.nullif(versions.c.run, ""),
    "source": func.nullif(func.coalesce(func.nullif(versions.c.source, ""), versions.c.external_uri), ""),
    "stage": versions.c.stage,
    "status": func.upper(versions.c.status),
    "create_time": versions.c.created,
    "update_time": versions.c.updated,
}
_NUMBERS = frozenset({"version", "create_time", "update_time"})


def models_query(search: Search, after: Key | None, sqlite: bool) -> Select[Any]:
    """Returns the query of a page of rows of `models` that begins after a key."""
    return _searched(select(models), search, after, _MODEL_COLUMNS, _conditions(_MODEL_COLUMNS, models.c.tags, sqlite))


def versions_query(search: Search, after: Key | None, sqlite: bool) -> Select[Any]:
    """Returns the query of a page of rows of `versions`, each with its model's name and names of stages."""
    query = select(versions, models.c.name, models.c.stage_names).join(models, models.c.id == versions.c.model_id)
    if search.stages:
        query = query.where(versions.c.stage.in_(search.stages))
    plain = _conditions(_VERSION_COLUMNS, versions.c.tags, sqlite)

    def condition(part: Comparison | Presence) -> ColumnElement[bool]:
        special = _SPECIAL.get(part.field.key) if part.field.group != TAGS else None
        return plain(part) if special is None else special(part, plain, sqlite)

    return _searched(query, search, after, _VERSION_COLUMNS, condition)


def _searched(
    query: Select[Any],
    search: Search,
    after: Key | None,
    columns: dict[str, _Column],
    condition: Callable[[Comparison | Presence], ColumnElement[bool]],
) -> Select[Any]:
    if search.filter is not None:
        query = query.where(sql.where(search.filter, condition))
    order = [(columns[key.field.key], key.descending) for key in search.order]
    if after is not None:
        query = query.where(_beyond(order, after))
    return query.order_by(*(column.desc() if descending else column.asc() for column, descending in order))


def _beyond(order: Sequence[tuple[_Column, bool]], after: Key) -> ColumnElement[bool]:
    """Returns the condition that a row comes after a key in an order with a direction for each column."""
    found: ColumnElement[bool] = false()
    for (column, descending), value in reversed(list(zip(order, after, strict=True))):
        further = column < value if descending else column > value
        found = or_(further, and_(column == value, found))
    (first, descending), value = order[0], after[0]
    return and_(first <= value if descending else first >= value, found)  # What an index can begin at.


def _conditions(
    columns: dict[str, _Column], tags: _Column, sqlite: bool
) -> Callable[[Comparison | Presence], ColumnElement[bool]]:
    def condition(part: Comparison | Presence) -> ColumnElement[bool]:
        is_tag = part.field.group == TAGS
        column = _tag(tags, part.field.key, sqlite) if is_tag else columns[part.field.key]
        if isinstance(part, Presence):
            return column.is_not(None) if part.present else column.is_(None)
        if not is_tag and part.field.key in _NUMBERS:
            return sql.number(column, part)
        return sql.text(column, part, sqlite=sqlite)

    return condition


def _tag(tags: _Column, key: str, sqlite: bool) -> _Column:
    """Returns the value of a tag, NULL where there is none. The key is only ever compared, never part of a path."""
    if sqlite:
        each = func.json_each(tags).table_valued("key", "value")
        return select(each.c.value).where(each.c.key == key).limit(1).scalar_subquery()
    return tags.op("->>")(key)


_Plain = Callable[[Comparison | Presence], ColumnElement[bool]]


def _run(part: Comparison | Presence, plain: _Plain, sqlite: bool) -> ColumnElement[bool]:
    """A run is given by its name or its bare id."""
    if isinstance(part, Presence):
        return plain(part)
    texts = [str(value) for value in part.values]
    if part.operator in _LIKES and not texts[0].startswith(_RUN):
        bare = func.substr(_VERSION_COLUMNS["run"], len(_RUN) + 1)
        return sql.text(bare, part, sqlite=sqlite)
    if part.operator not in _LIKES:
        named = tuple(text if text.startswith(_RUN) else _RUN + text for text in texts)
        return sql.text(versions.c.run, replace(part, values=named), sqlite=sqlite) & (versions.c.run != "")
    return plain(part)


def _stage(part: Comparison | Presence, plain: _Plain, sqlite: bool) -> ColumnElement[bool]:
    if isinstance(part, Presence) or part.operator in _LIKES:
        return plain(part)
    return plain(replace(part, values=tuple(_STAGES.get(str(value).casefold(), "") for value in part.values)))


def _status(part: Comparison | Presence, plain: _Plain, sqlite: bool) -> ColumnElement[bool]:
    if isinstance(part, Presence) or part.operator in _LIKES:
        return plain(part)
    return plain(replace(part, values=tuple(str(value).upper() for value in part.values)))


def _aliases(part: Comparison | Presence, plain: _Plain, sqlite: bool) -> ColumnElement[bool]:
    """Of several aliases one has to compare so; `!=` and NOT IN mean that none is that."""
    same = and_(aliases.c.model_id == versions.c.model_id, aliases.c.number == versions.c.number)
    if isinstance(part, Presence):
        meets: ColumnElement[bool] = true()
        holds = part.present
    else:
        operator = _NOT.get(part.operator, part.operator)
        meets = sql.text(aliases.c.alias, replace(part, operator=operator, negated=False), sqlite=sqlite)
        holds = (operator is part.operator) != part.negated
    there = select(aliases.c.alias).where(same, meets).exists()
    return there if holds else not_(there)


_SPECIAL = {"run": _run, "stage": _stage, "status": _status, "aliases": _aliases}
