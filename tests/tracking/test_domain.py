"""The pure rules: latest points, orders, keys, paths, end times, made-up names."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold_runtime.errors import InvalidArgument
from fivefold_tracking import lifecycle, metrics, names, params, paths, readable
from fivefold_tracking.lifecycle import ENDED, RunStatus
from fivefold_tracking.metrics import Point

doubles = st.floats(allow_nan=True, allow_infinity=True)
small = st.integers(-2, 2)
histories = st.lists(st.builds(Point, st.just("m"), doubles, small, small), min_size=1, max_size=12)


@given(histories, st.randoms())
def test_the_latest_point_does_not_depend_on_the_order_of_arrival(history: list[Point], chance: random.Random) -> None:
    shuffled = list(history)
    chance.shuffle(shuffled)

    assert metrics.rank(metrics.latest(shuffled)) == metrics.rank(metrics.latest(history))


@given(histories, histories)
def test_the_latest_of_two_batches_is_the_latest_of_their_latest(one: list[Point], two: list[Point]) -> None:
    stepwise = metrics.latest([metrics.latest(one), *two])

    assert metrics.rank(stepwise) == metrics.rank(metrics.latest(one + two))


@given(histories)
def test_nothing_in_a_history_is_above_its_latest(history: list[Point]) -> None:
    top = metrics.latest(history)

    for point in history:
        assert (point.step, point.time) <= (top.step, top.time)
        if (point.step, point.time) == (top.step, top.time):
            assert math.isnan(point.value) or point.value <= top.value


@given(st.text(max_size=60))
def test_any_text_is_a_safe_path_or_an_invalid_argument(text: str) -> None:
    try:
        paths.check_file(text)
    except InvalidArgument:
        return
    steps = text.split("/")
    assert all(step not in ("", ".", "..") for step in steps)
    assert not set(text) & set("\\;#?%\0\n\r")


@given(st.lists(st.from_regex(r"[a-z]{1,3}", fullmatch=True), min_size=1, max_size=5))
def test_folders_of_a_path_lead_to_it_one_by_one(steps: list[str]) -> None:
    path = "/".join(steps)

    above = paths.folders(path)

    assert len(above) == len(steps) - 1
    assert [paths.parent(each) for each in [*above, path]] == [paths.TOP, *above]


@given(st.binary(max_size=8))
def test_every_run_has_a_readable_name_that_stays(tail: bytes) -> None:
    run = tail.hex().rjust(32, "0")

    assert readable.display_name(run) == readable.display_name(run)
    assert readable.display_name(run).replace("-", "").isalnum()


def test_readable_names_are_many() -> None:
    assert len({readable.display_name(f"{number * 7919:032x}") for number in range(1000)}) > 990


@pytest.mark.parametrize("status", RunStatus)
@pytest.mark.parametrize("current", [None, 5])
def test_a_run_has_an_end_time_exactly_when_it_ended(status: RunStatus, current: int | None) -> None:
    got = lifecycle.end_time(status, current, None, 9)

    assert got == ((current or 9) if status in ENDED else None)


@given(st.floats(allow_nan=False))
def test_a_param_that_python_prints_is_the_number_that_it_was(value: float) -> None:
    assert params.number_of(repr(value)) == value
    assert params.number_of(f" {value!r}\n") == value


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "True", "1_000", "0x10", "1e", "e5", ".", "1 2", "1,5", "\u0663", "½"]
)
def test_a_param_that_is_no_decimal_number_is_a_text(text: str) -> None:
    assert params.number_of(text) is None


@given(st.text(max_size=12))
def test_any_param_is_a_number_or_a_text(text: str) -> None:
    found = params.number_of(text)
    assert found is None or found == float(text)


@given(st.integers(1, 10**18 - 1))
def test_names_of_experiments_are_read_back(number: int) -> None:
    assert names.experiment_number(names.experiment_name(number)) == number
