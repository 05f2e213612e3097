"""The point-in-time join against a plain loop that shares nothing with it, on ties, late rows, nulls and both times."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold_features.pointintime import ALWAYS, EVENT, KNOWLEDGE, VERSION, as_of, current, latest

Row = tuple[Any, Any, int, int, int]  # keys a and b, event, knowledge, version

TIMES = st.integers(0, 6)
KEYS = st.tuples(st.sampled_from(["x", "y"]), st.integers(0, 1))


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Rows of a history in any order: a row is unique by key, times and version."""
    declares_event, declares_knowledge = draw(st.booleans()), draw(st.booleans())
    made = draw(st.lists(st.tuples(KEYS, TIMES, TIMES, st.integers(1, 3)), max_size=25))
    rows = {
        (*key, event if declares_event else ALWAYS, known if declares_knowledge else ALWAYS, version)
        for key, event, known, version in made
    }
    return draw(st.permutations(sorted(rows)))


def frame(rows: list[Row]) -> pl.DataFrame:
    schema = {"a": pl.String, "b": pl.Int64, EVENT: pl.Int64, KNOWLEDGE: pl.Int64, VERSION: pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def plainly(rows: list[Row], a: Any, b: Any, time: int, look_back: int | None) -> int | None:
    """Looks at every row: which one counts for this label?"""
    best = None
    for position, (row_a, row_b, event, known, version) in enumerate(rows):
        if a is None or b is None or (row_a, row_b) != (a, b) or event > time or known > time:
            continue
        if best is None or (event, version, known) > best[0]:
            best = ((event, version, known), position)
    if best is None or (look_back is not None and best[0][0] < time - look_back):
        return None
    return best[1]


LABELS = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z", None]), st.sampled_from([0, 1, 2, None]), TIMES), max_size=20
)


@settings(max_examples=300, deadline=None)
@given(histories(), LABELS, st.none() | st.integers(0, 4))
def test_every_label_gets_the_row_that_a_plain_loop_finds(
    rows: list[Row], labels: list[tuple[Any, Any, int]], look_back: int | None
) -> None:
    asked = pl.DataFrame(labels, schema={"a": pl.String, "b": pl.Int64, "t": pl.Int64}, orient="row")
    found = as_of(asked, frame(rows), keys=["a", "b"], time="t", look_back=look_back)
    assert found.to_list() == [plainly(rows, *label, look_back) for label in labels]


@settings(max_examples=200, deadline=None)
@given(histories(), TIMES)
def test_the_latest_rows_at_a_moment_are_those_that_a_label_of_that_moment_gets(rows: list[Row], moment: int) -> None:
    found = latest(frame(rows), keys=["a", "b"], moment=moment)
    keys = sorted({(a, b) for a, b, *_ in rows})
    expected = [plainly(rows, *key, moment, None) for key in keys]
    assert sorted(found.rows()) == sorted(rows[position] for position in expected if position is not None)


@given(histories())
def test_the_current_rows_are_those_of_the_last_version_in_order(rows: list[Row]) -> None:
    newest: dict[tuple[Any, ...], int] = {}
    for *identity, version in rows:
        newest[tuple(identity)] = max(version, newest.get(tuple(identity), 0))
    found = current(frame(rows), identity=["a", "b", EVENT, KNOWLEDGE])
    assert found.rows() == [(*identity, version) for identity, version in sorted(newest.items())]


def test_a_row_exactly_as_old_as_the_look_back_counts_and_an_older_one_does_not() -> None:
    hour = timedelta(hours=1) // timedelta(microseconds=1)
    rows = frame([("x", 0, 0, ALWAYS, 1)])
    labels = pl.DataFrame({"a": ["x", "x"], "b": [0, 0], "t": [hour, hour + 1]})
    assert as_of(labels, rows, keys=["a", "b"], time="t", look_back=hour).to_list() == [0, None]
