"""Runs and comparisons as rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fivefold.cli.failures import USAGE, Failure

_MOST_METRICS = 6  # columns of a table that nobody asked for by name
_ATTRIBUTES = {
    "run": "name",
    "name": "display_name",
    "experiment": "experiment",
    "status": "status",
    "started": "start_time",
    "ended": "end_time",
    "duration": "",
    "user": "user",
    "parent": "parent_run",
}
_MAPS = ("metrics", "params", "tags")
USUAL = ("run", "name", "status", "started", "duration", "user")


def columns_of(asked: str, runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a table: those asked for, "a,metrics.b,params.c", else the usual ones and some metrics.

    Raises Failure for a column that no run can have.
    """
    if not asked:
        keys = dict.fromkeys(key for run in runs for key in run["metrics"])
        return [*USUAL, *(f"metrics.{key}" for key in list(keys)[:_MOST_METRICS])]
    columns = [column.strip() for column in asked.split(",") if column.strip()]
    for column in columns:
        kind, _, key = column.partition(".")
        if column not in _ATTRIBUTES and not (kind in _MAPS and key):
            known = ", ".join([*_ATTRIBUTES, "metrics.KEY", "params.KEY", "tags.KEY"])
            raise Failure(f"there is no column {column!r}", f"columns are {known}", code=USAGE)
    return columns


def row_of(run: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Returns a run's values by column; names without their collection, as commands take them."""
    return {column: _value(run, column) for column in columns}


def heads(columns: Sequence[str]) -> dict[str, str]:
    """Returns what each column is headed: its key alone where that is clear."""
    keys = [_key(column) for column in columns]
    return {column: key if keys.count(key) == 1 else column for column, key in zip(columns, keys, strict=True)}


def _key(column: str) -> str:
    kind, _, key = column.partition(".")
    return key if kind in _MAPS and key else column


def _value(run: Mapping[str, Any], column: str) -> Any:
    kind, _, key = column.partition(".")
    if kind in _MAPS and key:
        return run[kind].get(key)
    if column == "duration":
        if run["start_time"] is None or run["end_time"] is None:
            return None
        return span_text((run["end_time"] - run["start_time"]).total_seconds())
    value = run[_ATTRIBUTES[column]]
    return value.partition("/")[2] if column in ("run", "experiment", "parent") else value


def span_text(seconds: float) -> str:
    """Returns a span of time as people read it: "4.2 s", "3 m 05 s", "2 h 10 m"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"
