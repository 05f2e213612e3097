"""kill -9 in the middle of streams: the client opens its streams again, and nothing is lost or repeated."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc

from fivefold.tracking.v1 import tracking_pb2 as pb
from tests.tracking.client import Tracking
from tests.tracking.test_process import START_SECONDS, running
from tests.tracking.test_streams import header, message, steps

STREAMS, ROUNDS = 3, 4


class Sender:
    """One stream that is opened again and again; it remembers what was acknowledged."""

    def __init__(self, run: str, stream: str) -> None:
        self.run, self.stream = run, stream
        self.acknowledged = 0
        self.enough = threading.Semaphore(0)

    def send(self, tracking: Tracking) -> None:
        """Sends until the server is gone."""
        began = threading.Event()

        def messages() -> Iterator[pb.LogMetricsRequest]:
            yield header(self.run, self.stream)
            began.wait(START_SECONDS)
            sequence = self.acknowledged
            while True:
                sequence += 1
                # Two metrics, so that a part of a message would show; each stream has steps of its own.
                keys = [f"{self.stream}/{key}" for key in "ab"]
                yield message(
                    sequence, *(pb.MetricSeries(key=key, values=[sequence] * 2, steps=[sequence] * 2) for key in keys)
                )

        try:
            for answer in tracking.stub.LogMetrics(messages()):
                assert answer.acknowledged >= self.acknowledged, "what was acknowledged is gone"
                self.acknowledged = answer.acknowledged
                began.set()
                self.enough.release()
        except grpc.RpcError:
            began.set()


def test_streams_go_on_after_a_kill_without_loss_or_repetition(tmp_path: Path) -> None:
    data, chance = tmp_path / "data", random.Random(11)
    senders: list[Sender] = []
    for _ in range(ROUNDS):
        with running(data) as process:
            if not senders:
                run = process.tracking.run(process.tracking.experiment().name).name
                senders = [Sender(run, f"s{number}") for number in range(STREAMS)]
            threads = [threading.Thread(target=sender.send, args=[process.tracking], daemon=True) for sender in senders]
            for thread in threads:
                thread.start()
            for _ in range(chance.randrange(5, 40)):
                assert senders[0].enough.acquire(timeout=START_SECONDS)
            process.end(signal.SIGKILL)
            for thread in threads:
                thread.join(START_SECONDS)

    assert sqlite3.connect(data / "store.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with running(data) as process:
        for sender in senders:
            on_disk = next(process.tracking.stub.LogMetrics(iter([header(sender.run, sender.stream)]))).acknowledged
            assert on_disk >= sender.acknowledged > 0
            expected = [step for step in range(1, on_disk + 1) for _ in range(2)]
            for key in "ab":
                assert steps(process.tracking, sender.run, f"{sender.stream}/{key}") == expected
