"""Searches, frames, files, comparisons, curves and watching, against a real service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest

import fivefold
from fivefold.sdk.client import Client
from tests.client.test_tracking_delivery import PATIENCE, Restartable, service, tracking  # noqa: F401


@pytest.fixture(scope="module")
def homes(addresses: dict[str, str]) -> tuple[str, str]:
    """Two experiments: seven runs with a param, a tag and a metric each, and one run."""
    from fivefold.sdk.transport import Access

    with Client(addresses, Access()) as client:
        for place in range(7):
            with client.tracking.run("searched", name=f"run {place}", params={"depth": place, "kind": "a"}) as run:
                run.log(metrics={"auc": place / 10, "loss": 1 - place / 10}, tags={"team": "xy"[place % 2]})
        with client.tracking.run("searched too", name="grüße 世界", params={"depth": 9}) as run:
            run.log(metrics={"auc": 0.95})
    return "searched", "searched too"


def test_a_search_filters_orders_limits_and_counts(client: Client, homes: tuple[str, str]) -> None:
    found = client.tracking.search(
        homes[0], "metrics.auc >= 0.2 AND NOT tags.team = 'y'", order_by="metrics.auc desc", limit=2
    )
    assert [run.display_name for run in found] == ["run 6", "run 4"]
    assert (len(found), found.total, found[1].params["depth"], found[-1].display_name) == (2, 3, "4", "run 4")
    assert len(client.tracking.search(list(homes))) == 8
    assert list(client.tracking.search(homes[0], "metrics.auc > 7")) == []


def test_pages_are_fetched_as_they_are_asked_for(
    client: Client, homes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivefold.sdk.tracking.runsearch._PAGE", 2)
    found = client.tracking.search(homes[0], order_by="params.depth")
    assert (len(found), len(found._runs)) == (7, 2)
    assert found[3].params["depth"] == "3"
    assert len(found._runs) == 4
    assert [run.params["depth"] for run in found] == list("0123456")
    assert [run.params["depth"] for run in found[5:]] == ["5", "6"]
    assert [run.params["depth"] for run in client.tracking.search(homes[0], order_by="params.depth", limit=3)] == list(
        "012"
    )


def test_a_mistake_in_a_filter_is_pointed_at(client: Client, homes: tuple[str, str]) -> None:
    with pytest.raises(fivefold.InvalidArgument) as caught:
        client.tracking.search(homes[0], "metrics.auc >> 3")
    assert caught.value.reason == "FILTER_INVALID"
    _, shown, caret = caught.value.message.splitlines()
    assert shown[caret.index("^")] == ">"


def test_a_search_becomes_frames_and_files_of_the_same_rows(
    client: Client, homes: tuple[str, str], tmp_path: Path
) -> None:
    found = client.tracking.search(list(homes), "metrics.auc > 0.25", order_by="metrics.auc desc", limit=4)
    frame = found.to_pandas()
    assert frame["metrics.auc"].tolist() == [0.95, 0.6, 0.5, 0.4]
    assert frame["params.depth"].tolist() == ["9", "6", "5", "4"]
    assert frame["params.kind"].isna().tolist() == [True, False, False, False]
    table = found.to_arrow()
    assert pyarrow.parquet.read_table(found.to_parquet(tmp_path / "runs.parquet")).equals(table)
    assert pyarrow.ipc.open_file(found.to_ipc(tmp_path / "runs.arrow")).read_all().equals(table)
    read = pyarrow.csv.read_csv(found.to_csv(tmp_path / "runs.csv"))
    assert read.column("metrics.auc").to_pylist() == [0.95, 0.6, 0.5, 0.4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.arrow", "runs.csv", "runs.parquet"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    client: Client, homes: tuple[str, str], tmp_path: Path
) -> None:
    found = client.tracking.search(homes[0])
    with pytest.raises(fivefold.InvalidArgument, match="is no folder"):
        found.to_csv(tmp_path / "missing" / "runs.csv")
    found._request.filter = "metrics.auc >"
    with pytest.raises(fivefold.InvalidArgument):
        found.to_parquet(tmp_path / "runs.parquet")
    assert list(tmp_path.iterdir()) == []


def test_nested_runs_export_as_they_are_searched(client: Client) -> None:
    with client.tracking.run("export nested") as outer:
        with outer.child("one") as one:
            pass
        with client.tracking.run("export nested", name="apart"):
            pass
    found = client.tracking.search("export nested", parent_run=outer.name)
    assert [run.name for run in found] == [one.name]
    assert len(found.to_pandas()) == 1


def test_a_search_prints_what_it_found(client: Client, homes: tuple[str, str]) -> None:
    shown = repr(client.tracking.search(homes[0], order_by="params.depth"))
    assert shown.splitlines()[0] == "7 runs"
    assert shown.splitlines()[1].split() == ["run", "name", "status", "started", "auc", "loss"]
    assert repr(client.tracking.search(homes[0], limit=1)).startswith("1 run of 7\n")
    assert repr(client.tracking.search(homes[0], "metrics.auc > 7")) == "no runs match"
    assert "<table>" in client.tracking.search(homes[0])._repr_html_()


def test_a_comparison_says_what_differs_first(client: Client, homes: tuple[str, str]) -> None:
    runs = [run.name for run in client.tracking.search(homes[0], order_by="params.depth", limit=3)]
    compared = client.tracking.compare(runs)
    assert all(row.differs for row in compared)
    frame = compared.to_pandas()
    assert list(frame.columns) == ["run 0", "run 1", "run 2"]
    assert frame.loc[("PARAM", "depth")].tolist() == [0, 1, 2]
    assert ("PARAM", "kind") not in frame.index
    assert compared.coordinates()["metrics.auc"] == [0.0, 0.1, 0.2]
    assert "tags.team" not in compared.coordinates()
    everything = client.tracking.compare(runs, show_equal=True)
    assert ("PARAM", "kind") in everything.to_pandas().index
    assert "auc" in repr(compared) and "<td>auc</td>" in compared._repr_html_()
    assert repr(client.tracking.compare(runs[:1])) == "1 runs that do not differ"


def test_runs_of_one_name_are_told_apart_in_a_comparison(client: Client) -> None:
    runs = [client.tracking.run("twins", name="twin", params={"x": x}) for x in (1, 2)]
    for run in runs:
        run.end()
    labels = client.tracking.compare([run.name for run in runs]).labels
    assert len(set(labels)) == 2
    assert all(label.startswith("twin (…") for label in labels)


@pytest.fixture
def curve(client: Client) -> str:
    """A run with 5,000 points of a metric, one of them a peak, and one NaN."""
    with client.tracking.run("curves") as run:
        for step in range(5000):
            run.log_metric("loss", 99.0 if step == 1234 else float("nan") if step == 17 else step / 5000, step)
        run.log(metrics={"auc": 0.5}, step=-3)
    return run.name


def test_a_history_is_whole_and_a_curve_keeps_its_peaks(
    client: Client, curve: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivefold.sdk.tracking.curves._PAGE", 700)
    whole = client.tracking.history(curve, "loss")
    steps, values = whole.to_numpy()
    assert steps.tolist() == list(range(5000))
    assert (values[1234], np.isnan(values[17]), whole.total) == (99.0, True, 5000)
    assert list(client.tracking.history(curve, "loss", min_step=10, max_step=12).steps) == [10, 11, 12]
    thin = client.tracking.curves([curve], ["loss", "auc", "nothing"], points=200)
    assert [(one.key, one.total) for one in thin] == [("loss", 5000), ("auc", 1)]
    assert len(thin[0]) <= 200
    assert 99.0 in thin[0].values
    assert "of 5000 points" in repr(thin[0])
    frame = thin.to_pandas()
    assert list(frame.columns) == ["run", "key", "step", "time", "value"]
    assert set(frame["run"]) == {curve}
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert frame["time"].min() > pd.Timestamp("2020-01-01", tz="UTC")
    assert client.tracking.metric_history(curve, "auc")[0].step == -3
    assert client.tracking.curves([curve], ["nothing"]).to_pandas().empty


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_watching_a_run_ends_with_it_and_misses_nothing(client: Client) -> None:
    with client.tracking.run("watched") as run:
        run.log_metric("loss", 0, 0)
        run.flush()
        seen: list[int] = []
        watcher = _in_background(lambda: seen.extend(point.step for point in client.tracking.watch(run.name, ["loss"])))
        for step in range(1, 500):
            run.log_metric("loss", step, step)
        run.log_metric("other", 1)
    watcher.join(PATIENCE)
    assert seen == list(range(500))
    assert [point.step for point in client.tracking.watch(run.name, ["loss"])] == list(range(500))
    assert [point.key for point in client.tracking.watch(run.name, ["other"])] == ["other"]
    assert list(client.tracking.watch(run.name, only_new=True)) == []


def test_watching_goes_on_after_the_service_was_killed(
    service: Restartable,  # noqa: F811
    tracking: fivefold.sdk.tracking.Tracking,  # noqa: F811
) -> None:
    with tracking.run("watched") as run:
        seen: list[int] = []
        begun = threading.Event()

        def watch() -> None:
            for point in tracking.watch(run.name):
                seen.append(point.step)
                begun.set()

        watcher = _in_background(watch)
        for step in range(100):
            run.log_metric("loss", step, step)
        assert begun.wait(PATIENCE)
        service.kill()
        for step in range(100, 200):
            run.log_metric("loss", step, step)
        service.start()
    watcher.join(PATIENCE)
    assert seen == list(range(200))
