"""Search over many runs, beside `mlflow server` on the same runs: filter by a metric and a param, order by a metric.

Both answer the same runs in the same order, which is checked. A page has 100 runs.
Run: python -m benchmarks.tracking.search [--database sqlite|postgresql] [--runs 50000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import rounds, servers
from benchmarks.tracking import filled, peer, sides
from fivefold_runtime.sql import Database
from fivefold_tracking.store.sql import MIGRATIONS

FILTER = "metrics.auc > 0.8 AND params.model = 'xgboost'"
ORDER = "metrics.auc DESC"
PAGE = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours, theirs = stack.enter_context(servers.databases(asked.database, folder))
        rounds.say(f"filling both databases with {asked.runs} runs")
        database = Database.open(ours, migrations=MIGRATIONS)
        number = filled.fill(database, asked.runs)
        database.close()
        other = stack.enter_context(servers.mlflow(theirs, folder))
        experiment = str(sides.client_of(sides.MLFLOW, other.address).create_experiment("filled"))
        peer.fill(theirs, experiment, asked.runs)
        mine = stack.enter_context(servers.fivefold("tracking", folder / "tracking", "--store-url", ours))
        searches = {
            sides.MLFLOW: _mlflow(sides.MLFLOW, other.address, experiment),
            sides.PLUGIN: _mlflow(sides.PLUGIN, mine.address, str(number)),
            sides.SDK: _sdk(mine.address, number),
        }
        rounds.say("searching")
        found, answers = rounds.times(searches, rounds=asked.rounds)
        memory = {"fivefold": round(mine.memory_mb()), "mlflow": round(other.memory_mb())}
    if not answers[sides.MLFLOW] == answers[sides.PLUGIN] == answers[sides.SDK] != []:
        raise SystemExit("the answers differ")
    middle = {side: rounds.p50(values) for side, values in found.items()}
    rounds.report(
        {
            "claim": "search by metric and param, ordered by metric",
            "database": asked.database,
            "runs": asked.runs,
            **servers.versions(),
            "p50_ms": {side: round(seconds * 1000, 1) for side, seconds in middle.items()},
            "ratio_plugin": round(middle[sides.MLFLOW] / middle[sides.PLUGIN], 1),
            "ratio_sdk": round(middle[sides.MLFLOW] / middle[sides.SDK], 1),
            "memory_mb": memory,
        }
    )


def _mlflow(side: str, address: str, experiment: str) -> rounds.Work:
    client = sides.client_of(side, address)

    def search() -> list[Any]:
        page = client.search_runs([experiment], FILTER, max_results=PAGE, order_by=[ORDER])
        return [(run.info.run_id, run.data.metrics["auc"]) for run in page]

    return search


def _sdk(address: str, number: int) -> rounds.Work:
    client = sides.client_of(sides.SDK, address)

    def search() -> list[Any]:
        page = client.search_runs([f"experiments/{number}"], filter=FILTER, order_by=ORDER, limit=PAGE)
        return [(run.name.removeprefix("runs/"), run.metrics["auc"]) for run in page]

    return search


if __name__ == "__main__":
    main()
