"""Points of metrics, and which of them is the latest: the greatest by step, then time, then value.

At one step and time NaN counts as smaller than every number, so that a number is shown where there is one. Points that
arrive late or twice therefore change the history only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One point. `value` may be NaN or infinite, `time` is microseconds since 1970, `step` may be negative.

    model             the logged model that it was measured on, "" for none; its latest point is kept with the model too
    dataset, digest   what it was measured on, "" where not said; kept with the logged model only
    """

    key: str
    value: float
    time: int
    step: int
    model: str = ""
    dataset: str = ""
    digest: str = ""


def rank(point: Point) -> tuple[int, int, bool, float]:
    """Returns what points of one metric are compared by."""
    number = not math.isnan(point.value)
    return point.step, point.time, number, point.value if number else 0.0


def latest(points: Iterable[Point]) -> Point:
    """Returns the greatest of one metric's points. Raises ValueError when there are none."""
    return max(points, key=rank)


def by_key(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Returns the points of each metric, metrics by key, points in the order in which they came."""
    grouped: dict[str, list[Point]] = {}
    for point in points:
        grouped.setdefault(point.key, []).append(point)
    return dict(sorted(grouped.items()))
