"""Searches as SQL. What the caller may read is added by those who ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import JSON, ColumnElement, Select, Text, and_, cast, false, func, not_, or_, select, true
from sqlalchemy import Table as SqlTable

from fivefold_features.searches import TAGS, Search
from fivefold_features.store.tables import (
    feature_tables,
    spec_tables,
    specs,
    training_set_tables,
    training_sets,
)
from fivefold_runtime.filters import Comparison, Operator, Presence, sql
from fivefold_runtime.paging import Key

_Column = ColumnElement[Any]
_Part = Comparison | Presence
_Meets = Callable[[_Column], ColumnElement[bool]]
_Exists = Callable[[_Meets], ColumnElement[bool]]
_NOT = {Operator.NOT_EQUAL: Operator.EQUAL, Operator.NOT_IN: Operator.IN}
_NUMBERS = frozenset({"create_time", "update_time", "rows"})


def tables_query(search: Search, after: Key | None, sqlite: bool) -> Select[Any]:
    """Returns the query of a page of rows of `feature_tables` that begins after a key."""
    return _query(feature_tables, "columns", search, after, sqlite, {})


def specs_query(search: Search, after: Key | None, sqlite: bool) -> Select[Any]:
    """Returns the query of a page of rows of `feature_specs`."""
    same = spec_tables.c.spec == specs.c.id
    return _query(specs, "features", search, after, sqlite, {"table": _table_of(spec_tables, same)})


def training_sets_query(search: Search, after: Key | None, sqlite: bool) -> Select[Any]:
    """Returns the query of a page of rows of `training_sets`."""
    same = training_set_tables.c.training_set == training_sets.c.id
    return _query(training_sets, "columns", search, after, sqlite, {"table": _table_of(training_set_tables, same)})


def _query(
    table: SqlTable,
    columns: str,
    search: Search,
    after: Key | None,
    sqlite: bool,
    several: Mapping[str, _Exists],
) -> Select[Any]:
    own: dict[str, _Column] = {
        "name": table.c.id,
        **{name: table.c[name] for name in ("description", "creator", "owner", "spec", "rows") if name in table.c},
        "create_time": table.c.created,
        **({"update_time": table.c.updated} if "updated" in table.c else {}),
    }
    with_several = {**several, "column": lambda meets: _column_exists(table.c[columns], meets, sqlite)}

    def condition(part: _Part) -> ColumnElement[bool]:
        name = part.field.key
        if part.field.group == TAGS:
            return _compared(_tag(table.c.tags, name, sqlite), part, sqlite)
        if name in with_several:
            return _one_of(with_several[name], part, sqlite)
        if name in _NUMBERS and isinstance(part, Comparison):
            return sql.number(own[name], part)
        return _compared(own[name], part, sqlite)

    query = select(table)
    if search.filter is not None:
        query = query.where(sql.where(search.filter, condition))
    order = [(own[key.field.key], key.descending) for key in search.order]
    if after is not None:
        query = query.where(_beyond(order, after))
    return query.order_by(*(column.desc() if descending else column.asc() for column, descending in order))


def _compared(column: _Column, part: _Part, sqlite: bool) -> ColumnElement[bool]:
    if isinstance(part, Presence):
        return column.is_not(None) if part.present else column.is_(None)
    return sql.text(column, part, sqlite=sqlite)


def _one_of(exists: _Exists, part: _Part, sqlite: bool) -> ColumnElement[bool]:
    """Of several values one has to compare so; `!=` and NOT IN mean that none is that."""
    if isinstance(part, Presence):
        there = exists(lambda _: true())
        return there if part.present else not_(there)
    operator = _NOT.get(part.operator, part.operator)
    plain = replace(part, operator=operator, negated=False)
    there = exists(lambda column: sql.text(column, plain, sqlite=sqlite))
    return there if (operator is part.operator) != part.negated else not_(there)


def _table_of(links: SqlTable, same: ColumnElement[bool]) -> _Exists:
    joined = and_(same, links.c.table_uid == feature_tables.c.uid)
    return lambda meets: select(feature_tables.c.id).where(joined, meets(feature_tables.c.id)).exists()


def _column_exists(columns: _Column, meets: _Meets, sqlite: bool) -> ColumnElement[bool]:
    """Of columns, which stand as [[name, type, description], …], one has a name that meets the condition."""
    if sqlite:
        each = func.json_each(columns).table_valued("value")
        return select(each.c.value).where(meets(func.json_extract(each.c.value, "$[0]"))).exists()
    value = func.json_array_elements(cast(columns, JSON)).table_valued("value")
    return select(value.c.value).where(meets(cast(value.c.value, JSON).op("->>", return_type=Text())(0))).exists()


def _tag(tags: _Column, key: str, sqlite: bool) -> _Column:
    """Returns the value of a tag, NULL where there is none. The key is only ever compared, never part of a path."""
    if sqlite:
        each = func.json_each(tags).table_valued("key", "value")
        return select(each.c.value).where(each.c.key == key).limit(1).scalar_subquery()
    return cast(tags, JSON).op("->>", return_type=Text())(key)


def _beyond(order: Sequence[tuple[_Column, bool]], after: Key) -> ColumnElement[bool]:
    """Returns the condition that a row comes after a key in an order with a direction for each column."""
    found: ColumnElement[bool] = false()
    for (column, descending), value in reversed(list(zip(order, after, strict=True))):
        further = column < value if descending else column > value
        found = or_(further, and_(column == value, found))
    (first, descending), value = order[0], after[0]
    return and_(first <= value if descending else first >= value, found)  # What an index can begin at.
