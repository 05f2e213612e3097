"""Streams of points: acknowledged is on disk, a break loses and repeats nothing, wrong messages and bad columns are
refused, and a stream that goes on without end stays within its bounds."""

from __future__ import annotations

import itertools
import queue
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import errors
from fivefold_runtime.testing import Running
from fivefold_tracking import columns
from fivefold_tracking.metrics import Series
from fivefold_tracking.store.records import Part
from fivefold_tracking.streams import Inbox, Room
from tests.tracking.client import Tracking

UNKNOWN = "runs/" + "0" * 32
WAIT = 60  # seconds, generous: a loaded machine


def header(run: str, stream: str = "s") -> pb.LogMetricsRequest:
    return pb.LogMetricsRequest(header=pb.LogMetricsRequest.Header(run=run, stream=stream))


def message(sequence: int, *series: pb.MetricSeries) -> pb.LogMetricsRequest:
    return pb.LogMetricsRequest(points=pb.LogMetricsRequest.Points(sequence=sequence, series=series))


def one(sequence: int, key: str = "m") -> pb.LogMetricsRequest:
    """The message of a stream that logs its own number as step and value."""
    return message(sequence, pb.MetricSeries(key=key, values=[sequence], steps=[sequence]))


def send(tracking: Tracking, messages: Iterable[pb.LogMetricsRequest]) -> list[int]:
    """Sends a whole stream; returns what was acknowledged."""
    return [answer.acknowledged for answer in tracking.stub.LogMetrics(iter(messages))]


