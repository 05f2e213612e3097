"""Points of metrics in SQL: adding them with the latest of each metric, reading them by step or in the order of logging.

Who adds holds the lock of the run's row: reading first and writing then is safe, and the places of a metric's points
are 1, 2, 3 … in the order of their commits, so who has seen place n never misses one below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, tuple_, update

from fivefold_tracking.metrics import Point, Series, latest, latest_of
from fivefold_tracking.store import tables
from fivefold_tracking.store.loading import number, stored
from fivefold_tracking.store.records import History, Key

metrics, points = tables.metrics, tables.points

_ROWS = 1000  # of one INSERT into SQLite, five values each; its limit is 32,766 values

# Built once: to build a statement takes three times as long as to run it.
_KNOWN = select(metrics).where(metrics.c.run == bindparam("of"), metrics.c.key.in_(bindparam("keys", expanding=True)))
_NEW = insert(metrics).returning(metrics.c.key, metrics.c.id)
_CHANGE = update(metrics).where(metrics.c.id == bindparam("of"))
_INTO_SQLITE = "INSERT INTO points (metric, step, time, place, value) VALUES "
_INTO_POSTGRES = (
    "INSERT INTO points (metric, step, time, place, value)"
    " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[])"
)
_BY_STEP = (points.c.step, points.c.time, points.c.place)
_PAGE = select(*_BY_STEP, points.c.value).where(points.c.metric == bindparam("of")).order_by(*_BY_STEP)
_SINCE = (
    select(points.c.step, points.c.time, points.c.place, points.c.value)
    .where(points.c.metric == bindparam("of"), points.c.place > bindparam("after"))
    .order_by(points.c.place)
    .limit(bindparam("most"))
)


def add(tx: Connection, run: str, experiment: int, given: Sequence[Series]) -> None:
    """Adds to the histories of a run.

    given  at most one series of each metric, none of them empty, by key
    """
    if not given:
        return
    there = {row.key: row for row in tx.execute(_KNOWN, {"of": run, "keys": [one.key for one in given]})}
    ids = {key: row.id for key, row in there.items()}
    old, new = [], []
    for one in given:
        known = there.get(one.key)
        if known is None:
            new.append({"run": run, "key": one.key, "experiment": experiment, **_last(one, None)})
        else:
            old.append({"of": known.id, **_last(one, known)})
    if new:
        ids.update((row.key, row.id) for row in tx.execute(_NEW, new))
    if old:
        tx.execute(_CHANGE, old)
    places = [there[one.key].points if one.key in there else 0 for one in given]
    metric = list(chain.from_iterable(repeat(ids[one.key], len(one)) for one in given))
    step = list(chain.from_iterable(one.steps for one in given))
    time = list(chain.from_iterable(one.times for one in given))
    place = list(chain.from_iterable(range(n + 1, n + 1 + len(one)) for n, one in zip(places, given, strict=True)))
    value = list(chain.from_iterable(one.values for one in given))
    _insert(tx, (metric, step, time, place, value))


def _last(given: Series, known: Row[Any] | None) -> dict[str, object]:
    """Returns what a metric's row says once the points are added."""
    last, count = latest_of(given), len(given)
    if known is not None:
        last = latest((Point(given.key, number(known.value), known.time, known.step), last))
        count += known.points
    return {"step": last.step, "time": last.time, "value": stored(last.value), "points": count}


def _insert(tx: Connection, columns: tuple[list[Any], ...]) -> None:
    values = columns[-1]
    if tx.dialect.name == "postgresql":
        with_nulls = [None if math.isnan(value) else value for value in values]
        tx.exec_driver_sql(_INTO_POSTGRES, (*columns[:-1], with_nulls))
        return
    # The driver by itself, which keeps NaN as NULL: SQLAlchemy would copy the rows twice more. Many rows in one
    # statement, because the driver lets go of Python's lock, and has to get it back, once per statement and row.
    driver: Any = tx.connection.dbapi_connection
    for start in range(0, len(values), _ROWS):
        part = [column[start : start + _ROWS] for column in columns]
        rows = ",".join(repeat("(?,?,?,?,?)", len(part[0])))
        driver.execute(_INTO_SQLITE + rows, list(chain.from_iterable(zip(*part, strict=True))))


def known(tx: Connection, run: str, keys: Sequence[str]) -> Mapping[str, Row[Any]]:
    """Returns the rows of metrics of a run: those of `keys`, or all where there are none."""
    query = select(metrics).where(metrics.c.run == run)
    if keys:
        query = query.where(metrics.c.key.in_(keys))
    return {row.key: row for row in tx.execute(query.order_by(metrics.c.key))}


def page(
    tx: Connection, run: str, key: str, after: Key | None, limit: int, lowest: int | None, highest: int | None
) -> History:
    """Returns a page of one metric's history by step, time and place; an empty one when the run has no such metric."""
    found = known(tx, run, [key]).get(key)
    if found is None:
        return History(Series(key, (), (), ()))
    query = within(_PAGE, lowest, highest)
    if after is not None:
        query = query.where(tuple_(*_BY_STEP) > tuple_(*after))
    rows = tx.execute(query.limit(limit + 1), {"of": found.id}).all()
    more = tuple(rows[limit - 1][:3]) if len(rows) > limit else None
    return History(series(key, rows[:limit]), found.points, more)


def within(query: Any, lowest: int | None, highest: int | None) -> Any:
    """Returns the query for points of those steps only."""
    if lowest is not None:
        query = query.where(points.c.step >= lowest)
    if highest is not None:
        query = query.where(points.c.step <= highest)
    return query


def since(tx: Connection, metric: int, key: str, place: int, most: int) -> tuple[Series, int]:
    """Returns the points after a place in the order of logging, at most so many, and the place of the last."""
    rows = tx.execute(_SINCE, {"of": metric, "after": place, "most": most}).all()
    return series(key, rows), rows[-1].place if rows else place


def series(key: str, rows: Sequence[Any]) -> Series:
    """Returns rows of (step, time, place, value) as columns."""
    if not rows:
        return Series(key, (), (), ())
    steps, times, _, values = zip(*rows, strict=True)
    return Series(key, [math.nan if value is None else value for value in values], steps, times)
