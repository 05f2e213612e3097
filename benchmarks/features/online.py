"""How near looking features up comes to what it cannot do without: an empty call to the same server, and the raw read.

Sides, in turns: `GetOnlineFeatures` through the SDK with the answer decoded to numpy; an empty call (health) to the
same server, on whose way nobody is identified and nothing is checked, logged or counted; a call of the service that has
nothing to do (ListFunctions without any); packed rows read straight from the store in one question. Answers are compared.
Run: python -m benchmarks.features.online [--store sqlite|redis] [--rounds 400]
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

import fivefold
from benchmarks import rounds, servers
from benchmarks.features import stores

FEATURES, TABLE_KEYS = 50, 10_000
SIZES = (1, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=400)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(stores.redis()) if asked.store == "redis" else ""
        options = ["--online-url", url] if url else []
        server = stack.enter_context(servers.fivefold("features", folder / "features", *options))
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        client = stack.enter_context(stores.connected(server.address))
        values = np.random.default_rng(5).normal(size=(TABLE_KEYS, FEATURES))
        _filled(client, values)
        raw = stores.reader(url, folder / "features")
        result: dict[str, Any] = {"claim": "features by key", "store": asked.store}
        for count in SIZES:
            result[f"{count}x{FEATURES}"] = _measure(client, channel, raw, values, count, asked.rounds)
        result["memory_mb"] = round(server.memory_mb())
    rounds.report(result)


def _filled(client: Any, values: np.ndarray) -> None:
    columns = {"k": pa.array([f"key{number}" for number in range(len(values))])}
    columns |= {f"f{number}": pa.array(values[:, number]) for number in range(FEATURES)}
    client.create_table("wide", {name: _type(column) for name, column in columns.items()}, keys=["k"])
    client.write("wide", pa.table(columns))
    client.publish("wide")
    client.create_spec("wide", [fivefold.Lookup("wide")])


def _type(column: pa.Array) -> str:
    return str(column.type)


def _measure(
    client: Any, channel: grpc.Channel, raw: stores.Reader, values: np.ndarray, count: int, turns: int
) -> dict[str, Any]:
    chance = random.Random(count)
    wanted: list[int] = []

    def look_up() -> Any:
        wanted[:] = chance.sample(range(TABLE_KEYS), count)
        return client.get("wide", {"k": [f"key{number}" for number in wanted]}).columns

    def read() -> Any:
        return raw([f"key{number}".encode() for number in chance.sample(range(TABLE_KEYS), count)])

    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    listing = channel.unary_unary("/fivefold.features.v1.FeatureService/ListFunctions")  # there are none
    sides: dict[str, Callable[[], Any]] = {
        "features": look_up,
        "empty": lambda: check(b""),
        "empty_rpc": lambda: listing(b""),
        "raw": read,
    }
    rounds.times(sides, rounds=20)
    found, answers = rounds.times(sides, rounds=turns)
    columns = answers["features"]
    if not all((columns[f"f{number}"] == values[wanted, number]).all() for number in range(FEATURES)):
        raise SystemExit("the answer is not what was written")
    ms = {name: round(rounds.p50(seconds) * 1000, 4) for name, seconds in found.items()}
    return {
        "p50_ms": ms,
        "p99_ms": {name: round(rounds.p99(seconds) * 1000, 4) for name, seconds in found.items()},
        "row_bytes": sum(map(len, answers["raw"])),
        "ratio_to_limit": round(ms["features"] / (ms["empty"] + ms["raw"]), 3),
        "ratio_to_empty_rpc": round(ms["features"] / (ms["empty_rpc"] + ms["raw"]), 3),
    }


if __name__ == "__main__":
    main()
