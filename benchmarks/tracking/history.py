"""Reading one metric's whole history, beside `mlflow server` with the same points, which are compared.

Run: python -m benchmarks.tracking.history [--database sqlite|postgresql] [--points 100000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import rounds, servers
from benchmarks.tracking import sides

KEY = "loss"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours, theirs = stack.enter_context(servers.databases(asked.database, folder))
        other = stack.enter_context(servers.mlflow(theirs, folder))
        mine = stack.enter_context(servers.fivefold("tracking", folder / "tracking", "--store-url", ours))
        rounds.say(f"logging {asked.points} points to both")
        first = _logged(sides.client_of(sides.MLFLOW, other.address), asked.points)
        second = _logged(sides.client_of(sides.PLUGIN, mine.address), asked.points)
        rounds.say("reading")
        found, answers = rounds.times(
            {
                sides.MLFLOW: _mlflow(sides.MLFLOW, other.address, first),
                sides.PLUGIN: _mlflow(sides.PLUGIN, mine.address, second),
                sides.SDK: _sdk(mine.address, second),
            },
            rounds=asked.rounds,
        )
        memory = {"fivefold": round(mine.memory_mb()), "mlflow": round(other.memory_mb())}
    points = {side: _points(side, answer) for side, answer in answers.items()}
    if not points[sides.MLFLOW] == points[sides.PLUGIN] == points[sides.SDK] or len(points[sides.SDK]) != asked.points:
        raise SystemExit("the answers differ")
    middle = {side: rounds.p50(values) for side, values in found.items()}
    rounds.report(
        {
            "claim": "reading a metric's history",
            "database": asked.database,
            "points": asked.points,
            **servers.versions(),
            "p50_seconds": {side: round(seconds, 3) for side, seconds in middle.items()},
            "ratio_plugin": round(middle[sides.MLFLOW] / middle[sides.PLUGIN], 1),
            "ratio_sdk": round(middle[sides.MLFLOW] / middle[sides.SDK], 1),
            "memory_mb": memory,
        }
    )


def _logged(client: Any, count: int) -> str:
    """Logs the points through an MlflowClient and returns the run."""
    from mlflow.entities import Metric

    run = str(client.create_run(client.create_experiment("history")).info.run_id)
    for start in range(0, count, sides.BATCH):
        steps = range(start, min(start + sides.BATCH, count))
        client.log_batch(run, [Metric(KEY, 1.0 / (step + 1), 1_760_000_000_000 + step, step) for step in steps])
    return run


def _mlflow(side: str, address: str, run: str) -> rounds.Work:
    client = sides.client_of(side, address)
    return lambda: client.get_metric_history(run, KEY)


def _sdk(address: str, run: str) -> rounds.Work:
    client = sides.client_of(sides.SDK, address)
    return lambda: client.history(run, KEY)


def _points(side: str, answer: Any) -> list[tuple[int, float]]:
    """The points as (step, value), by step."""
    if side == sides.SDK:
        return list(zip(*(column.tolist() for column in answer.to_numpy()), strict=True))
    return sorted((metric.step, metric.value) for metric in answer)


if __name__ == "__main__":
    main()
