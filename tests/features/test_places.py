"""History in a folder and in a bucket: the same rows, the same upkeep, nothing left on the local disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from fivefold_features import training
from fivefold_features.upkeep import Upkeep
from fivefold_runtime.objects import Objects
from tests.buckets import bucket, objects_url, s3_environment, s3_server  # noqa: F401
from tests.features.calling import MOMENT, Client, Serve, at, lookup


def frame(*rows: tuple[int, float, int]) -> pa.Table:
    k, t, v = zip(*rows, strict=True)
    return pa.table({"k": k, "t": pa.array([at(hour) for hour in t], MOMENT), "v": v})


def objects_of(url: str) -> list[str]:
    return sorted(key.split("/")[0] for key, _ in Objects.open(url).list())


@pytest.mark.parametrize("steps", [1, 3])
def test_rows_are_written_read_joined_compacted_vacuumed_and_verified_there(
    start: Serve,
    tmp_path: Path,
    objects_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
) -> None:
    client: Client = start(objects_url=objects_url, vacuum_grace_seconds=0.0)
    upkeep = next(work for work in client.running.app.background if isinstance(work, Upkeep))
    monkeypatch.setattr(training, "bytes_of", lambda *_: steps << 30)
    client.create("x", {"k": "INT64", "t": "TIMESTAMP", "v": "INT64"}, ["k"], timestamp_key="t")
    client.spec("s", lookup("x"))
    client.write("x", frame((2, 1, 20), (1, 1, 10)))
    client.write("x", frame((1, 3, 11)))
    labels = pa.table({"k": [1, 2, 1, 3], "at": pa.array([at(4), at(1), at(2), at(9)], MOMENT)})
    made = client.train("s", labels, "at")
    assert client.rows(made)["v"].to_pylist() == [11, 20, 10, None]
    assert client.verify(made.name).verified
    client.write("x", frame((1, 3, 12)))
    assert client.compact("x").rows_after == 3
    assert client.vacuum("x", timedelta(0)).files == 1
    assert upkeep.delete() == 1
    assert client.read("x")["v"].to_pylist() == [10, 12, 20]
    assert client.read("x", 2, keys={"k": [1]})["v"].to_pylist() == [10, 11]
    assert client.profile("x", columns=["v"]).columns[0].mean == 14
    assert client.verify(made.name).verified
    assert objects_of(objects_url) == ["tables"] * 3 + ["training_sets"] * 2
    assert not list((tmp_path / "data" / "spool").iterdir())
