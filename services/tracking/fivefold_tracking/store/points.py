"""Points of metrics in SQL: adding them with the latest of each metric, reading them by step or in the order of logging.

Who adds holds the lock of the run's row: reading first and writing then is safe, and the places of a metric's points
are 1, 2, 3 … in the order of their commits, so who has seen place n never misses one below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from fivefold_runtime.prepared import Prepared
from fivefold_tracking.metrics import Point, Series, latest, latest_of
from fivefold_tracking.store import tables
from fivefold_tracking.store.loading import number, stored
from fivefold_tracking.store.records import History, Key

metrics, points = tables.metrics, tables.points

_ROWS = 1000  # of one INSERT into SQLite, five values each; its limit is 32,766 values

_ROW = (metrics.c.key, metrics.c.id, metrics.c.step, metrics.c.time, metrics.c.value, metrics.c.points)
_KNOWN = select(*_ROW).where(metrics.c.run == bindparam("of"))
_KNOWN_ONE = Prepared(_KNOWN.where(metrics.c.key == bindparam("called")))
_KNOWN_SOME = _KNOWN.where(metrics.c.key.in_(bindparam("keys", expanding=True)))
_NEW = insert(metrics).returning(metrics.c.key, metrics.c.id)
_CHANGE = Prepared(
    update(metrics)
    .where(metrics.c.id == bindparam("of"))
    .values(
        step=bindparam("last_step"),
        time=bindparam("last_time"),
        value=bindparam("last_value"),
        points=bindparam("count"),
    )
)
_INTO_SQLITE = "INSERT INTO points (metric, step, time, place, value) VALUES "
_INTO_POSTGRES = (
    "INSERT INTO points (metric, step, time, place, value)"
    " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[])"
)
_CHANGE_POSTGRES = (
    "UPDATE metrics SET step = new.step, time = new.time, value = new.value, points = new.points"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::bigint[])"
    " AS new (id, step, time, value, points) WHERE metrics.id = new.id"
)
_BY_STEP = (points.c.step, points.c.time, points.c.place)
_HISTORY = (
    select(*_BY_STEP, points.c.value)
    .where(points.c.metric == bindparam("of"), points.c.step <= bindparam("highest"))
    .order_by(*_BY_STEP)
    .limit(bindparam("most"))
)
_PAGE = Prepared(_HISTORY.where(points.c.step >= bindparam("lowest")))
_NEXT_PAGE = Prepared(
    _HISTORY.where(tuple_(*_BY_STEP) > tuple_(bindparam("step"), bindparam("time"), bindparam("place")))
)
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_SINCE = Prepared(
    select(points.c.step, points.c.time, points.c.place, points.c.value)
    .where(points.c.metric == bindparam("of"), points.c.place > bindparam("after"))
    .order_by(points.c.place)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Known:
    """A metric that a run has."""

    id: int
    points: int
    last: Point


def add(tx: Connection, run: str, experiment: int, given: Sequence[Series]) -> None:
    """Adds to the histories of a run.

    given  at most one series of each metric, none of them empty, by key
    """
    if not given:
        return
    there = _known(tx, run, [one.key for one in given])
    ids = {key: known.id for key, known in there.items()}
    new, changed = [], []
    for one in given:
        known = there.get(one.key)
        last, count = latest_of(one), len(one)
        if known is None:
            row = {"step": last.step, "time": last.time, "value": stored(last.value), "points": count}
            new.append({"run": run, "key": one.key, "experiment": experiment, **row})
            continue
        last = latest((known.last, last))
        change = {"last_step": last.step, "last_time": last.time, "last_value": stored(last.value)}
        changed.append({"of": known.id, "count": known.points + count, **change})
    _change(tx, changed)
    if new:
        ids.update((row.key, row.id) for row in tx.execute(_NEW, new))
    places = [there[one.key].points if one.key in there else 0 for one in given]
    metric = list(chain.from_iterable(repeat(ids[one.key], len(one)) for one in given))
    step = list(chain.from_iterable(one.steps for one in given))
    time = list(chain.from_iterable(one.times for one in given))
    place = list(chain.from_iterable(range(n + 1, n + 1 + len(one)) for n, one in zip(places, given, strict=True)))
    value = list(chain.from_iterable(one.values for one in given))
    _insert(tx, (metric, step, time, place, value))


def _known(tx: Connection, run: str, keys: Sequence[str]) -> dict[str, Known]:
    rows: Sequence[Any]
    if len(keys) == 1:
        rows = _KNOWN_ONE.all(tx, {"of": run, "called": keys[0]})
    else:
        rows = tx.execute(_KNOWN_SOME, {"of": run, "keys": keys}).all()
    return _by_key(rows)


def _by_key(rows: Iterable[Any]) -> dict[str, Known]:
    return {
        key: Known(metric, count, Point(key, number(value), time, step))
        for key, metric, step, time, value, count in rows
    }


def _change(tx: Connection, changed: Sequence[Mapping[str, Any]]) -> None:
    """Writes what is latest of metrics, and how many points they have."""
    if tx.dialect.name == "postgresql" and changed:
        columns = ("of", "last_step", "last_time", "last_value", "count")
        tx.exec_driver_sql(_CHANGE_POSTGRES, tuple(_array([row[name] for row in changed]) for name in columns))
        return
    for row in changed:
        _CHANGE.run(tx, row)


def _array(values: Sequence[float | None]) -> str:
    """Returns a column as PostgreSQL writes arrays, in a tenth of the time that the driver takes; NaN becomes NULL."""
    return "{" + ",".join(["NULL" if value is None or value != value else repr(value) for value in values]) + "}"


def _insert(tx: Connection, columns: tuple[list[Any], ...]) -> None:
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(_INTO_POSTGRES, tuple(map(_array, columns)))
        return
    # The driver by itself, which keeps NaN as NULL: SQLAlchemy would copy the rows twice more. Many rows in one
    # statement, because the driver lets go of Python's lock, and has to get it back, once per statement and row.
    driver: Any = tx.connection.dbapi_connection
    for start in range(0, len(columns[0]), _ROWS):
        part = [column[start : start + _ROWS] for column in columns]
        rows = ",".join(repeat("(?,?,?,?,?)", len(part[0])))
        driver.execute(_INTO_SQLITE + rows, list(chain.from_iterable(zip(*part, strict=True))))


def known(tx: Connection, run: str, keys: Sequence[str]) -> Mapping[str, Known]:
    """Returns the metrics that a run has: those of `keys`, or all where there are none, by key."""
    if keys:
        return dict(sorted(_known(tx, run, keys).items()))
    return _by_key(tx.execute(_KNOWN.order_by(metrics.c.key), {"of": run}))


def along_the_index(tx: Connection) -> None:
    """Makes the transaction read points in the order of an index.

    PostgreSQL has no statistics for a minute after many points were logged. It then takes a history for short, and would
    read and sort all of it for each page.
    """
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off")


def page(
    tx: Connection, run: str, key: str, after: Key | None, limit: int, lowest: int | None, highest: int | None
) -> History:
    """Returns a page of one metric's history by step, time and place; an empty one when the run has no such metric."""
    found = known(tx, run, [key]).get(key)
    if found is None:
        return History(Series(key, (), (), ()))
    highest = _GREATEST if highest is None else highest
    if after is None:
        first = {"lowest": _LEAST if lowest is None else lowest}
        rows = _PAGE.all(tx, {"of": found.id, "highest": highest, "most": limit + 1, **first})
    else:
        place = dict(zip(("step", "time", "place"), after, strict=True))
        rows = _NEXT_PAGE.all(tx, {"of": found.id, "highest": highest, "most": limit + 1, **place})
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
    rows = _SINCE.all(tx, {"of": metric, "after": place, "most": most})
    return series(key, rows), rows[-1][2] if rows else place


def series(key: str, rows: Sequence[Any]) -> Series:
    """Returns rows of (step, time, place, value) as columns."""
    if not rows:
        return Series(key, (), (), ())
    steps, times, _, values = zip(*rows, strict=True)
    return Series(key, [math.nan if value is None else value for value in values], steps, times)
