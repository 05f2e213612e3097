"""Points of metrics that wait to be sent: in columns, bounded. Knows no threads and no wire."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


@dataclass(slots=True)
class Column:
    """Waiting points of one metric, oldest first; 24 bytes each."""

    values: array[float] = field(default_factory=lambda: array("d"))
    steps: array[int] = field(default_factory=lambda: array("q"))
    times_us: array[int] = field(default_factory=lambda: array("q"))

    def take(self, count: int) -> Column:
        """Removes the oldest points and returns them."""
        taken = Column(self.values[:count], self.steps[:count], self.times_us[:count])
        del self.values[:count], self.steps[:count], self.times_us[:count]
        return taken


class MetricBuffer:
    """At most `capacity` points. Where one more would not fit, the oldest quarter of the metric that has the most
    points waiting goes: a curve of many points loses some of them, and a metric that is logged once an epoch none.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.points = 0
        self.dropped = 0
        self._columns: dict[str, Column] = {}

    def add(self, key: str, value: float, step: int, time_us: int) -> None:
        """Takes a point in. Raises OverflowError for a step beyond 64 bits."""
        if self.points >= self.capacity:
            self._make_room()
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column()
        column.steps.append(step)
        column.values.append(value)
        column.times_us.append(time_us)
        self.points += 1

    def take(self, most_points: int, most_metrics: int) -> dict[str, Column]:
        """Removes points and returns them by metric, in the order in which metrics were first logged."""
        taken: dict[str, Column] = {}
        left = most_points
        for key in list(self._columns)[:most_metrics]:
            column = self._columns[key]
            if len(column.values) <= left:
                taken[key] = self._columns.pop(key)
            else:
                taken[key] = column.take(left)
                self._columns[key] = self._columns.pop(key)  # to the end, so that the others have their turn
            left -= len(taken[key].values)
            if not left:
                break
        self.points -= most_points - left
        return taken

    def clear(self) -> int:
        """Removes all points and returns how many they were."""
        gone, self.points = self.points, 0
        self._columns.clear()
        return gone

    def _make_room(self) -> None:
        column = max(self._columns.values(), key=lambda each: len(each.values))
        gone = len(column.take(-(-len(column.values) // 4)).values)
        self.points -= gone
        self.dropped += gone
