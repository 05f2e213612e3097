"""What a filter and an order mean, in plain Python over whole runs: what searches are compared with."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from fivefold_runtime.filters import And, Comparison, Field, Filter, Operator, Or, OrderKey, Presence, Value
from fivefold_tracking.params import number_of
from fivefold_tracking.store.records import RunRecord


def holds(tree: Filter | None, run: RunRecord) -> bool:
    """Says whether a run matches."""
    match tree:
        case None:
            return True
        case And(parts):
            return all(holds(part, run) for part in parts)
        case Or(parts):
            return any(holds(part, run) for part in parts)
        case Presence(field, present):
            return bool(values_of(field, run)) == present
        case _:
            return _compares(tree, run)


def ordered(runs: Sequence[RunRecord], order: Sequence[OrderKey]) -> list[RunRecord]:
    """Returns the runs in an order: without a value last, NaN before those, then the latest start, then by id."""
    found = sorted(runs, key=lambda run: (-run.started, run.id))
    for key in reversed(order):
        there = [run for run in found if values_of(key.field, run) and not _is_nan(values_of(key.field, run)[0])]
        nan = [run for run in found if values_of(key.field, run) and _is_nan(values_of(key.field, run)[0])]
        none = [run for run in found if not values_of(key.field, run)]
        there.sort(
            key=lambda run: values_of(key.field, run)[0], reverse=key.descending
        )  # keeps the order of equal ones
        found = there + nan + none
    return found


def values_of(field: Field, run: RunRecord) -> list[Value]:
    """Returns the values of a field; only datasets have more than one."""
    found: list[Value | None]
    match field:
        case Field("metrics", key):
            found = [point.value for point in run.metrics if point.key == key]
        case Field("params", key):
            found = [run.params.get(key)]
        case Field("tags", key):
            found = [run.tags.get(key)]
        case Field("datasets", "context"):
            found = [each.tags.get("mlflow.data.context") for each in run.inputs]
        case Field("datasets", key):
            found = [each.dataset if key == "name" else each.digest for each in run.inputs]
        case Field(_, key):
            found = [
                {
                    "run_id": run.id,
                    "run_name": run.display_name,
                    "status": str(run.status),
                    "user": run.user,
                    "start_time": run.started,
                    "end_time": run.ended,
                    "experiment_id": run.experiment,
                    "parent_run_id": run.parent or None,
                    "source_name": run.source.name,
                    "source_type": run.source.type or None,
                    "git_commit": run.source.git_commit,
                }[key]
            ]
    return [value for value in found if value is not None]


def _compares(leaf: Comparison, run: RunRecord) -> bool:
    values = values_of(leaf.field, run)
    if not isinstance(leaf.value, str):
        numbers = [number_of(value) if isinstance(value, str) else value for value in values]
        values = [number for number in numbers if number is not None]
    elif leaf.field.key == "experiment_id":
        values = [str(value) for value in values]
    if not values:
        return False
    return any(_is(value, leaf) for value in values) != leaf.negated


def _is(value: Value, leaf: Comparison) -> bool:
    other: object = leaf.value
    match leaf.operator:
        case Operator.EQUAL:
            return value == other
        case Operator.NOT_EQUAL:
            return value != other
        case Operator.LESS:
            return value < other  # type: ignore[operator]
        case Operator.AT_MOST:
            return value <= other  # type: ignore[operator]
        case Operator.GREATER:
            return value > other  # type: ignore[operator]
        case Operator.AT_LEAST:
            return value >= other  # type: ignore[operator]
        case Operator.IN:
            return value in leaf.values
        case Operator.NOT_IN:
            return value not in leaf.values
        case Operator.LIKE:
            return _like(str(leaf.value)).fullmatch(str(value)) is not None
        case Operator.ILIKE:
            return _like(_lower(str(leaf.value))).fullmatch(_lower(str(value))) is not None
    raise AssertionError(leaf.operator)


def _like(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|\\|.", pattern, re.DOTALL)
    meant = {"%": ".*", "_": "."}
    return re.compile("".join(meant.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _lower(text: str) -> str:
    return "".join(char.lower() if char.isascii() else char for char in text)


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)
