"""Points of metrics, one by one and in columns, and which of them is the latest: the greatest by step, time, value.

At one step and time NaN counts as smaller than every number, so that a number is shown where there is one. Points that
arrive late or twice therefore change the history only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Point(NamedTuple):
    """One point. `value` may be NaN or infinite, `time` is microseconds since 1970, `step` may be negative.

    model             the logged model that it was measured on, "" for none; its latest point is kept with the model too
    dataset, digest   what it was measured on, "" where not said; kept with the logged model only
    """

    # A tuple: a batch makes a thousand of them, each in a third of the time that a frozen dataclass takes.
    key: str
    value: float
    time: int
    step: int
    model: str = ""
    dataset: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one metric: place i of each column belongs to point i. Values, times and steps as those of Point."""

    key: str
    values: Sequence[float]
    steps: Sequence[int]
    times: Sequence[int]

    def __len__(self) -> int:
        return len(self.values)

    def point(self, index: int) -> Point:
        return Point(self.key, self.values[index], self.times[index], self.steps[index])


def rank(point: Point) -> tuple[int, int, bool, float]:
    """Returns what points of one metric are compared by."""
    number = not math.isnan(point.value)
    return point.step, point.time, number, point.value if number else 0.0


def latest(points: Iterable[Point]) -> Point:
    """Returns the greatest of one metric's points. Raises ValueError when there are none."""
    return max(points, key=rank)


def latest_of(series: Series) -> Point:
    """Returns the greatest point of a series. Raises ValueError when it is empty."""
    top = max(series.steps)
    if series.steps[-1] == top and series.steps.count(top) == 1:
        return series.point(-1)  # what training loops log, without a look at each point
    return latest(series.point(index) for index, step in enumerate(series.steps) if step == top)


def by_key(points: Iterable[Point]) -> list[Series]:
    """Returns the points as one series for each metric, by key, each in the order in which its points came."""
    columns: dict[str, tuple[list[float], list[int], list[int]]] = {}
    for point in points:
        found = columns.get(point.key)
        if found is None:
            found = columns[point.key] = ([], [], [])
        found[0].append(point.value)
        found[1].append(point.step)
        found[2].append(point.time)
    return [Series(key, *columns[key]) for key in sorted(columns)]


def joined(series: Iterable[Series]) -> list[Series]:
    """Returns the same points with one series for each metric, by key: what several messages have of it in their order."""
    parts: dict[str, list[Series]] = {}
    for one in series:
        if one.values:
            parts.setdefault(one.key, []).append(one)
    return [_chained(parts[key]) for key in sorted(parts)]


def _chained(parts: list[Series]) -> Series:
    if len(parts) == 1:
        return parts[0]
    return Series(
        parts[0].key,
        [value for part in parts for value in part.values],
        [step for part in parts for step in part.steps],
        [time for part in parts for time in part.times],
    )
