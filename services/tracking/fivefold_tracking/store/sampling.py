"""Thins histories out within the database, along the index: a million points never leave it.

A history is cut into buckets of about equally many points, by step, or by time where all its points have one step. A
bucket keeps its first, last, least and greatest point and one NaN, so that no peak and no gap of a curve is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, select, union_all

from fivefold_runtime import calls
from fivefold_tracking.metrics import Series
from fivefold_tracking.store.points import series, within
from fivefold_tracking.store.tables import points

KEPT = 5  # points of one bucket

_ORDER = (points.c.step, points.c.time, points.c.place)
_ROW = (*_ORDER, points.c.value)
_OF = points.c.metric == bindparam("of")
_FIRST = tuple(column.asc() for column in _ORDER)
_LAST = tuple(column.desc() for column in _ORDER)


def sample(
    tx: Connection, metric: int, key: str, total: int, most: int, lowest: int | None, highest: int | None
) -> Series:
    """Returns at most so many points of a history by step, time and order of logging: all where there are no more.

    total            points of the whole history
    lowest, highest  only points of these steps count, None: all

    Raises DeadlineExceeded between two buckets, so that nobody's curves are not drawn for hours.
    """
    whole = within(select(*_ROW).where(_OF), lowest, highest)
    count = total
    if lowest is not None or highest is not None:
        count = tx.execute(within(select(func.count()).where(_OF), lowest, highest), {"of": metric}).scalar_one()
    if count <= most:
        return series(key, tx.execute(whole.order_by(*_FIRST), {"of": metric}).all())
    begin = tx.execute(whole.order_by(*_FIRST).limit(1), {"of": metric}).one()
    end = tx.execute(whole.order_by(*_LAST).limit(1), {"of": metric}).one()
    buckets = max(1, most // KEPT)
    kept: dict[int, Any] = {}  # by place
    for bucket in _buckets(tx, metric, begin, end, -(-count // buckets)):
        kept |= {row.place: row for row in bucket}
    chosen = sorted(list(kept.values())[:most], key=lambda row: (row.step, row.time, row.place))
    return series(key, [(row.step, row.time, row.place, row.value) for row in chosen])


def _buckets(tx: Connection, metric: int, begin: Any, end: Any, size: int) -> Iterator[list[Any]]:
    """Yields the points that each bucket keeps, at the most KEPT of them, the most telling first.

    begin, end  the first and last point
    size        points of a bucket; those that share the last one's step, or time, belong to it too
    """
    one_step = begin.step == end.step
    axis = points.c.time if one_step else points.c.step
    found: Select[Any] = select(*_ROW).where(_OF, axis >= bindparam("low"))
    found = found.where(points.c.step == begin.step) if one_step else found
    edge = found.with_only_columns(axis).order_by(*_FIRST).limit(1).offset(size - 1)
    telling = _telling(found.where(axis <= bindparam("high")))
    low, top = (begin.time, end.time) if one_step else (begin.step, end.step)
    while low <= top:
        calls.check_deadline()
        high = tx.execute(edge, {"of": metric, "low": low}).scalar()
        if high is None:
            high = top
        rows = tx.execute(telling, {"of": metric, "low": low, "high": high}).all()
        yield sorted(rows, key=lambda row: row.rank)
        low = high + 1


def _telling(bucket: Select[Any]) -> Any:
    number, nan = points.c.value.is_not(None), points.c.value.is_(None)
    parts: Sequence[Select[Any]] = (
        bucket.order_by(*_LAST),
        bucket.order_by(*_FIRST),
        bucket.where(number).order_by(points.c.value.desc(), *_FIRST),
        bucket.where(number).order_by(points.c.value, *_FIRST),
        bucket.where(nan).order_by(*_FIRST),
    )
    limited = [part.limit(1).subquery() for part in parts]
    return union_all(*(select(literal(rank).label("rank"), *part.c) for rank, part in enumerate(limited)))
