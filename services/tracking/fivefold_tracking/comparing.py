"""Runs side by side: what differs between them, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from fivefold_tracking.params import number_of
from fivefold_tracking.store.records import RunRecord

Value = str | float | None


class Kind(IntEnum):
    """What a row is about, in the order of the rows; numbered as in the contract."""

    PARAM = 1
    METRIC = 2
    TAG = 3
    ATTRIBUTE = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One thing compared: each run's value, None where it has none."""

    kind: Kind
    key: str
    values: tuple[Value, ...]
    differs: bool


_ATTRIBUTES: Mapping[str, Callable[[RunRecord], Value]] = {
    "duration_seconds": lambda run: None if run.ended is None else f"{(run.ended - run.started) / 1e6:.3f}",
    "end_time": lambda run: _time(run.ended),
    "git_commit": lambda run: run.source.git_commit or None,
    "source_name": lambda run: run.source.name or None,
    "start_time": lambda run: _time(run.started),
    "status": lambda run: str(run.status),
    "user": lambda run: run.user or None,
}


def compare(runs: Sequence[RunRecord], *, equal: bool) -> list[Row]:
    """Returns what the runs have: what differs first, then params, metrics, tags and attributes, each by key.

    equal  also rows in which all runs agree

    A param whose every value is a number is compared and returned as numbers: 0.1 and 1e-1 are the same. NaN is equal to
    NaN, and differs from what is not there.
    """
    rows = [
        *_rows(Kind.PARAM, [_numbered(run.params, _numeric(runs)) for run in runs]),
        *_rows(Kind.METRIC, [{point.key: point.value for point in run.metrics} for run in runs]),
        *_rows(Kind.TAG, [run.tags for run in runs]),
        *_rows(Kind.ATTRIBUTE, [{key: read(run) for key, read in _ATTRIBUTES.items()} for run in runs]),
    ]
    return sorted((row for row in rows if row.differs or equal), key=lambda row: (not row.differs, row.kind, row.key))


def _rows(kind: Kind, columns: Sequence[Mapping[str, Value]]) -> list[Row]:
    found = []
    for key in {key for column in columns for key in column}:
        values = tuple(column.get(key) for column in columns)
        found.append(Row(kind, key, values, any(not _same(values[0], value) for value in values)))
    return found


def _numeric(runs: Sequence[RunRecord]) -> frozenset[str]:
    """Returns the params that are a number in every run that has them."""
    every = {key for run in runs for key in run.params}
    texts = {key for run in runs for key, value in run.params.items() if number_of(value) is None}
    return frozenset(every - texts)


def _numbered(params: Mapping[str, str], numeric: frozenset[str]) -> dict[str, Value]:
    return {key: number_of(value) if key in numeric else value for key, value in params.items()}


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


def _time(micros: int | None) -> str | None:
    """Returns a time as ISO text in UTC."""
    if micros is None:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat().replace("+00:00", "Z")
