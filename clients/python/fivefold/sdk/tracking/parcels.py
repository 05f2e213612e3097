"""What a stream of points has sent and does not know to be written: numbered parcels. Knows no threads and no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fivefold.sdk.tracking.metricbuffer import Column
from fivefold.tracking.v1 import tracking_pb2 as pb


@dataclass(slots=True)
class Parcel:
    """Points that are written together, by metric, under one number of the stream."""

    sequence: int
    series: dict[str, Column]

    @property
    def points(self) -> int:
        """How many points it holds."""
        return sum(len(column.values) for column in self.series.values())

    def message(self) -> pb.LogMetricsRequest:
        """Returns what is sent."""
        series = [
            pb.MetricSeries(key=key, values=column.values, steps=column.steps, times_us=column.times_us)
            for key, column in self.series.items()
        ]
        return pb.LogMetricsRequest(points=pb.LogMetricsRequest.Points(sequence=self.sequence, series=series))


class Parcels:
    """The parcels that are not acknowledged, in the order of the stream."""

    def __init__(self) -> None:
        self._waiting: deque[Parcel] = deque()
        self._next = 1
        self.points = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, series: dict[str, Column]) -> Parcel:
        """Returns a new parcel with the next number."""
        parcel = Parcel(self._next, series)
        self._next += 1
        self._waiting.append(parcel)
        self.points += parcel.points
        return parcel

    def acknowledge(self, number: int) -> None:
        """Forgets what is written, which is everything up to a number."""
        while self._waiting and 0 < self._waiting[0].sequence <= number:
            self.points -= self._waiting.popleft().points

    def follow(self, number: int) -> None:
        """Numbers what is left so that it follows on what is written, whatever its numbers were before.

        They differ after a parcel was refused and taken out, or parted.
        """
        for place, parcel in enumerate(self._waiting, number + 1):
            parcel.sequence = place
        self._next = number + 1 + len(self._waiting)

    def after(self, sent: int) -> Parcel | None:
        """Returns the first parcel beyond a number, if there is one."""
        return next((parcel for parcel in self._waiting if parcel.sequence > sent), None)

    def under_way(self, sent: int) -> int:
        """Returns how many parcels up to a number are not acknowledged."""
        return sum(parcel.sequence <= sent for parcel in self._waiting)

    def refuse_first(self) -> Parcel | None:
        """Takes the first parcel out and returns it; one of several metrics stays, parted into one for each."""
        first = self._waiting.popleft()
        if len(first.series) > 1:
            self._waiting.extendleft(Parcel(0, {key: first.series[key]}) for key in reversed(first.series))
            return None
        self.points -= first.points
        return first

    def clear(self) -> int:
        """Forgets all and returns how many points they held."""
        gone, self.points = self.points, 0
        self._waiting.clear()
        return gone
