"""How many runs, points and batches a second tracking takes, beside `mlflow server`: one client and eight.

Acknowledged means durable on our side (SQLite with synchronous=FULL). The histories are read back and compared.
Run: python -m benchmarks.tracking.writes [--database sqlite|postgresql] [--seconds 3] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import clients, rounds, servers
from benchmarks.tracking import sides

OPERATIONS = {"create_run": sides.creating, "log_metric": sides.logging, "log_batch": sides.batching}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", default=[sides.MLFLOW, sides.PLUGIN, sides.SDK])
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours, theirs = stack.enter_context(servers.databases(asked.database, folder))
        peer = stack.enter_context(servers.mlflow(theirs, folder))
        mine = stack.enter_context(servers.fivefold("tracking", folder / "tracking", "--store-url", ours))
        addresses = {sides.MLFLOW: peer.address, sides.PLUGIN: mine.address, sides.SDK: mine.address}
        addresses = {side: addresses[side] for side in asked.sides}
        experiments = {side: _experiment(side, address) for side, address in addresses.items()}
        result: dict[str, Any] = {"claim": "tracking writes", "database": asked.database, **servers.versions()}
        for operation, maker in OPERATIONS.items():
            for count in (1, 8):
                rounds.say(f"{operation}, {count} clients")
                result[f"{operation}_{count}"] = _measure(maker, count, addresses, experiments, asked)
        result["memory_mb"] = {"fivefold": round(mine.memory_mb()), "mlflow": round(peer.memory_mb())}
    rounds.report(result)


def _experiment(side: str, address: str) -> str:
    client = sides.client_of(side, address)
    if side == sides.SDK:
        return str(client.create_experiment("sdk").name)
    return f"experiments/{client.create_experiment(side)}"


def _measure(
    maker: clients.Maker, count: int, addresses: dict[str, str], experiments: dict[str, str], asked: argparse.Namespace
) -> dict[str, Any]:
    with ExitStack() as stack:
        crowds = {
            side: stack.enter_context(clients.crowd(count, maker, side, address, experiments[side]))
            for side, address in addresses.items()
        }
        found = rounds.rates(crowds, rounds=asked.rounds, seconds=asked.seconds)
        for side, workers in crowds.items():
            for run, done in workers.done():
                _check(maker, side, addresses[side], run, done)
    slow = found.get(sides.MLFLOW)
    ratios = {f"ratio_{side}": round(rate / slow, 1) for side, rate in found.items() if slow and side != sides.MLFLOW}
    return {"per_second": {side: round(rate, 1) for side, rate in found.items()}, **ratios}


def _check(maker: clients.Maker, side: str, address: str, run: str, done: int) -> None:
    """The last run is there, and has the points that were acknowledged."""
    client = sides.client_of(side, address)
    if side == sides.SDK:
        last = client.get_run(run).metrics
    else:
        last = client.get_run(run).data.metrics
    if maker is sides.logging and last != {"loss": 1.0 / done}:
        raise SystemExit(f"{side}: {run} has {last} after {done} points")
    if maker is sides.batching and last != {f"metric{number}": 99 / 7 for number in range(10)}:
        raise SystemExit(f"{side}: {run} has {last} after {done} batches")


if __name__ == "__main__":
    main()
