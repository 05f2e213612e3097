"""How far columns moved between versions, against SciPy and plain counting."""

from __future__ import annotations

import math
from typing import Any

import grpc
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.drift import of_column
from fivefold_features.schema import Column, Kind
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, at

SAMPLES = st.lists(st.none() | st.integers(-50, 50).map(float) | st.floats(-100, 100), max_size=60)


def drift(kind: Kind, base: list[Any], other: list[Any], of: Any) -> Any:
    return of_column(Column("c", kind), pl.Series(base, dtype=of), pl.Series(other, dtype=of))


@settings(max_examples=200, deadline=None)
@given(SAMPLES, SAMPLES)
def test_the_statistic_and_its_p_value_are_scipys(base: list[float | None], other: list[float | None]) -> None:
    found = drift(Kind.DOUBLE, base, other, pl.Float64)
    old, new = ([value for value in side if value is not None] for side in (base, other))
    if not old or not new:
        assert found.ks_statistic is None and found.ks_p_value is None
        return
    expected = stats.ks_2samp(old, new, method="asymp")
    assert found.ks_statistic == pytest.approx(expected.statistic)
    distance = expected.statistic * math.sqrt(len(old) * len(new) / (len(old) + len(new)))
    assert found.ks_p_value == pytest.approx(stats.kstwobign.sf(distance), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(SAMPLES.filter(bool))
def test_a_column_that_did_not_change_did_not_move(values: list[float | None]) -> None:
    found = drift(Kind.DOUBLE, values, list(reversed(values)), pl.Float64)
    assert found.psi == 0 and found.ks_statistic in (None, 0.0) and found.base_null_share == found.null_share


def test_bins_are_tenths_of_the_base_and_nulls_and_nans_have_their_own() -> None:
    base = [float(number) for number in range(100)]
    shifted = drift(Kind.DOUBLE, base, [value + 10 for value in base], pl.Float64)
    shares = np.array([1e-4, *[0.1] * 8, 0.2])
    assert shifted.psi == pytest.approx(float(((shares - 0.1) * np.log(shares / 0.1)).sum()))
    assert shifted.ks_statistic == pytest.approx(0.1) and (shifted.base_mean, shifted.mean) == (49.5, 59.5)
    for gone in (None, float("nan")):
        half = drift(Kind.DOUBLE, base, [value if n % 2 else gone for n, value in enumerate(base)], pl.Float64)
        expected = 10 * (0.05 - 0.1) * math.log(0.05 / 0.1) + (0.5 - 1e-4) * math.log(0.5 / 1e-4)
        assert half.psi == pytest.approx(expected), gone
        assert half.null_share == (0.5 if gone is None else 0) and half.mean == pytest.approx(50)


def test_whole_numbers_beyond_what_floats_tell_apart_are_told_apart() -> None:
    big = 2**62
    found = drift(Kind.INT64, [big] * 10, [big + 1] * 10, pl.Int64)
    assert found.ks_statistic == 1.0


def test_texts_are_compared_value_by_value_and_new_ones_are_counted() -> None:
    found = drift(Kind.STRING, ["a", "a", "b", None], ["a", "c", "d", "d"], pl.String)
    expected, actual = np.array([0.5, 0.25, 0.25, 1e-4, 1e-4]), np.array([0.25, 1e-4, 1e-4, 0.25, 0.5])
    assert found.psi == pytest.approx(float(((actual - expected) * np.log(actual / expected)).sum()))
    assert (found.new_values, found.ks_statistic, found.mean) == (2, None, None)
    assert (found.base_null_share, found.null_share) == (0.25, 0)
    flags = drift(Kind.BOOL, [True, True], [False, True], pl.Boolean)
    assert (flags.new_values, flags.base_mean, flags.mean) == (1, 1.0, 0.5)


def test_a_side_without_rows_moves_nothing() -> None:
    for kind, of in ((Kind.DOUBLE, pl.Float64), (Kind.STRING, pl.String), (Kind.BOOL, pl.Boolean)):
        values = {Kind.DOUBLE: [1.0], Kind.STRING: ["a"], Kind.BOOL: [True]}[kind]
        assert drift(kind, [], [], of).psi == drift(kind, values, [], of).psi == drift(kind, [], values, of).psi == 0


@pytest.fixture
def versions(client: Client) -> Client:
    """A table `x` with three versions; the second replaces a row of the first, the third has a new column."""
    client.create("x", {"k": "STRING", "t": "TIMESTAMP", "n": "INT64", "s": "STRING"}, ["k"], timestamp_key="t")
    for keys, numbers in ((["a", "b"], [1, 2]), (["b"], [10])):
        times = pa.array([at(0)] * len(keys), MOMENT)
        client.write("x", pa.table({"k": keys, "t": times, "n": numbers, "s": keys}))
    return client


def compare(client: Client, base: int, version: int = 0, columns: tuple[str, ...] = ()) -> Any:
    request = pb.CompareTableVersionsRequest(name="tables/x", base_version=base, version=version, columns=columns)
    return client.call("CompareTableVersions", request)


def test_versions_are_compared_as_they_were_without_rows_that_were_replaced(versions: Client) -> None:
    found = compare(versions, 1)
    assert (found.base_version, found.version) == ("tables/x/versions/1", "tables/x/versions/2")
    assert (found.base_rows, found.rows) == (2, 2)
    assert [column.name for column in found.columns] == ["n", "s"]
    number, text = found.columns
    assert (number.base_mean, number.mean, number.ks_statistic) == (1.5, 5.5, 0.5)
    assert not text.HasField("ks_statistic") and text.psi == 0
    back = compare(versions, 2, 1, ("n",))
    assert (back.columns[0].base_mean, back.columns[0].mean) == (5.5, 1.5)


def test_a_column_that_was_added_since_is_all_null_before(versions: Client) -> None:
    added = pb.TableColumn(name="v", type=versions.table("x").columns[2].type)
    table = pb.Table(name="tables/x", columns=[*versions.table("x").columns, added])
    versions.call("UpdateTable", pb.UpdateTableRequest(table=table))
    rows = {"k": ["a"], "t": pa.array([at(0)], MOMENT), "n": [1], "s": ["a"], "v": [7]}
    versions.write("x", pa.table(rows))
    (found,) = compare(versions, 1, 0, ("v",)).columns
    assert (found.base_null_share, found.null_share, found.mean) == (1.0, 0.5, 7.0)


@pytest.mark.parametrize(
    ("base", "version", "columns", "reason"),
    [
        (0, 0, (), "FIELD_REQUIRED"),
        (9, 0, (), "RESOURCE_NOT_FOUND"),
        (1, 9, (), "RESOURCE_NOT_FOUND"),
        (1, 2, ("nothing",), "SCHEMA_MISMATCH"),
    ],
)
def test_what_is_not_there_is_not_compared(
    versions: Client, base: int, version: int, columns: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        compare(versions, base, version, columns)
    assert errors.parse(caught.value)[0] == reason
