"""Runs and comparisons as rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fivefold.cli.failures import USAGE, Failure
from fivefold.cli.output import Verbatim, text, width

_MOST_METRICS = 6  # columns of a table that nobody asked for by name
_LONGEST_NAME = 24  # characters of a run's name above a column
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
    """Returns what each column is headed: a key alone, as it is, where that is clear."""
    keys = [_key(column) for column in columns]
    return {
        column: key if keys.count(key) == 1 else Verbatim(column) for column, key in zip(columns, keys, strict=True)
    }


def fitting(rows: Sequence[dict[str, Any]], names: Sequence[str], room: int) -> list[str]:
    """Returns the columns that fit into so many of a terminal, in their order, and cuts long names in `rows`.

    A run's id stays whole, as it is what the next command needs; metrics go before times and users.
    """
    for row in rows:
        name = row.get("name")
        if isinstance(name, str) and width(name) > _LONGEST_NAME:
            row["name"] = f"{name[: _LONGEST_NAME - 1]}…"
    needed = {name: max([width(name), *(width(text(row[name])) for row in rows)]) + 2 for name in names}
    metrics = [name for name in names if name not in USUAL]
    order = ["run", "name", *metrics[:3], "status", "started", "duration", *metrics[3:], "user"]
    chosen: set[str] = set()
    left = room + 2
    for name in order:
        if name in needed and (needed[name] <= left or name == "run"):
            chosen.add(name)
            left -= needed[name]
    return [name for name in names if name in chosen]


def card_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run as one reads it: without what is empty, and without the JSON of its datasets' columns."""
    source = {name: value for name, value in run["source"].items() if value}
    inputs = [{name: value for name, value in each.items() if name != "schema"} for each in run["inputs"]]
    return {**run, "source": source, "inputs": inputs}


def sides(runs: Sequence[str], names: Sequence[str]) -> list[str]:
    """Returns what the columns of a comparison are headed: cut names, with the end of the id where two are the same."""
    cut = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    if len({*cut, "what", "key"}) < len(cut) + 2:
        cut = [f"{name} (…{run[-6:]})" for run, name in zip(runs, cut, strict=True)]
    return [Verbatim(name) for name in cut]


def _key(column: str) -> str:
    kind, _, key = column.partition(".")
    return Verbatim(key) if kind in _MAPS and key else column


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
