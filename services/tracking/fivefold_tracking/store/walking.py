"""Pages of runs in an order, in SQL: read along an index where there is one, sorted where the runs are few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, literal, null, select, union_all

from fivefold_runtime.filters import Comparison, Filter, OrderKey, Presence
from fivefold_tracking.fields import ATTRIBUTES, METRICS
from fivefold_tracking.store.conditions import COLUMNS, KEYED, Lookup, Scope, conjuncts
from fivefold_tracking.store.keyset import NAN, NONE, VALUE, Column, beyond, ordered, selected
from fivefold_tracking.store.records import Key
from fivefold_tracking.store.tables import runs

_APART = 16  # experiments that are read one by one and merged
_NULLABLE = frozenset({"end_time", "parent_run_id", "source_type"})


def walked(
    tx: Connection, lookup: Lookup, tree: Filter | None, order: Sequence[OrderKey], after: Key | None, limit: int
) -> list[Key]:
    """Returns the keys of the runs after `after`, read along the order's first key: good where many runs match."""
    first = order[0]
    if first.field.group == ATTRIBUTES:
        return list(_read(tx, lookup, tree, order, after, limit, _Segment(None, None)))
    keys: list[Key] = []
    ranks = (VALUE, NAN, NONE) if first.field.group == METRICS else (VALUE, NONE)
    begin = VALUE if after is None else after[0]
    for rank in ranks:
        none_matches = rank == NONE and any(_compares(part, first) for part in conjuncts(tree))
        if rank >= int(begin or 0) and len(keys) < limit and not none_matches:
            follows = after if rank == begin else None
            keys += _read(tx, lookup, tree, order, follows, limit - len(keys), _Segment(first, rank))
    return keys


def sorted_among(
    tx: Connection, matching: Select[Any], order: Sequence[OrderKey], after: Key | None, limit: int
) -> list[Key]:
    """Returns the same for a set of ids of runs, by sorting them all: good where few match."""
    found = matching.subquery()
    source: FromClause = found.join(runs, runs.c.id == found.c[0])
    columns: list[Column] = []
    for key in order:
        source, column = _joined(source, key)
        columns.append(column)
    query = select(*selected(columns)).select_from(source)
    if after is not None:
        query = query.where(beyond(columns, after))
    return [tuple(row) for row in tx.execute(query.order_by(*ordered(columns)).limit(limit))]


@dataclass(frozen=True, slots=True)
class _Segment:
    """The part of an order in which its first key has one rank. None: the first key is an attribute, with no parts."""

    first: OrderKey | None
    rank: int | None


def _read(
    tx: Connection,
    lookup: Lookup,
    tree: Filter | None,
    order: Sequence[OrderKey],
    after: Key | None,
    limit: int,
    segment: _Segment,
) -> Iterator[Key]:
    scope = lookup.scope
    numbers = [(number,) for number in scope.numbers] if len(scope.numbers) <= _APART else [scope.numbers]
    parts = [
        _statement(lookup, replace(scope, numbers=each), tree, order, after, segment).limit(limit) for each in numbers
    ]
    if len(parts) == 1:
        rows = tx.execute(parts[0])
    else:
        merged = union_all(*(select(part.subquery()) for part in parts)).subquery()
        columns = [
            Column(merged.c[2 * place + 1], merged.c[2 * place], key.descending) for place, key in enumerate(order)
        ]
        rows = tx.execute(select(merged).order_by(*ordered(columns)).limit(limit))
    return (tuple(row) for row in rows)


def _statement(
    lookup: Lookup, scope: Scope, tree: Filter | None, order: Sequence[OrderKey], after: Key | None, segment: _Segment
) -> Select[Any]:
    source: FromClause = runs
    columns: list[Column] = []
    conditions = [scope.seen()]
    rest = list(conjuncts(tree))
    first, rank = segment.first, segment.rank
    run: ColumnElement[str] = runs.c.id
    if first is not None:
        if rank == NONE:
            conditions.append(lookup.holds(Presence(first.field, False)))
            columns.append(Column(null(), literal(NONE), False))
        else:
            table, chosen = lookup.rows(first.field, scope.numbers)
            source, run = table.join(runs, runs.c.id == table.c.run), table.c.run
            conditions += chosen
            conditions.append(table.c.value.is_not(None) if rank == VALUE else table.c.value.is_(None))
            # What the filter says of the same key bounds how far the index is read.
            conditions += [lookup.compared(table, part) for part in rest if _compares(part, first)]
            rest = [part for part in rest if not _compares(part, first)]
            columns.append(Column(table.c.value, literal(rank), first.descending))
    for key in order[len(columns) :]:
        source, column = _joined(source, key)
        columns.append(column)
    query = select(*selected(columns)).select_from(source).where(*conditions)
    query = query.where(*(lookup.holds(part, run, in_turn=True) for part in rest))
    if after is not None:
        query = query.where(beyond(columns, after, fixed=first is not None))
    return query.order_by(*ordered(columns, fixed=first is not None, none=rank != VALUE))


def _compares(part: Filter, key: OrderKey) -> TypeGuard[Comparison]:
    return isinstance(part, Comparison) and part.field == key.field


def _joined(source: FromClause, key: OrderKey) -> tuple[FromClause, Column]:
    """Returns the rows with what the key orders by beside them."""
    if key.field.group == ATTRIBUTES:
        value = COLUMNS[key.field.key]
        rank = case((value.is_(None), NONE), else_=VALUE) if key.field.key in _NULLABLE else None
        return source, Column(value, rank, key.descending)
    table: Any = KEYED[key.field.group].alias()
    source = source.join(table, and_(table.c.run == runs.c.id, table.c.key == key.field.key), isouter=True)
    none, nan = (table.c.run.is_(None), NONE), (table.c.value.is_(None), NAN)
    return source, Column(table.c.value, case(none, nan, else_=VALUE), key.descending)