def refusal(call: Callable[[], object]) -> tuple[str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    reason, facts, *_ = errors.parse(caught.value)
    return reason, facts


def steps(tracking: Tracking, run: str, key: str = "m") -> list[int]:
    """The steps of a whole history."""
    asked = pb.ListMetricPointsRequest(run=run, key=key, page_size=100_000)
    return list(tracking.stub.ListMetricPoints(asked).points.steps)


@pytest.fixture
def run(tracking: Tracking) -> str:
    return tracking.run(tracking.experiment().name).name


class Client:
    """One open stream that sends when told to, and reads answers as they come."""

    def __init__(self, tracking: Tracking, run: str, stream: str = "s") -> None:
        self._sending: queue.Queue[pb.LogMetricsRequest | None] = queue.Queue()
        self._answers: queue.Queue[int | None] = queue.Queue()
        self.error: grpc.RpcError | None = None
        self.call = tracking.stub.LogMetrics(iter(self._sending.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._sending.put(header(run, stream))
        self.acknowledged = self.answer()

    def _read(self) -> None:
        try:
            for answer in self.call:
                self._answers.put(answer.acknowledged)
        except grpc.RpcError as error:
            self.error = error
        self._answers.put(None)

    def answer(self) -> int | None:
        return self._answers.get(timeout=WAIT)

    def send(self, *messages: pb.LogMetricsRequest) -> None:
        for each in messages:
            self._sending.put(each)

    def until(self, sequence: int) -> None:
        """Waits for an acknowledgement."""
        while (got := self.answer()) is not None and got < sequence:
            pass
        assert got == sequence, self.error

    def close(self) -> None:
        self._sending.put(None)
        assert self.answer() is None


def test_each_answer_says_what_is_on_disk_and_the_last_one_everything(tracking: Tracking, run: str) -> None:
    got = send(tracking, [header(run), *map(one, range(1, 301))])

    assert got[0] == 0 and got[-1] == 300 and got == sorted(got)
    assert steps(tracking, run) == list(range(1, 301))


def test_acknowledgements_come_while_the_stream_stays_open(tracking: Tracking, run: str) -> None:
    client = Client(tracking, run)
    for sequence in (1, 2, 3):
        client.send(one(sequence))
        client.until(sequence)
        assert steps(tracking, run) == list(range(1, sequence + 1))
    client.close()


def test_a_stream_that_is_opened_again_says_where_it_is_and_takes_nothing_twice(tracking: Tracking, run: str) -> None:
    send(tracking, [header(run), one(1), one(2)])

    got = send(tracking, [header(run), one(1), one(2), one(3), one(2), one(4)])

    assert (got[0], got[-1]) == (2, 4)
    assert steps(tracking, run) == [1, 2, 3, 4]


def test_two_connections_of_one_stream_write_each_message_once(on_both: Tracking) -> None:
    run = on_both.run(on_both.experiment().name).name
    barrier = threading.Barrier(4)

    def write() -> None:
        barrier.wait()
        send(on_both, [header(run), *map(one, range(1, 101))])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert steps(on_both, run) == list(range(1, 101))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [one(1)],
        [pb.LogMetricsRequest()],
        [header("{run}"), header("{run}")],
        [header("{run}"), pb.LogMetricsRequest()],
        [header("{run}"), one(2)],
        [header("{run}"), one(1), one(3)],
    ],
)
def test_messages_out_of_order_are_refused(tracking: Tracking, run: str, messages: list[pb.LogMetricsRequest]) -> None:
    for each in messages:
        if each.HasField("header"):
            each.header.run = run

    assert refusal(lambda: send(tracking, messages))[0] == "STREAM_ORDER"


@pytest.mark.parametrize(
    ("series", "reason", "field"),
    [
        ({"key": "m", "values": [1, 2], "steps": [1]}, "FIELD_INVALID", "points.series[1].steps"),
        ({"key": "m", "values": [1], "times_us": [1, 2]}, "FIELD_INVALID", "points.series[1].times_us"),
        ({"key": "m", "steps": [1]}, "FIELD_INVALID", "points.series[1].steps"),
        ({"key": "m", "values": [1, 2], "times_us": [5, -1]}, "FIELD_INVALID", "points.series[1].times_us"),
        ({"key": "m", "values": [1], "times_us": [2**60]}, "FIELD_INVALID", "points.series[1].times_us"),
        ({"key": "", "values": [1]}, "NAME_INVALID", "points.series[1].key"),
        ({"key": "../m", "values": [1]}, "NAME_INVALID", "points.series[1].key"),
        ({"key": "m" * 251, "values": [1]}, "FIELD_TOO_LONG", "points.series[1].key"),
        ({"key": "m", "values": [0.0] * 100_001}, "TOO_MANY_ITEMS", "points.series[1].values"),
        ({"key": "m", "values": [0.0] * 100_000}, "TOO_MANY_ITEMS", "points.series"),
    ],
)
def test_a_bad_series_is_refused_whole_and_what_came_before_stays(
    tracking: Tracking, run: str, series: dict[str, Any], reason: str, field: str
) -> None:
    good = pb.MetricSeries(key="good", values=[1])
    messages = [header(run), one(1), message(2, good, pb.MetricSeries(**series)), one(3)]

    refused, facts = refusal(lambda: send(tracking, messages))

    assert (refused, facts["field"]) == (reason, field)
    assert send(tracking, [header(run)]) == [1]
    assert (steps(tracking, run), steps(tracking, run, "good")) == ([1], [])


def test_a_sequence_number_below_one_is_refused(tracking: Tracking, run: str) -> None:
    assert refusal(lambda: send(tracking, [header(run), one(0)]))[0] == "FIELD_INVALID"


def test_columns_that_are_left_out_are_step_0_and_now(tracking: Tracking, run: str) -> None:
    before = tracking.get(run).create_time.ToMicroseconds()
    send(tracking, [header(run), message(1, pb.MetricSeries(key="m", values=[1, 2, 3]))])

    got = tracking.stub.ListMetricPoints(pb.ListMetricPointsRequest(run=run, key="m")).points
    assert (list(got.values), list(got.steps)) == ([1, 2, 3], [0, 0, 0])
    assert min(got.times_us) >= before


def test_a_stream_into_a_run_that_is_not_there_or_has_ended_or_is_deleted_is_refused(tracking: Tracking) -> None:
    experiment = tracking.experiment().name
    ended = tracking.run(experiment, status=pb.RUN_STATUS_FINISHED).name
    deleted = tracking.run(experiment).name
    tracking.stub.DeleteRun(pb.DeleteRunRequest(name=deleted))

    for run, reason in ((UNKNOWN, "RESOURCE_NOT_FOUND"), (ended, "RUN_ENDED"), (deleted, "RUN_DELETED")):
        assert refusal(lambda run=run: send(tracking, [header(run), one(1)]))[0] == reason
    assert refusal(lambda: send(tracking, [header("runs/1"), one(1)]))[0] == "NAME_INVALID"


def test_a_run_that_ends_ends_its_streams_and_keeps_what_was_acknowledged(tracking: Tracking, run: str) -> None:
    client = Client(tracking, run)
    client.send(one(1))
    client.until(1)
    tracking.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=run, status=pb.RUN_STATUS_FINISHED)))
    client.send(one(2))

    assert client.answer() is None
    assert client.error is not None and errors.parse(client.error)[0] == "RUN_ENDED"
    assert steps(tracking, run) == [1]


def test_a_client_that_goes_away_frees_its_place(service: Running, tracking: Tracking, run: str) -> None:
    for number in range(5):
        client = Client(tracking, run, f"s{number}")
        client.send(one(1))
        client.until(1)
        client.call.cancel()

    for _ in range(WAIT * 10):
        if not service.server.busy() and not any(each.name == "stream-reader" for each in threading.enumerate()):
            break
        threading.Event().wait(0.1)
    assert not service.server.busy()
    assert not any(each.name == "stream-reader" for each in threading.enumerate())


