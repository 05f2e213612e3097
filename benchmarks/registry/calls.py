"""How many versions, moves, look-ups and searches a second the registry answers, beside `mlflow server`'s registry.

Both hold 1,000 models of 20 versions. The answers of all sides are compared.
Run: python -m benchmarks.registry.calls [--database sqlite|postgresql] [--seconds 3] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import clients, rounds, servers
from benchmarks.registry import filled, sides

OPERATIONS = {
    "create_version": sides.creating,
    "transition": sides.moving,
    "get_latest": sides.latest,
    "search_models": sides.searching_models,
    "search_versions": sides.searching_versions,
}
READS = ("get_latest", "search_models", "search_versions")


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
        mine = stack.enter_context(servers.fivefold("registry", folder / "registry", "--store-url", ours))
        rounds.say(f"filling both registries with {filled.MODELS} models")
        filled.fill_peer(theirs)
        filled.fill(sides.client_of(sides.SDK, mine.address))
        addresses = {sides.MLFLOW: peer.address, sides.PLUGIN: mine.address, sides.SDK: mine.address}
        addresses = {side: addresses[side] for side in asked.sides}
        result: dict[str, Any] = {"claim": "registry calls", "database": asked.database, **servers.versions()}
        for operation, maker in OPERATIONS.items():
            if operation in READS:
                _compare(operation, maker, addresses)
            for count in (1, 8):
                rounds.say(f"{operation}, {count} clients")
                result[f"{operation}_{count}"] = _measure(maker, count, addresses, asked)
        result["memory_mb"] = {"fivefold": round(mine.memory_mb()), "mlflow": round(peer.memory_mb())}
    rounds.report(result)


def _compare(operation: str, maker: clients.Maker, addresses: dict[str, str]) -> None:
    """All sides give the same answers."""
    for number in (0, 1, 42):
        answers = [sorted(maker(side, address)(number)) for side, address in addresses.items()]
        if not answers[0] or any(answer != answers[0] for answer in answers):
            raise SystemExit(f"the answers of {operation} differ: {answers}")


def _measure(maker: clients.Maker, count: int, addresses: dict[str, str], asked: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        crowds = {
            side: stack.enter_context(clients.crowd(count, maker, side, address)) for side, address in addresses.items()
        }
        found = rounds.rates(crowds, rounds=asked.rounds, seconds=asked.seconds)
    slow = found.get(sides.MLFLOW)
    ratios = {f"ratio_{side}": round(rate / slow, 1) for side, rate in found.items() if slow and side != sides.MLFLOW}
    return {"per_second": {side: round(rate, 1) for side, rate in found.items()}, **ratios}


if __name__ == "__main__":
    main()
