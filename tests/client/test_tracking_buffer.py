"""What waits to be sent: bounded, in order, and which points give way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from fivefold.sdk.tracking.metricbuffer import MetricBuffer


def test_a_full_buffer_drops_the_oldest_points_of_the_metric_that_has_the_most() -> None:
    buffer = MetricBuffer(100)
    buffer.add("epoch", 0.5, 1, 1)
    for step in range(150):
        buffer.add("batch", step, step, step)
    taken = buffer.take(1000, 1000)
    assert list(taken["epoch"].values) == [0.5]
    kept = list(taken["batch"].values)
    assert kept == list(range(150 - len(kept), 150))
    assert buffer.dropped == 150 - len(kept)


def test_a_metric_that_comes_fast_does_not_keep_the_others_waiting() -> None:
    buffer = MetricBuffer(10_000)
    for step in range(100):
        buffer.add("fast", step, step, step)
    buffer.add("slow", 1.0, 0, 0)
    assert list(buffer.take(50, 10)) == ["fast"]
    assert list(buffer.take(50, 10)) == ["slow", "fast"]


@given(
    capacity=some.integers(1, 50),
    keys=some.lists(some.sampled_from("abc"), max_size=200),
    takes=some.lists(some.tuples(some.integers(1, 30), some.integers(1, 3)), max_size=20),
)
def test_no_point_is_lost_without_being_counted_and_each_metric_keeps_its_order(
    capacity: int, keys: list[str], takes: list[tuple[int, int]]
) -> None:
    buffer = MetricBuffer(capacity)
    out: dict[str, list[float]] = {}
    pending = iter(takes)
    for place, key in enumerate(keys):
        buffer.add(key, place, place, place)
        assert buffer.points <= capacity
        if place % 7 == 0 and (most := next(pending, None)):
            taken = buffer.take(*most)
            assert sum(len(column.values) for column in taken.values()) <= most[0]
            for each, column in taken.items():
                out.setdefault(each, []).extend(column.values)
    for each, column in buffer.take(10**6, 10**6).items():
        out.setdefault(each, []).extend(column.values)
    assert sum(map(len, out.values())) + buffer.dropped == len(keys)
    assert buffer.points == 0
    for values in out.values():
        assert values == sorted(values)