def test_open_streams_and_watchers_leave_the_unary_calls_their_threads(tracking: Tracking, run: str) -> None:
    clients = [Client(tracking, run, f"s{number}") for number in range(40)]
    watches = [tracking.stub.WatchMetrics(pb.WatchMetricsRequest(run=run)) for _ in range(160)]
    for watch in watches:
        next(watch)

    for step in range(20):
        tracking.stub.LogBatch(
            pb.LogBatchRequest(run=run, metrics=[pb.Metric(key="unary", value=step, step=step)]), timeout=WAIT
        )
    assert steps(tracking, run, "unary") == list(range(20))

    for watch in watches:
        watch.cancel()
    for client in clients:
        client.close()


def part(sequence: int, points: int) -> Part:
    return Part(sequence, (Series("m", [0.0] * points, [0] * points, [0] * points),))


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(0, 40), max_size=60), room=st.integers(40, 200))
def test_everything_that_is_put_into_an_inbox_comes_out_once_in_order(sizes: list[int], room: int) -> None:
    inbox = Inbox(Room(room))
    parts = [part(number, size) for number, size in enumerate(sizes)]
    filling = threading.Thread(target=inbox.fill, args=[iter(parts)], daemon=True)
    filling.start()
    found: list[Part] = []
    while (taken := inbox.take()) is not None:
        found += taken
    inbox.close()
    filling.join(WAIT)

    assert found == parts


def test_a_stream_whose_writes_are_slow_stops_reading_and_others_still_get_room() -> None:
    each = part(1, 100)
    room, read = Room(10 * each.weight), itertools.count()
    slow, quick = Inbox(room), Inbox(room)

    def endless() -> Iterator[Part]:
        while True:
            next(read)
            yield each

    filling = [threading.Thread(target=inbox.fill, args=[endless()], daemon=True) for inbox in (slow, quick)]
    filling[0].start()
    while slow._room._left:  # it takes all the room there is, and then waits
        threading.Event().wait(0.01)
    threading.Event().wait(0.2)
    assert next(read) <= 12, "it reads one message more than has room"

    filling[1].start()
    for _ in range(5):
        assert quick.take(), "a stream that holds nothing gets room for a message"
    slow.close()
    quick.close()
    for thread in filling:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert room._left == 10 * each.weight


def test_a_message_of_many_short_series_takes_the_room_of_the_memory_that_it_takes() -> None:
    def weighed(count: int, points: int) -> tuple[int, float]:
        sent = message(1, *(pb.MetricSeries(key=f"layer/{n:05}", values=[0.5] * points) for n in range(count)))
        data = sent.SerializeToString()
        tracemalloc.start()
        made = columns.to_part(pb.LogMetricsRequest.FromString(data), 10**15)
        bytes_ = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return made.weight, bytes_

    for count, points in ((1000, 0), (1000, 1), (1000, 10), (1, 10_000)):
        weight, size = weighed(count, points)
        assert size < 150 * weight, f"{count} series of {points} points"


def test_what_ends_a_stream_is_raised_after_what_came_before_it() -> None:
    def broken() -> Iterator[Part]:
        yield part(1, 1)
        raise KeyError("x")

    inbox = Inbox(Room())
    inbox.fill(broken())

    assert [each.sequence for each in inbox.take() or []] == [1]
    with pytest.raises(KeyError):
        inbox.take()


def test_a_full_disk_refuses_a_message_whole_and_the_stream_goes_on_when_there_is_room(
    service: Running, tracking: Tracking, run: str
) -> None:
    def limit(pages: int) -> None:
        with service.app.database.write() as tx:  # type: ignore[union-attr]
            tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def big(sequence: int) -> pb.LogMetricsRequest:
        columns = [float(n) for n in range(5000)]
        return message(sequence, *(pb.MetricSeries(key=key, values=columns, steps=range(5000)) for key in "ab"))

    with service.app.database.read() as tx:  # type: ignore[union-attr]
        limit(tx.exec_driver_sql("PRAGMA page_count").scalar_one() + 500)

    assert refusal(lambda: send(tracking, [header(run), *map(big, range(1, 50))]))[0] == "STORAGE_FULL"
    (on_disk,) = send(tracking, [header(run)])
    assert 0 < on_disk < 49
    assert len(steps(tracking, run, "a")) == len(steps(tracking, run, "b")) == 5000 * on_disk

    limit(2**30)
    assert send(tracking, [header(run), *map(big, range(1, on_disk + 3))])[-1] == on_disk + 2
    assert len(steps(tracking, run, "a")) == 5000 * (on_disk + 2)
