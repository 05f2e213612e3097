"""Joins, compactions and reads of what does not fit: memory stays bounded, the answer is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.__main__ import Config, build
from fivefold_runtime.testing import serve
from tests.features.calling import Client, MOMENT, lookup

folder, memory_bytes, step = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WIDE, ROWS, WRITES = 8, 250_000, 10
names = [f"f{i}" for i in range(WIDE)]


def peak():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def parts(first, table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=16_384)
    yield first
    view = memoryview(sink.getvalue())
    kind = type(first)
    for start in range(0, len(view), 1 << 20):
        yield kind(arrow=bytes(view[start : start + (1 << 20)]))


def rows(seed):
    rng = np.random.default_rng(seed)
    times = pa.array(rng.integers(0, 10**15, ROWS), pa.int64()).cast(MOMENT)
    return pa.table({"k": rng.integers(0, 50_000, ROWS), "t": times, **{n: rng.random(ROWS) for n in names}})


with serve(build, Config(data=folder, memory_bytes=memory_bytes, compact_after=0)) as running:
    client = Client(running)
    if step == "fill":
        client.create("x", {"k": "INT64", "t": "TIMESTAMP", **{n: "DOUBLE" for n in names}}, ["k"], timestamp_key="t")
        for seed in range(WRITES):
            header = pb.WriteTableRequest.Header(table="tables/x", mode=pb.WRITE_MODE_MERGE)
            client.call("WriteTable", parts(pb.WriteTableRequest(header=header), rows(seed)))
        client.spec("s", lookup("x"))
        print(json.dumps({}))
        sys.exit()
    client.profile("x", 1, ["k"])  # what has to be loaded is loaded
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    if step == "train":
        rng = np.random.default_rng(99)
        count = 100_000
        times = pa.array(rng.integers(0, 10**15, count), pa.int64()).cast(MOMENT)
        labels = pa.table({"k": rng.integers(0, 60_000, count), "at": times})
        header = pb.CreateTrainingSetRequest.Header(training_set=pb.TrainingSet(spec="specs/s", timestamp_column="at"))
        made = client.call("CreateTrainingSet", parts(pb.CreateTrainingSetRequest(header=header), labels))
        answer = made.digest
    else:
        answer = client.compact("x").rows_after
    print(json.dumps({"answer": answer, "grown": peak() - before}))
"""
_ROOT = Path(__file__).parents[2]


def run(folder: Path, memory_bytes: int, step: str) -> dict[str, Any]:
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(memory_bytes), step]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_a_table_larger_than_the_memory_setting_is_joined_and_compacted_within_bounds(tmp_path: Path) -> None:
    """2.5 million rows of 80 bytes: 200 MB, which take several times that while they are put in order."""
    run(tmp_path, 1 << 30, "fill")
    large, small = run(tmp_path, 1 << 30, "train"), run(tmp_path, 32 << 20, "train")
    assert small["answer"] == large["answer"]
    assert large["grown"] > 450 << 20, "the whole table was in memory, or this test compares nothing"
    assert small["grown"] < 340 << 20
    bounded = run(tmp_path, 32 << 20, "compact")
    assert bounded["answer"] == 2_500_000 and bounded["grown"] < 340 << 20
