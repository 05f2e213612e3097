"""The SDK against real tracking, features and registry services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.sdk import files
from fivefold.sdk.client import Client

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_run_keeps_what_its_block_logged_and_ends_finished(client: Client) -> None:
    with client.tracking.run("sdk runs", name="baseline", tags={"team": "a"}) as run:
        run.log(metrics={"auc": 0.7}, step=1)
        run.log(metrics={"auc": 0.8, "loss": 0.3}, params={"depth": 6}, step=2)
    kept = client.tracking.get_run(run.name)
    assert (kept.status, kept.display_name, kept.params) == ("FINISHED", "baseline", {"depth": "6"})
    assert kept.metrics == {"auc": 0.8, "loss": 0.3}
    assert kept.tags["team"] == "a"
    assert kept.end_time is not None and kept.end_time.tzinfo is UTC
    assert [point.value for point in client.tracking.metric_history(run.name, "auc")] == [0.7, 0.8]


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_whose_block_raises_says_how_it_ended(client: Client, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), client.tracking.run("sdk runs") as run:
        raise error
    assert client.tracking.get_run(run.name).status == status


def test_more_values_than_one_batch_takes_are_all_logged(client: Client) -> None:
    with client.tracking.run("sdk runs") as run:
        run.log(metrics={f"m{n}": n for n in range(1500)}, params={f"p{n}": n for n in range(250)})
    kept = client.tracking.get_run(run.name)
    assert (len(kept.metrics), len(kept.params)) == (1500, 250)


def test_a_metric_that_is_no_number_is_refused_by_name(client: Client) -> None:
    with (
        client.tracking.run("sdk runs") as run,
        pytest.raises(fivefold.InvalidArgument, match="metric 'auc' is 'high'"),
    ):
        run.log(metrics={"auc": "high"})  # type: ignore[dict-item]


def test_runs_are_listed_over_pages_in_the_order_asked_for(client: Client) -> None:
    home = client.tracking.create_experiment("sdk pages").name
    for value in (3, 1, 2):
        client.tracking.log(client.tracking.create_run(home).name, metrics={"loss": value})
    found = client.tracking.search_runs(home, order_by="metrics.loss asc")
    assert [run.metrics["loss"] for run in found] == [1, 2, 3]
    assert len(client.tracking.search_runs(home, limit=2)) == 2
    assert found.to_pandas()["status"].tolist() == ["RUNNING"] * 3
    assert "<table>" in found._repr_html_()


def test_a_folder_of_artifacts_comes_back_as_it_was(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "MLmodel").write_bytes(b"")
    (tmp_path / "model" / "deep" / "weights").write_bytes(np.random.default_rng(1).bytes(3_000_000))
    with client.tracking.run("sdk artifacts") as run:
        stored = run.upload(tmp_path / "model", "model")
        run.upload(tmp_path / "model" / "MLmodel")
    assert [artifact.path for artifact in stored] == ["model/MLmodel", "model/deep/weights"]
    assert [artifact.path for artifact in client.tracking.list_artifacts(run.name)] == ["MLmodel", "model"]
    client.tracking.download(run.name, "model", tmp_path / "back")
    for name in ("MLmodel", "deep/weights"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    one = client.tracking.download(run.name, "model/deep/weights", tmp_path / "one")
    assert one.stat().st_size == 3_000_000
    with pytest.raises(fivefold.NotFound):
        client.tracking.download(run.name, "nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(client: Client, tmp_path: Path) -> None:
    content = np.random.default_rng(2).bytes(3_000_000)
    (tmp_path / "file").write_bytes(content)
    with client.tracking.run("sdk artifacts") as run:
        run.upload(tmp_path / "file")
    asked = []

    def breaking(offset: int) -> Iterator[object]:
        asked.append(offset)
        for place, part in enumerate(client.tracking.artifacts._fetch(run.name, "file", offset)):
            yield part
            if len(asked) == 1 and place == 1:
                raise fivefold.Unavailable("the line is cut")

    assert files.save(tmp_path / "back", breaking).read_bytes() == content
    assert asked[0] == 0 and 0 < asked[1] < len(content)


def test_bytes_that_are_not_those_described_are_never_kept(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what it is")
    with client.tracking.run("sdk artifacts") as run:
        (described,) = run.upload(tmp_path / "file")
    with pytest.raises(fivefold.Internal, match="not those"):
        files.save(tmp_path / "back", lambda _: iter([described, b"what it isn't"]))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "a\\..\\b", ""])
def test_a_path_that_leads_out_of_the_folder_is_never_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(fivefold.Internal):
        files.inside(tmp_path, path)


WEATHER = pd.DataFrame(
    {
        "origin": ["JFK", "JFK", "LGA"],
        "observed": pd.to_datetime([NOON, NOON + timedelta(hours=1), NOON], utc=True),
        "temp": [1.0, 2.0, 3.0],
        "wind": [10, 20, 30],
    }
)


@pytest.fixture
def weather(client: Client) -> str:
    name = "sdk_weather"
    client.features.create_table(name, WEATHER, keys=["origin"], timestamp_key="observed", allow_existing=True)
    client.features.write(name, WEATHER, mode="overwrite")
    client.features.create_spec(
        name, [fivefold.Lookup(name, keys={"origin": "from"}, look_back=timedelta(hours=3), defaults={"wind": -1})]
    )
    return name


def test_a_table_made_from_a_frame_has_its_columns_and_gives_its_rows_back(client: Client, weather: str) -> None:
    table = client.features.get_table(weather)
    assert [(column.name, column.type) for column in table.columns] == [
        ("origin", "STRING"),
        ("observed", "TIMESTAMP"),
        ("temp", "DOUBLE"),
        ("wind", "INT64"),
    ]
    assert client.features.read(weather).to_pydict() == {
        name: WEATHER[name].tolist() for name in ("origin", "observed", "temp", "wind")
    }
    assert client.features.read(weather, columns=["wind"]).column_names == ["wind"]
    assert client.features.table_versions(weather)[0].rows_total == 3


def test_a_table_of_other_columns_is_not_taken_for_the_one_that_exists(client: Client, weather: str) -> None:
    with pytest.raises(fivefold.AlreadyExists):
        client.features.create_table(weather, {"origin": "string", "x": "double"}, keys=["origin"], allow_existing=True)


def test_a_type_that_does_not_exist_is_answered_with_those_that_do(client: Client) -> None:
    with pytest.raises(fivefold.InvalidArgument, match="BOOL, INT32"):
        client.features.create_table("sdk_typo", {"a": "number"}, keys=["a"])


def test_rows_that_break_the_schema_say_so_and_nothing_is_written(client: Client, weather: str) -> None:
    before = client.features.get_table(weather).current_version
    with pytest.raises(fivefold.InvalidArgument) as caught:
        client.features.write(weather, WEATHER.assign(origin=[None, "JFK", "LGA"]))
    assert caught.value.reason == "KEY_NULL"
    assert client.features.get_table(weather).current_version == before


def test_a_training_set_joins_each_label_to_what_was_known_then(client: Client, weather: str) -> None:
    labels = pd.DataFrame(
        {
            "from": ["LGA", "JFK", "JFK", "EWR"],
            "at": pd.to_datetime([NOON, NOON + timedelta(minutes=90), NOON + timedelta(hours=9), NOON], utc=True),
            "late": [True, False, True, False],
        }
    )
    made = client.features.training_set(
        weather, labels, timestamp_column="at", label_columns=["late"], exclude=["from"]
    )
    assert (made.rows, made.labels, len(made.digest)) == (4, ("late",), 64)
    assert made.table_versions[0].startswith(f"tables/{weather}/versions/")
    frame = client.features.get_training_set(made.name).to_pandas()
    assert frame["late"].tolist() == [True, False, True, False]
    assert frame["wind"].tolist() == [30, 20, -1, -1]
    assert "from" not in frame


def test_features_come_by_key_with_statuses(client: Client, weather: str) -> None:
    client.features.publish(weather, reset=True)
    found = client.features.get(weather, {"from": ["JFK", "EWR"]}, as_of=NOON + timedelta(hours=2), with_statuses=True)
    assert found.to_dicts() == [{"temp": 2.0, "wind": 20}, {"temp": None, "wind": -1}]
    assert found.statuses == {"temp": ["PRESENT", "NOT_FOUND"], "wind": ["PRESENT", "DEFAULTED"]}
    single = client.features.get(weather, {"from": "JFK"}, as_of=NOON + timedelta(hours=9))
    assert single.to_pandas()["temp"].isna().tolist() == [True]


def test_a_missing_key_is_named(client: Client, weather: str) -> None:
    with pytest.raises(fivefold.InvalidArgument) as caught:
        client.features.get(weather, {"origin": ["JFK"]})
    assert caught.value.reason in ("LOOKUP_KEY_MISSING", "FIELD_INVALID")


@pytest.fixture
def version(client: Client, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A version of a new model."""
    (tmp_path / "model.txt").write_text("a model")
    with client.tracking.run("sdk models") as run:
        run.upload(tmp_path / "model.txt", "model/model.txt")
    name = request.node.name.replace("_", "-")[:60]
    client.registry.create_model(name)
    made = client.registry.create_version(name, f"{run.name}/artifacts/model")
    assert (made.version, made.status, made.stage, made.lineage.run) == (1, "READY", "None", run.name)
    return made.name


