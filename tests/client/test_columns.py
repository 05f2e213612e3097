"""A few rows as plain columns, to the wire and back."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.sdk.columns import from_wire, to_wire
from fivefold.sdk.errors import InvalidArgument

scalars = st.one_of(
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1),
    st.lists(st.one_of(st.none(), st.text()), min_size=1),
)


@given(scalars)
def test_values_come_back_as_they_went(values: list[Any]) -> None:
    (column,) = to_wire({"x": values})
    assert from_wire(column) == values


def only(values: Any) -> Any:
    (column,) = to_wire({"x": values})
    return column


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], "bools"),
        ([1, 2], "int64s"),
        ([1, 2.5], "doubles"),
        (["a", None], "strings"),
        (np.array([1, 2], dtype=np.int16), "int64s"),
        (np.array([1.5], dtype=np.float32), "doubles"),
        ([np.float64(1.5), np.int64(2)], "doubles"),
        (pd.Series(["a", "b"], dtype="category"), "strings"),
        (pl.Series([1, None]), "int64s"),
        (pa.array(["x"]), "strings"),
        (np.bool_(True), "bools"),
        ("JFK", "strings"),
    ],
)
def test_the_values_choose_the_kind(values: Any, kind: str) -> None:
    assert only(values).WhichOneof("values") == kind


def test_nan_among_text_is_null_and_nan_among_numbers_stays_a_number() -> None:
    assert list(only(["a", math.nan]).nulls) == [1]
    assert list(only([1.0, math.nan]).nulls) == []
    assert math.isnan(only([1.0, math.nan]).doubles.values[1])


def test_a_column_of_nothing_is_null_throughout() -> None:
    for values in ([math.nan], [None, None], [pd.NaT, None], [pd.NA]):
        column = only(values)
        assert list(column.nulls) == list(range(len(values)))
        assert from_wire(column) == [None] * len(values)


def test_times_become_microseconds_and_dates_days() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)
    assert list(only([moment, None]).int64s.values) == [1_000_005, 0]
    assert list(only(pd.Series([moment])).int64s.values) == [1_000_005]
    assert list(only([date(1970, 1, 11)]).int64s.values) == [10]


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames_of_all_libraries_become_the_same_columns(library: Any) -> None:
    columns = {"origin": ["JFK", None], "late": [True, False], "n": [1, 2]}
    assert [column.name for column in to_wire(library(columns))] == list(columns)
    assert {column.name: from_wire(column) for column in to_wire(library(columns))} == columns


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1, 2], "b": [1]}, "differ in length"),
        ({"a": [1, "x"]}, "'a' holds int, str"),
        ({"a": [2**63]}, "beyond 64 bits"),
        ({"a": [{}]}, "'a' holds dict"),
        ({"a": [datetime(2026, 1, 1)]}, "no time zone"),
        ({}, "no column"),
        ([1, 2], "dict of columns"),
    ],
)
def test_what_is_no_column_is_refused_by_name(columns: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        to_wire(columns)
