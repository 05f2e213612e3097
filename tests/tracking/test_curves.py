"""Curves against plain Python, long histories, and what they read: along the index, never everything."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from fivefold_runtime import calls
from fivefold_runtime.errors import DeadlineExceeded
from fivefold_runtime.principal import LOCAL
from fivefold_tracking.lifecycle import RunStatus
from fivefold_tracking.metrics import Series
from fivefold_tracking.store import points
from fivefold_tracking.store.records import NewRun, Part
from fivefold_tracking.store.sql import Store

NOW = 1_800_000_000_000_000
LONG = 200_000

values = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0]))
few = st.integers(-3, 3)
wide = st.integers(-(2**62), 2**62)
histories = st.one_of(
    st.lists(st.tuples(few, few, values), min_size=1, max_size=80),
    st.lists(st.tuples(wide, few, values), min_size=1, max_size=80),
    st.lists(st.tuples(st.just(5), st.integers(0, 50), values), min_size=1, max_size=80),
)
Row = tuple[int, int, int, float]  # step, time, place, value


def curve(rows: list[Row], most: int) -> list[Row]:
    """What a curve is, in plain Python over all points of a history in their order."""
    if len(rows) <= most:
        return rows
    axis = 1 if rows[0][0] == rows[-1][0] else 0
    size = math.ceil(len(rows) / max(1, most // 5))
    kept: list[Row] = []
    rest = rows
    while rest:
        edge = rest[min(size, len(rest)) - 1][axis]
        bucket = [row for row in rest if row[axis] <= edge]
        rest = rest[len(bucket) :]
        numbers = [row for row in bucket if not math.isnan(row[3])]
        telling = [bucket[-1], bucket[0]]
        telling += [max(numbers, key=lambda row: row[3]), min(numbers, key=lambda row: row[3])] if numbers else []
        telling += [row for row in bucket if math.isnan(row[3])][:1]
        kept += {row[2]: row for row in telling}.values()  # each once
    return sorted(kept[:most], key=lambda row: row[:3])


def shown(rows: list[Row]) -> list[tuple[int, int, str]]:
    return [(step, time, repr(value + 0.0)) for step, time, _, value in rows]


def a_run(store: Store) -> str:
    number = store.experiments.ensure("curves", {}, NOW).number
    return store.runs.create(NewRun(f"{a_run.count:032x}", number, "a", RunStatus.RUNNING, "ada", NOW), NOW).id  # type: ignore[attr-defined]


a_run.count = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["sqlite_store", "postgres_store"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, most=st.integers(1, 40))
def test_a_curve_is_what_plain_python_makes_of_the_history(
    request: pytest.FixtureRequest, kind: str, history: list[tuple[int, int, float]], most: int
) -> None:
    store: Store = request.getfixturevalue(kind)
    a_run.count += 1  # type: ignore[attr-defined]
    run = a_run(store)
    steps, times, numbers = (list(column) for column in zip(*history, strict=True))
    times = [NOW + time for time in times]
    store.metrics.append(run, "s", [Part(1, (Series("m", numbers, steps, times),))])

    (got,) = store.metrics.sample([run], ["m"], most)

    places = range(1, len(history) + 1)
    rows = sorted(zip(steps, times, places, numbers, strict=True), key=lambda row: row[:3])
    kept = list(zip(got.series.steps, got.series.times, [0] * most, got.series.values, strict=False))
    assert shown(kept) == shown(curve(rows, most))
    assert got.total == len(history)


@pytest.mark.parametrize("kind", ["sqlite_store", "postgres_store"])
def test_a_long_history_is_paged_thinned_out_and_followed(request: pytest.FixtureRequest, kind: str) -> None:
    store: Store = request.getfixturevalue(kind)
    a_run.count += 1  # type: ignore[attr-defined]
    run = a_run(store)
    for sequence in (1, 2):
        begin = (sequence - 1) * LONG // 2
        steps = list(range(begin, begin + LONG // 2))
        numbers = [math.sin(step / 1000) for step in steps]
        store.metrics.append(run, "s", [Part(sequence, (Series("m", numbers, steps, [NOW] * len(steps)),))])

    found, after = 0, None
    while True:
        page = store.metrics.points(run, "m", after, 100_000)
        assert list(page.series.steps) == list(range(found, found + len(page.series)))
        found, after = found + len(page.series), page.more
        if after is None:
            break
    (thin,) = store.metrics.sample([run], ["m"], 500)
    fresh = store.metrics.since(run, [], {"m": LONG - 3}, 100)

    assert (found, thin.total) == (LONG, LONG)
    assert 200 <= len(thin.series) <= 500
    assert (thin.series.steps[0], thin.series.steps[-1]) == (0, LONG - 1)
    assert max(thin.series.values) == max(math.sin(step / 1000) for step in range(LONG))
    assert [list(one.steps) for one in fresh.series] == [[LONG - 3, LONG - 2, LONG - 1]]


def test_curves_that_nobody_waits_for_are_given_up(sqlite_store: Store) -> None:
    a_run.count += 1  # type: ignore[attr-defined]
    run, count = a_run(sqlite_store), 1000
    columns = ([0.5] * count, list(range(count)), [NOW] * count)
    sqlite_store.metrics.append(run, "s", [Part(1, (Series("m", *columns),))])
    token = calls.current.set(calls.Call("SampleMetrics", LOCAL, deadline=0.0, draining=threading.Event()))
    try:
        with pytest.raises(DeadlineExceeded):
            sqlite_store.metrics.sample([run], ["m"], 100)
    finally:
        calls.current.reset(token)


def test_the_reads_of_a_long_history_use_its_indexes(sqlite_store: Store) -> None:
    a_run.count += 1  # type: ignore[attr-defined]
    run = a_run(sqlite_store)
    series = Series("m", [0.0] * 3000, list(range(3000)), [NOW] * 3000)
    sqlite_store.metrics.append(run, "s", [Part(1, (series,))])
    plans: list[str] = []
    engine = sqlite_store.metrics._database.engine  # type: ignore[attr-defined]

    @event.listens_for(engine, "before_cursor_execute")
    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if "FROM points" in statement:
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows if "points" in row[3])

    sqlite_store.metrics.sample([run], ["m"], 100)
    sqlite_store.metrics.sample([run], ["m"], 100, 10, 2500)
    with engine.connect() as connection:  # those that SQLAlchemy does not run
        for prepared in (points._PAGE, points._NEXT_PAGE, points._SINCE):
            asked = [0] * len(prepared._names)
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {prepared._sql}", asked)
            plans.extend(row[3] for row in rows)

    assert plans
    assert [plan for plan in plans if "SEARCH points USING" not in plan] == []
