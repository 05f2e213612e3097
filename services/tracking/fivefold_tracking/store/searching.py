"""Search for runs, in SQL: an order is a list of segments that follow one another, each read along an index.

By a metric these are the runs with a number, those with NaN, those without the metric. So the ones without come last in
both directions and no search sorts every run. The key of a run in a search is (segment, value, id); by a param it is
(segment, id), as a value may be longer than a page token, and params never change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, exists, func, null, select, tuple_

from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.experiments import active_among
from fivefold_tracking.store.loading import runs_by_id
from fivefold_tracking.store.records import Key, Page, RunQuery, RunRecord
from fivefold_tracking.store.tables import metrics, params, runs

_BLOCK = 25  # runs that are loaded at once
_PAGE_BYTES = 4 * 1024 * 1024  # of what runs have logged, after which a page ends early
_POINT_BYTES = 40  # of a metric beside its key


@dataclass(frozen=True, slots=True)
class _Segment:
    """Runs that are ordered alike.

    query      selects `value` and `run`
    columns    what orders them, ending with the run's id
    """

    query: Select[Any]
    columns: tuple[Column[Any], ...]


def search(tx: Connection, query: RunQuery, after: Key | None, limit: int) -> Page[RunRecord]:
    """Returns a page of the runs that a query asks for, and how many there are in all."""
    numbers = list(query.experiments) if query.show_deleted else active_among(tx, query.experiments)
    if not numbers:
        return Page(())
    wanted = _wanted(query, numbers)
    total = tx.execute(select(func.count()).select_from(runs).where(*wanted)).scalar_one()
    keys = list(_keys(tx, query.order, numbers, wanted, after, limit + 1))
    records = _load(tx, [str(key[-1]) for key in keys[:limit]])
    return Page(tuple(records), keys[len(records) - 1] if len(records) < len(keys) else None, total)


def _wanted(query: RunQuery, numbers: Sequence[int]) -> list[ColumnElement[bool]]:
    conditions = [_one_of(runs.c.experiment, numbers)]
    if query.parent:
        conditions.append(runs.c.parent == query.parent)
    if not query.show_deleted:
        conditions.append(runs.c.deleted.is_(None))
    return conditions


def _keys(
    tx: Connection,
    order: Order,
    numbers: Sequence[int],
    wanted: Sequence[ColumnElement[bool]],
    after: Key | None,
    limit: int,
) -> Iterator[Key]:
    """Yields the keys of the runs that follow `after`, at most `limit`."""
    segments = _segments(order, numbers)
    first = 0 if after is None else int(after[0] or 0)
    for index in range(first, len(segments)):
        columns, query = segments[index].columns, segments[index].query.where(*wanted)
        if after is not None and index == first:
            last = _last(tx, order, after)[-len(columns) :]
            query = query.where(tuple_(*columns) < last if order.descending else tuple_(*columns) > last)
        query = query.order_by(*(column.desc() if order.descending else column for column in columns))
        for value, run in tx.execute(query.limit(limit)):
            yield (index, run) if order.by is By.PARAM else (index, value, run)
            limit -= 1
        if limit == 0:
            return


def _last(tx: Connection, order: Order, after: Key) -> Key:
    """Returns (value, id) of the run with this key."""
    run = after[-1]
    if order.by is not By.PARAM:
        return after[1], run
    # A run that has no such param has an order of its own, by id; a made-up key may say otherwise, which harms nobody.
    value = select(params.c.value).where(params.c.run == run, params.c.key == order.key)
    return tx.execute(value).scalar_one_or_none() or "", run


def _segments(order: Order, numbers: Sequence[int]) -> list[_Segment]:
    if order.by is By.START_TIME:
        return [_Segment(select(runs.c.started.label("value"), runs.c.id), (runs.c.started, runs.c.id))]
    table = metrics if order.by is By.METRIC else params
    having = select(table.c.value, table.c.run).join_from(table, runs, table.c.run == runs.c.id)
    having = having.where(_one_of(table.c.experiment, numbers), table.c.key == order.key)
    without = select(null().label("value"), runs.c.id).where(
        ~exists().where(table.c.run == runs.c.id, table.c.key == order.key)
    )
    return [
        _Segment(having.where(table.c.value.is_not(None)), (table.c.value, table.c.run)),
        _Segment(having.where(table.c.value.is_(None)), (table.c.run,)),  # NaN; params have none such
        _Segment(without, (runs.c.id,)),
    ]


def _one_of(column: Column[Any], numbers: Sequence[int]) -> ColumnElement[bool]:
    """`column IN numbers`; with one number an equality, which lets the order come from an index."""
    return column == numbers[0] if len(numbers) == 1 else column.in_(numbers)


def _load(tx: Connection, ids: Sequence[str]) -> list[RunRecord]:
    """Returns the runs, in order; fewer than asked for, but at least one, where they are big."""
    loaded: list[RunRecord] = []
    size = 0
    for start in range(0, len(ids), _BLOCK):
        for run in runs_by_id(tx, ids[start : start + _BLOCK], whole=False):
            size += _size(run)
            if loaded and size > _PAGE_BYTES:
                return loaded
            loaded.append(run)
    return loaded


def _size(run: RunRecord) -> int:
    """Returns about how many bytes of an answer a run takes."""
    size = sum(len(point.key.encode()) + _POINT_BYTES for point in run.metrics)
    for each in run.inputs:
        size += sum(len(text.encode()) for text in (each.dataset, each.digest, each.source_type, each.source))
    for texts in (run.params, run.tags, *(each.tags for each in run.inputs)):
        size += sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())
    return size
