"""Files up and down: resumed, verified, not sent twice, with progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fivefold
from fivefold.sdk.client import Client
from fivefold.sdk.tracking import Tracking, artifacts
from tests.client.test_tracking_delivery import Restartable, service, tracking  # noqa: F401

BIG = np.random.default_rng(3).bytes(12_000_000)


@pytest.fixture
def run(client: Client) -> str:
    return client.tracking.create_run(client.tracking.experiments.create("artifacts").name).name


def kill_halfway(process: Restartable, client: Tracking, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kills the service when it has kept some of the first upload; returns the offsets at which uploads began."""
    offsets: list[int] = []
    whole = artifacts._upload

    def killing(parent: str, file: Any, offset: int, progress: Any) -> Iterator[Any]:
        offsets.append(offset)
        moved = 0
        for part in whole(parent, file, offset, progress):
            moved += len(part.data)
            if len(offsets) == 1 and moved > 6_000_000:
                while not client.artifacts._received(parent, file):
                    time.sleep(0.01)
                process.kill()
                offsets.append(-1)
            yield part

    monkeypatch.setattr(artifacts, "_upload", killing)
    return offsets


def test_an_upload_goes_on_where_it_stopped_when_the_service_was_killed(
    service: Restartable,  # noqa: F811
    tracking: Tracking,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tracking.create_run(tracking.experiments.create("x").name).name
    (tmp_path / "big").write_bytes(BIG)
    offsets = kill_halfway(service, tracking, monkeypatch)
    monkeypatch.setattr(artifacts, "_ATTEMPTS", 1)
    with pytest.raises(fivefold.Unavailable):
        tracking.artifacts.put(run, tmp_path / "big")
    service.start()
    monkeypatch.setattr(artifacts, "_ATTEMPTS", 5)
    (stored,) = tracking.artifacts.put(run, tmp_path / "big")
    assert (stored.path, stored.size_bytes) == ("big", len(BIG))
    assert offsets[:2] == [0, -1] and min(offsets[2:]) >= 4 * 1024 * 1024
    assert tracking.artifacts.get(run, "big", tmp_path / "back").read_bytes() == BIG


def test_progress_is_told_in_bytes_up_and_down(client: Client, run: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG[:3_000_000])
    told: list[tuple[str, int, int]] = []
    client.tracking.artifacts.put(run, tmp_path / "file", "a/file", progress=lambda *said: told.append(said))
    assert told[-1] == ("a/file", 3_000_000, 3_000_000)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    told.clear()
    client.tracking.artifacts.get(run, "a/file", tmp_path / "back", progress=lambda *said: told.append(said))
    assert told[0] == ("a/file", 0, 3_000_000) and told[-1] == ("a/file", 3_000_000, 3_000_000)


def test_files_of_a_folder_that_are_there_are_not_fetched_again_and_altered_ones_are(
    client: Client, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("same", "altered", "missing"):
        (source / name).write_text(name)
    client.tracking.artifacts.put(run, source, "folder")
    target = client.tracking.artifacts.get(run, "folder", tmp_path / "target")
    (target / "altered").write_text("ALTERED")
    (target / "missing").unlink()
    fetched: list[str] = []
    client.tracking.artifacts.get(run, "folder", target, progress=lambda path, *_: fetched.append(path))
    assert set(fetched) == {"folder/altered", "folder/missing"}
    assert (target / "altered").read_text() == "altered"


def test_a_file_or_folder_is_deleted(client: Client, run: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    client.tracking.artifacts.put(run, tmp_path / "file", "a/b/file")
    client.tracking.artifacts.delete(run, "a")
    assert client.tracking.artifacts.list(run, recursive=True) == []
    with pytest.raises(fivefold.NotFound):
        client.tracking.artifacts.delete(run, "a")
