"""How many points a second one stream of points brings onto the disk, beside what one core writes to SQLite bare.

The limit is the same rows by executemany into a table of the same shape, synchronous=FULL, in the same batches.
Run: python -m benchmarks.tracking.stream [--points 1000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc

from benchmarks import rounds, servers
from benchmarks.tracking import sides
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

BLOCK = 5_000  # points of one message
KEYS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mine = stack.enter_context(servers.fivefold("tracking", folder / "tracking"))
        channel = stack.enter_context(grpc.insecure_channel(mine.address))
        client = sides.client_of(sides.SDK, mine.address)
        experiment = client.create_experiment("stream").name
        found, answers = rounds.times(
            {
                "stream": lambda: _streamed(channel, client.create_run(experiment).name, asked.points),
                "sqlite": lambda: _written(folder / f"{uuid.uuid4().hex}.db", asked.points),
            },
            rounds=asked.rounds,
        )
        memory = round(mine.memory_mb())
        steps, _ = client.history(answers["stream"], "metric0").to_numpy()
    if steps.tolist() != list(range(asked.points // KEYS)):
        raise SystemExit("points are missing")
    middle = {side: asked.points / rounds.p50(values) for side, values in found.items()}
    rounds.report(
        {
            "claim": "points a second through the stream",
            "points": asked.points,
            **servers.versions(),
            "per_second": {side: round(rate) for side, rate in middle.items()},
            "ratio_to_bare_sqlite": round(middle["stream"] / middle["sqlite"], 2),
            "memory_mb": memory,
        }
    )


def _streamed(channel: grpc.Channel, run: str, points: int) -> str:
    """Sends the points and waits until the last is acknowledged."""

    def requests() -> Iterator[pb.LogMetricsRequest]:
        yield pb.LogMetricsRequest(header=pb.LogMetricsRequest.Header(run=run, stream=uuid.uuid4().hex))
        for number, start in enumerate(range(0, points // KEYS, BLOCK // KEYS), 1):
            steps = range(start, start + BLOCK // KEYS)
            values = [step / 7 for step in steps]
            series = [pb.MetricSeries(key=f"metric{key}", values=values, steps=steps) for key in range(KEYS)]
            yield pb.LogMetricsRequest(points=pb.LogMetricsRequest.Points(sequence=number, series=series))

    last = 0
    for answer in TrackingServiceStub(channel).LogMetrics(requests()):
        last = answer.acknowledged
    if last != points // BLOCK:
        raise SystemExit(f"only {last} messages were acknowledged")
    return run


def _written(file: Path, points: int) -> None:
    """Writes the same rows with nothing between."""
    connection = sqlite3.connect(file)
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    connection.execute(
        "CREATE TABLE points (metric INTEGER, step INTEGER, time INTEGER, place INTEGER, value REAL,"
        " PRIMARY KEY (metric, step, time, place)) WITHOUT ROWID"
    )
    now = int(time.time() * 1e6)
    for start in range(0, points // KEYS, BLOCK // KEYS):
        steps = range(start, start + BLOCK // KEYS)
        rows = [(key, step, now, step + 1, step / 7) for key in range(KEYS) for step in steps]
        with connection:
            connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()


if __name__ == "__main__":
    main()
