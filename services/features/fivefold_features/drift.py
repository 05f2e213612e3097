"""How far the values of a column moved from one version to another. Imports Polars: load it when first needed.

Memory holds the identities of both versions' rows and one column at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fivefold_features import frames, pointintime
from fivefold_features.offline import History
from fivefold_features.schema import Column, Kind
from fivefold_features.store import Snapshot

BINS = 10
_LEAST = 1e-4  # share that an empty bin counts as: its logarithm would have no end
_PLACE = "\x01place"
_FLOATS = (Kind.FLOAT, Kind.DOUBLE)
_ORDERED = (Kind.INT32, Kind.INT64, *_FLOATS, Kind.TIMESTAMP, Kind.DATE)
_MEANT = (Kind.INT32, Kind.INT64, *_FLOATS, Kind.BOOL)

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """Named as the contract's message, which says what each is."""

    column: Column
    psi: float
    ks_statistic: float | None
    ks_p_value: float | None
    base_null_share: float
    null_share: float
    base_mean: float | None
    mean: float | None
    new_values: int


@dataclass(frozen=True, slots=True)
class Drift:
    """`base_rows` and `rows`: of the versions, those that later writes replaced left out."""

    base_rows: int
    rows: int
    columns: tuple[ColumnDrift, ...]


def compare(history: History, base: Snapshot, other: Snapshot, columns: Sequence[Column]) -> Drift:
    """Compares some columns of two versions of a table."""
    with _version(history, base, columns) as before, _version(history, other, columns) as after:
        found = tuple(of_column(column, before.values(column), after.values(column)) for column in columns)
        return Drift(len(before.places), len(after.places), found)


def of_column(column: Column, base: pl.Series, other: pl.Series) -> ColumnDrift:
    """Compares one column's values, nulls among them; NaN is a value of its own and has no part in means and KS."""
    kind = column.kind
    binned = _in_bins if kind in _ORDERED else _by_value
    old, new = _numbers(base, kind), _numbers(other, kind)
    statistic, p_value = _kolmogorov_smirnov(old, new) if kind in _ORDERED else (None, None)
    return ColumnDrift(
        column,
        psi=stability_index(*binned(base, other, kind)),
        ks_statistic=statistic,
        ks_p_value=p_value,
        base_null_share=base.null_count() / len(base) if len(base) else 0.0,
        null_share=other.null_count() / len(other) if len(other) else 0.0,
        base_mean=_mean(old) if kind in _MEANT else None,
        mean=_mean(new) if kind in _MEANT else None,
        new_values=0 if kind in _ORDERED else _new_values(base, other),
    )


def stability_index(base: Counts, other: Counts) -> float:
    """Returns the population stability index of two histograms over the same bins; 0 when one of them is empty."""
    if not base.sum() or not other.sum():
        return 0.0
    used = (base > 0) | (other > 0)
    expected = np.maximum(base[used] / base.sum(), _LEAST)
    actual = np.maximum(other[used] / other.sum(), _LEAST)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _in_bins(base: pl.Series, other: pl.Series, kind: Kind) -> tuple[Counts, Counts]:
    """Returns how many values are in each bin of the base's quantiles, then nulls and NaNs."""
    sides = [(series, np.sort(_numbers(series, kind))) for series in (base, other)]
    (_, old), _ = sides
    ranks = np.arange(1, BINS) * len(old) // BINS
    edges = np.unique(old[ranks]) if len(old) else old[:0]
    first, second = (_histogram(series, numbers, edges) for series, numbers in sides)
    return first, second


def _histogram(series: pl.Series, numbers: npt.NDArray[Any], edges: npt.NDArray[Any]) -> Counts:
    """Counts sorted numbers from one edge up to the next; an edge begins a bin."""
    begins = np.searchsorted(numbers, edges, "left")
    counts = np.diff([0, *begins.tolist(), len(numbers)])
    nulls = series.null_count()
    return np.array([*counts.tolist(), nulls, len(series) - nulls - len(numbers)], float)


def _by_value(base: pl.Series, other: pl.Series, kind: Kind) -> tuple[Counts, Counts]:
    """Returns how often each value occurs in either; null is one of them."""
    value, count = "\x01value", "\x01count"
    first, second = (one.alias(value).value_counts(name=count) for one in (base, other))
    both = first.join(second, on=value, how="full", nulls_equal=True, suffix="\x01other").fill_null(0)
    return both.get_column(count).to_numpy().astype(float), both.get_column(f"{count}\x01other").to_numpy().astype(
        float
    )


def _new_values(base: pl.Series, other: pl.Series) -> int:
    known = base.drop_nulls().unique()
    seen = other.drop_nulls().unique()
    return len(seen) - int(seen.is_in(known.implode()).sum())


def _numbers(series: pl.Series, kind: Kind) -> npt.NDArray[Any]:
    """Returns the values that are there, in any order; none for texts."""
    if kind not in _ORDERED and kind is not Kind.BOOL:
        return np.zeros(0)
    there = series.drop_nulls()
    return (there.drop_nans() if kind in _FLOATS else there.to_physical()).to_numpy()


def _mean(numbers: npt.NDArray[Any]) -> float | None:
    mean = float(np.mean(numbers, dtype=np.float64)) if len(numbers) else math.nan
    return mean if math.isfinite(mean) else None


def _kolmogorov_smirnov(base: npt.NDArray[Any], other: npt.NDArray[Any]) -> tuple[float | None, float | None]:
    """Returns the two-sample statistic and its asymptotic p-value; None when a side has no values."""
    if not len(base) or not len(other):
        return None, None
    old, new = np.sort(base), np.sort(other)
    apart = 0.0
    for points in (old, new):
        shares = np.searchsorted(old, points, "right") / len(old) - np.searchsorted(new, points, "right") / len(new)
        apart = max(apart, float(np.abs(shares).max()))
    return apart, _tail(apart * math.sqrt(len(old) * len(new) / (len(old) + len(new))))


def _tail(distance: float) -> float:
    """The probability that Kolmogorov's distribution exceeds a distance (Kolmogorov 1933)."""
    if distance < 0.2:  # There the sum needs very many terms, and is 1 to twelve digits.
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * distance) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * sum(terms)))


@dataclass(frozen=True, slots=True)
class _Version:
    """The rows of one version: all rows of its files, and the places of those that count."""

    frame: pl.LazyFrame
    places: pl.Series

    def values(self, column: Column) -> pl.Series:
        return self.frame.select(column.name).collect().get_column(column.name).gather(self.places)


@contextmanager
def _version(history: History, snapshot: Snapshot, columns: Sequence[Column]) -> Iterator[_Version]:
    schema = snapshot.table.schema
    kinds = {column.name: column.kind for column in (*schema.columns, *columns)}
    needed = dict.fromkeys((*schema.identity, *(column.name for column in columns)))
    with history.reading(snapshot.parts, {name: frames.POLARS[kinds[name]] for name in needed}) as frame:
        identities = frame.select(*schema.identity, pointintime.VERSION).collect().with_row_index(_PLACE)
        places = pointintime.current(identities, identity=schema.identity).get_column(_PLACE)
        del identities
        yield _Version(frame, places)
