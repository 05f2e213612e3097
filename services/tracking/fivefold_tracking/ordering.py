"""The order of a search for runs: `start_time`, `metrics.KEY` or `params.KEY`, with ` asc` or ` desc`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fivefold_runtime.errors import InvalidArgument
from fivefold_tracking.keys import check_key


class By(Enum):
    """What runs are ordered by."""

    START_TIME = "start_time"
    METRIC = "metrics"
    PARAM = "params"


@dataclass(frozen=True, slots=True)
class Order:
    """One order. Runs with equal values follow by name, in the same direction; runs without the value come last.

    key  of the metric or param, "" for START_TIME
    """

    by: By
    key: str = ""
    descending: bool = False


NEWEST_FIRST = Order(By.START_TIME, descending=True)
_DIRECTIONS = {" asc": False, " desc": True}


def parse(text: str, field: str = "order_by") -> Order:
    """Returns the order that a request asks for, NEWEST_FIRST for "". Raises InvalidArgument, NameInvalid for a key."""
    stripped = text.strip()
    if not stripped:
        return NEWEST_FIRST
    descending = False
    for suffix, down in _DIRECTIONS.items():
        if stripped.lower().endswith(suffix):
            stripped, descending = stripped[: -len(suffix)].rstrip(), down
            break
    if stripped == By.START_TIME.value:
        return Order(By.START_TIME, descending=descending)
    kind, dot, key = stripped.partition(".")
    if dot and kind in (By.METRIC.value, By.PARAM.value):
        return Order(By(kind), check_key(key, field), descending)
    raise InvalidArgument.at(
        field,
        f"is {text[:64]!r}; it must be start_time, metrics.KEY or params.KEY, then nothing, asc or desc",
        value=text,
    )
