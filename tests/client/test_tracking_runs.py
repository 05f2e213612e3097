"""Runs at work: where they come from, how they nest, what they use, what the machine does meanwhile."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fivefold
from fivefold.sdk import extras
from fivefold.sdk.client import Client
from fivefold.sdk.tracking.provenance import without_credentials

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0], "who": ["a", "b", None]})


def test_runs_nest_by_child_by_nested_and_by_parent(client: Client) -> None:
    with client.tracking.run("nesting") as outer:
        first = outer.child("first")
        first.end()
        with client.tracking.run("nesting", nested=True) as second, client.tracking.run("x", nested=True) as deepest:
            pass
        with client.tracking.run("nesting", parent=outer.name) as third:
            pass
        with client.tracking.run("nesting") as apart:
            pass
    parents = [client.tracking.get_run(run.name).parent_run for run in (first, second, third, deepest, apart)]
    assert parents == [outer.name, outer.name, outer.name, second.name, ""]
    with pytest.raises(fivefold.InvalidArgument, match="outside of the block"):
        client.tracking.run("nesting", nested=True)


def test_a_run_may_start_with_its_params_and_in_an_experiment_by_name(client: Client) -> None:
    home = client.tracking.experiments.create("named").name
    with client.run(home, params={"depth": 6}, tags={"team": "a"}) as run:
        pass
    kept = client.tracking.get_run(run.name)
    assert (kept.experiment, kept.params, kept.tags["team"]) == (home, {"depth": "6"}, "a")


def test_ending_twice_changes_nothing(client: Client) -> None:
    run = client.tracking.run("twice")
    run.log_metric("loss", 1.0)
    run.end("KILLED")
    run.end()
    assert client.tracking.get_run(run.name).status == "KILLED"


SCRIPT = "import fivefold\nwith fivefold.connect().tracking.run('provenance') as run:\n    print(run.name)\n"


def test_source_commit_repository_and_user_are_recorded_and_no_credential(
    client: Client, addresses: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    for command in (
        ["init", "-q"],
        ["add", "train.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
        ["remote", "add", "origin", "https://someone:s3cret@host.example/team/repo.git?token=abc"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    commit = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    environment = os.environ | {"FIVEFOLD_URL_TRACKING": addresses["tracking"]}
    command = [sys.executable, str(script), "--password", "hunter2"]
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    run = client.tracking.get_run(outcome.stdout.strip())
    assert (run.source.type, run.source.name, run.source.entry_point) == ("LOCAL", str(script), "train.py")
    assert (run.source.git_commit, run.source.git_repo) == (commit.strip(), "https://host.example/team/repo.git")
    assert run.user == getpass.getuser()
    assert "hunter2" not in str(run) and "s3cret" not in str(run)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host/a.git", "https://host/a.git"),
        ("https://token@host:8443/a.git", "https://host:8443/a.git"),
        ("https://user:p%40ss@host/a@b.git", "https://host/a@b.git"),
        ("ssh://git@host:22/a.git", "ssh://host:22/a.git"),
        ("git@host:team/a.git", "host:team/a.git"),
        ("user:secret@host:team/a.git", "host:team/a.git"),
        ("HTTPS://u:p@host", "HTTPS://host"),
        ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        ("https://host/a.git#access_token=x", "https://host/a.git"),
    ],
)
def test_a_repository_s_url_loses_its_credentials_and_nothing_else(url: str, kept: str) -> None:
    assert without_credentials(url) == kept


@pytest.mark.parametrize(
    "data",
    [FRAME, pl.from_pandas(FRAME), pa.Table.from_pandas(FRAME), FRAME.to_dict("list"), np.ones((3, 2))],
    ids=["pandas", "polars", "arrow", "dict", "numpy"],
)
def test_a_frame_is_recorded_with_its_digest_columns_and_size(client: Client, data: object) -> None:
    with client.tracking.run("datasets") as run:
        digest = run.log_dataset(data, name="people", context="training", source="s3://bucket/people.parquet")
    (used,) = client.tracking.get_run(run.name).inputs
    assert (used.dataset, used.digest, used.source) == ("people", digest, "s3://bucket/people.parquet")
    assert len(digest) == 64
    assert used.tags == {"mlflow.data.context": "training"}
    assert json.loads(used.profile) == {"num_rows": 3, "num_elements": 6}
    assert len(json.loads(used.schema)["columns"]) == 2


def test_the_digest_of_a_frame_is_that_of_its_rows_however_it_is_cut_up(client: Client) -> None:
    whole = pa.table({"x": list(range(200_000)), "y": ["a", None] * 100_000})
    cut = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 150_000), whole.slice(150_007)])
    other = pa.concat_tables([whole.slice(1), whole.slice(0, 1)])
    with client.tracking.run("datasets") as run:
        digests = [run.log_dataset(table, name=name) for name, table in (("a", whole), ("b", cut), ("c", other))]
    assert digests[0] == digests[1] != digests[2]


def test_a_dataset_may_be_named_with_a_digest_and_not_without(client: Client) -> None:
    with client.tracking.run("datasets") as run:
        run.log_dataset("wines", digest="abc", source_type="s3", tags={"part": 1})
        with pytest.raises(fivefold.InvalidArgument, match="without a digest"):
            run.log_dataset("wines")
        with pytest.raises(fivefold.InvalidArgument, match="it must be a frame"):
            run.log_dataset(7)
    (used,) = client.tracking.get_run(run.name).inputs
    assert (used.dataset, used.digest, used.source_type, used.tags) == ("wines", "abc", "s3", {"part": "1"})


def test_what_the_machine_does_is_measured_while_the_run_is_at_work(client: Client) -> None:
    with client.tracking.run("system", system_metrics=0.05) as run:
        sampled = client.tracking.watch(run.name, forever=True)
        for point in sampled:
            if point.step == 3:
                break
    keys = client.tracking.get_run(run.name).metrics
    assert len(keys) == 9 and all(key.startswith("system/") for key in keys)
    assert 0 < keys["system/system_memory_usage_percentage"] < 100
    assert keys["system/process_memory_megabytes"] > 1


def test_system_metrics_without_psutil_say_what_to_install_and_start_no_run(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str) -> None:
        raise ImportError(module)

    home = client.tracking.experiments.create("no psutil").name
    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(fivefold.MissingExtra, match=r"needs psutil.*\n.*fivefold\[system\]"):
        client.tracking.run(home, system_metrics=True)
    monkeypatch.undo()
    assert len(client.tracking.search(home)) == 0


def test_an_experiment_is_renamed_tagged_deleted_brought_back_and_purged(client: Client) -> None:
    experiments = client.tracking.experiments
    made = experiments.create("life", tags={"team": "a", "old": "x"})
    with client.tracking.run("life") as run:
        run.log_metric("loss", 1.0)
    assert experiments.rename("life", "life two").display_name == "life two"
    assert experiments.set_tags(made.name, {"team": "b", "old": None, "new": "y"}).tags == {"team": "b", "new": "y"}
    assert experiments.find("life two") == experiments.find(made.name) == experiments.find(made.name.split("/")[1])
    with pytest.raises(fivefold.FailedPrecondition) as caught:
        experiments.purge(made.name)
    assert caught.value.reason == "NOT_DELETED"
    assert experiments.delete("life two").delete_time is not None
    with pytest.raises(fivefold.NotFound):
        experiments.find("life two")
    assert experiments.restore(made.name).delete_time is None
    assert client.tracking.get_run(run.name).delete_time is None
    experiments.delete(made.name)
    experiments.purge(made.name)
    with pytest.raises(fivefold.NotFound):
        experiments.get(made.name)


def test_experiments_are_found_by_filter_and_order(client: Client) -> None:
    experiments = client.tracking.experiments
    for name, team in (("find b", "x"), ("find a", "x"), ("find c", "y")):
        experiments.create(name, tags={"team": team})
    found = experiments.search("name LIKE 'find%' AND tags.team = 'x'", order_by="name")
    assert [one.display_name for one in found] == ["find a", "find b"]
    gone = experiments.delete("find c")
    assert gone.name in [one.name for one in experiments.search(view="deleted")]
    assert gone.name not in [one.name for one in experiments.search()]


def test_runs_are_renamed_deleted_brought_back_and_purged(client: Client) -> None:
    home = client.tracking.experiments.create("many").name
    names = [client.tracking.create_run(home, name=f"r{place}").name for place in range(4)]
    assert client.tracking.update_run(names[0], name="better", tags={"a": "1"}).display_name == "better"
    assert "a" not in client.tracking.update_run(names[0], tags={"a": None}).tags
    client.tracking.delete_run(names[0])
    with pytest.raises(fivefold.FailedPrecondition) as caught:
        client.tracking.delete_run(names[0])
    assert caught.value.reason == "RUN_DELETED"
    assert client.tracking.restore_run(names[0]).delete_time is None
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert client.tracking.delete_runs("many", datetime.now(UTC), limit=3) == 3
    assert client.tracking.restore_runs("many", before, limit=1) == 1
    assert client.tracking.purge_runs("many", names=[names[1]]) == (1, 0)
    assert client.tracking.purge_runs("many") == (1, 0)
    assert len(client.tracking.search(home, view="all")) == 2


def test_a_logged_model_is_made_filled_finalised_found_and_deleted(client: Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w")
    with client.tracking.run("models") as run:
        made = client.tracking.models.create(
            run.experiment, name="forest", model_type="Classifier", source_run=run.name, params={"trees": 10}
        )
        assert made.status == "PENDING"
        client.tracking.artifacts.put(made.name, tmp_path / "weights", "weights")
        assert client.tracking.models.finalize(made.name).status == "READY"
        client.tracking.log_outputs(run.name, [made.name], step=3)
        client.tracking.log_inputs(run.name, models=[made.name])
    changed = client.tracking.models.update(made.name, params={"depth": 3}, tags={"team": "a"})
    assert (changed.params, changed.tags) == ({"trees": "10", "depth": "3"}, {"team": "a"})
    kept = client.tracking.get_run(run.name)
    assert [(one.logged_model, one.step) for one in kept.outputs] == [(made.name, 3)]
    assert kept.model_inputs == (made.name,)
    back = client.tracking.artifacts.get(made.name, "", tmp_path / "back")
    assert (back / "weights").read_bytes() == b"w"
    found = client.tracking.models.search(run.experiment, filter="params.trees = '10'")
    assert [one.name for one in found] == [made.name]
    client.tracking.models.delete(made.name)
    assert client.tracking.models.search(run.experiment) == []