def test_a_version_moves_by_request_and_its_history_tells(client: Client, version: str, tmp_path: Path) -> None:
    assert client.registry.transition(version, "staging").model_version.stage == "Staging"
    asked = client.registry.request_transition(version, "Production", comment="ready")
    assert (asked.state, asked.stage) == ("OPEN", "Production")
    approved = client.registry.approve(version, archive_existing=True)
    assert (approved.model_version.stage, approved.transition_request.state) == ("Production", "APPROVED")
    client.registry.comment(version, "well done")
    kinds = [activity.type for activity in client.registry.activities(version)]
    assert kinds == ["APPLIED_TRANSITION", "REQUESTED_TRANSITION", "APPROVED_REQUEST", "NEW_COMMENT"]
    model = client.registry.get_model(version.split("/")[1])
    assert [latest.stage for latest in model.latest_versions] == ["Production"]
    folder = client.registry.download(version, tmp_path / "files")
    assert (folder / "model.txt").read_text() == "a model"
    with pytest.raises(fivefold.FailedPrecondition, match="no open requests"):
        client.registry.approve(version)


def test_a_stage_that_does_not_exist_is_answered_with_those_that_do(client: Client) -> None:
    with pytest.raises(fivefold.InvalidArgument, match="None, Staging, Production, Archived"):
        client.registry.transition("churn/1", "Prod")


def test_watching_goes_on_from_any_position(client: Client, version: str) -> None:
    client.registry.transition(version, "Staging")
    model = version.rpartition("/versions/")[0]
    events = client.registry.watch(models=[model])
    first = [next(events) for _ in range(3)]
    events.close()  # type: ignore[attr-defined]
    assert [event.type for event in first] == [
        "REGISTERED_MODEL_CREATED",
        "MODEL_VERSION_CREATED",
        "MODEL_VERSION_TRANSITIONED_STAGE",
    ]
    again = client.registry.watch(first[1].position, models=[model])
    assert next(again) == first[2]
    again.close()  # type: ignore[attr-defined]


def test_records_print_what_is_set_and_nothing_else(client: Client) -> None:
    made = client.registry.create_model("sdk-print", description="a <b>model</b>", allow_existing=True)
    assert repr(made).startswith("Model(name='models/sdk-print', description='a <b>model</b>'")
    assert "etag" not in repr(made)
    assert "&lt;b&gt;" in made._repr_html_()
    assert made.to_dict()["policy"] == {
        "one_production": False,
        "stepwise": False,
        "no_self_approval": False,
        "stage_names": {},
    }
