"""How many rows a second come online: a first snapshot, the same again, and one write more, snapshot and incremental.

Each row is of a key of its own, with ten features; what is online afterwards is compared with what was written.
Run: python -m benchmarks.features.publishing [--store sqlite|redis] [--rows 500000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fivefold
from benchmarks import rounds, servers
from benchmarks.features import stores

FEATURES = 10
START = datetime(2024, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--rows", type=int, default=500_000)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(stores.redis()) if asked.store == "redis" else ""
        options = ["--online-url", url] if url else []
        server = stack.enter_context(servers.fivefold("features", folder / "features", *options))
        client = stack.enter_context(stores.connected(server.address))
        client.create_table("wide", _frame(1, 0), keys=["k"], timestamp_key="t")
        client.create_spec("wide", [fivefold.Lookup("wide")])
        result: dict[str, Any] = {"claim": "rows online a second", "store": asked.store, "rows": asked.rows}
        client.write("wide", _frame(asked.rows, 0))
        result["snapshot"] = _published(client, asked.rows, "snapshot")
        result["snapshot_again"] = _published(client, asked.rows, "snapshot")
        client.write("wide", _frame(asked.rows, 1))
        result["newer_snapshot"] = _published(client, asked.rows, "snapshot")
        client.write("wide", _frame(asked.rows, 2))
        result["newer_incremental"] = _published(client, asked.rows, "incremental")
        _check(client, asked.rows, 2)
        result["memory_mb"] = round(server.memory_mb())
    rounds.report(result)


def _frame(rows: int, day: int) -> pa.Table:
    values = np.random.default_rng(day).normal(size=(FEATURES, rows))
    columns = {
        "k": pa.array([f"key{number}" for number in range(rows)]),
        "t": pa.array([START + timedelta(days=day)] * rows, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns | {f"f{number}": pa.array(line) for number, line in enumerate(values)})


def _published(client: Any, rows: int, mode: str) -> dict[str, float]:
    began = time.perf_counter()
    done = client.publish("wide", mode=mode)
    seconds = time.perf_counter() - began
    if done.keys_total != rows:
        raise SystemExit(f"{done.keys_total} keys are online, not {rows}")
    rounds.say(f"  {mode}: {rows / seconds:,.0f} rows/s")
    return {"seconds": round(seconds, 3), "rows_per_second": round(rows / seconds)}


def _check(client: Any, rows: int, day: int) -> None:
    wanted = list(range(0, rows, max(1, rows // 5000)))
    found = client.get("wide", {"k": [f"key{number}" for number in wanted]}).columns
    for number, line in enumerate(np.random.default_rng(day).normal(size=(FEATURES, rows))):
        if not (found[f"f{number}"] == line[wanted]).all():
            raise SystemExit("what is online is not what was written")


if __name__ == "__main__":
    main()
