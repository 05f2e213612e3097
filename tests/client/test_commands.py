"""Commands against real services: what they print, and the exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from fivefold.cli.root import COMMANDS, root
from tests.client.conftest import Outcome

Run = Callable[..., Outcome]


def test_the_list_of_commands_says_what_the_commands_say_of_themselves() -> None:
    context = click.Context(root)
    for name, (_, _, about) in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None and command.name == name
        assert (command.help or "").splitlines()[0] == about


def test_help_lists_every_exit_code(fivefold: Run) -> None:
    outcome = fivefold("--help")
    assert outcome.code == 0
    assert [int(code) for code in re.findall(r"^ {4}(\d+) ", outcome.out, re.M)] == [0, 1, 2, 3, 4, 70, 130]


def test_one_thing_is_printed_as_a_card_json_and_yaml(fivefold: Run) -> None:
    card = fivefold("experiments", "create", "cli formats", "--tag", "team=a")
    assert card.code == 0
    assert re.search(r"^display name +cli formats$", card.out, re.M)
    assert "etag" not in card.out
    name = re.search(r"experiments/\d+", card.out)[0]  # type: ignore[index]
    as_json = json.loads(fivefold("experiments", "show", name, "-o", "json").out)
    as_yaml = yaml.safe_load(fivefold("experiments", "show", "cli formats", "-o", "yaml").out)
    assert as_json == as_yaml
    assert as_json["tags"] == {"team": "a"}
    assert as_json["create_time"].endswith("+00:00")


def test_a_list_is_printed_as_a_table_and_as_csv(fivefold: Run) -> None:
    fivefold("experiments", "create", "cli, with a comma")
    table = fivefold("experiments", "list").out.splitlines()
    assert table[0].split() == ["NAME", "DISPLAY", "NAME", "CREATE", "TIME", "UPDATE", "TIME"]
    rows = list(csv.DictReader(io.StringIO(fivefold("experiments", "list", "-o", "csv").out)))
    assert "cli, with a comma" in {row["display_name"] for row in rows}


def test_a_refusal_is_exit_code_1_and_two_lines(fivefold: Run) -> None:
    outcome = fivefold("runs", "show", "0" * 32)
    assert (outcome.code, outcome.out) == (1, "")
    first, second = outcome.err.splitlines()
    assert first == f"fivefold: runs/{'0' * 32} does not exist"
    assert second.startswith("  check the name")


def test_a_wrong_command_line_is_exit_code_2_and_names_the_nearest(fivefold: Run) -> None:
    assert fivefold("runs", "list").code == 2
    outcome = fivefold("model", "list")
    assert outcome.code == 2
    assert "Did you mean models?" in outcome.err
    assert fivefold("features", "get", "x", "--as-of", "2026-01-01T00:00:00").code == 2


def test_a_service_that_does_not_answer_is_exit_code_3(fivefold: Run) -> None:
    outcome = fivefold("serve", "status")
    assert outcome.code == 3
    assert outcome.err.splitlines()[0] == "fivefold: serving does not answer at 127.0.0.1:9"


def test_an_address_that_is_none_is_refused_in_one_line(fivefold: Run) -> None:
    outcome = fivefold("--url", "http://host:1", "runs", "list", "x")
    assert outcome.code == 1
    assert "host:port" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_traceback_is_shown_only_when_asked_for(fivefold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in fivefold("serve", "status").err
    monkeypatch.setenv("FIVEFOLD_DEBUG", "1")
    assert "Traceback" in fivefold("serve", "status").err


def test_artifacts_are_put_listed_and_fetched(fivefold: Run, client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with client.tracking.run("cli artifacts", name="first") as run:
        run.log(metrics={"auc": 0.5}, params={"depth": 3})
    (tmp_path / "notes.txt").write_text("notes")
    assert (
        fivefold("artifacts", "put", run.name, str(tmp_path / "notes.txt"), "docs/notes.txt").out == "docs/notes.txt\n"
    )
    assert "docs/notes.txt" in fivefold("artifacts", "list", run.name, "-r").out
    assert fivefold("artifacts", "get", run.name, "docs", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back" / "notes.txt").read_text() == "notes"
    listed = fivefold("runs", "list", "cli artifacts")
    assert listed.out.splitlines()[0].split()[-1] == "auc"
    assert "FINISHED" in listed.out


def test_a_feature_table_is_made_written_read_published_and_looked_up(fivefold: Run, tmp_path: Path) -> None:
    rows = tmp_path / "planes.csv"
    rows.write_text("tailnum,seats\nN1,100\nN2,200\n")
    assert fivefold("tables", "create", "cli_planes", str(rows), "--key", "tailnum").code == 0
    written = json.loads(fivefold("tables", "write", "cli_planes", str(rows), "-o", "json").out)
    assert (written["version"], written["rows_total"]) == (1, 2)
    assert fivefold("tables", "read", "cli_planes", "--limit", "1", "-o", "csv").out == "tailnum,seats\nN1,100\n"
    described = fivefold("tables", "describe", "cli_planes").out
    assert re.search(r"^  NAME +TYPE$", described, re.M)
    assert re.search(r"^  seats +INT64$", described, re.M)
    assert fivefold("tables", "publish", "cli_planes").code == 0
    assert fivefold("specs", "create", "cli_planes", "--lookup", "cli_planes").code == 0
    found = fivefold("features", "get", "cli_planes", "--key", "tailnum=N2", "-o", "json")
    assert json.loads(found.out) == {"seats": 200}
    missing = fivefold("features", "get", "cli_planes", "--key", "tailnum=N3", "--statuses", "-o", "csv")
    assert missing.out == "feature,value,status\nseats,,NOT_FOUND\n"
    assert "cli_planes" in fivefold("specs", "list").out


@pytest.fixture
def weather(fivefold: Run, tmp_path: Path) -> str:
    """A feature table: JFK is warm at six, cold at nine."""
    rows = tmp_path / "weather.csv"
    rows.write_text("origin,hour,temp,humid\nJFK,2013-01-01T06:00:00Z,20.5,1\nJFK,2013-01-01T09:00:00Z,-3.5,\n")
    fivefold("tables", "create", "cli_weather", str(rows), "--key", "origin", "--timestamp-key", "hour")
    assert fivefold("tables", "write", "cli_weather", str(rows)).code == 0
    return "cli_weather"


def test_a_spec_says_features_keys_look_back_names_and_defaults(fivefold: Run, weather: str) -> None:
    made = fivefold(
        *("specs", "create", "cli_full", "--lookup", f"{weather}:temp,humid", "--key", f"{weather}:origin=from"),
        *("--look-back", f"{weather}=6h", "--rename", f"{weather}:temp=warmth", "--default", f"{weather}:humid=7"),
        *("--description", "all of it", "-o", "json"),
    )
    spec = json.loads(made.out)
    assert (spec["name"], spec["description"]) == ("specs/cli_full", "all of it")
    assert [(one["name"], one["type"]) for one in spec["features"]] == [("warmth", "DOUBLE"), ("humid", "INT64")]
    assert [key["name"] for key in spec["keys"]] == ["from"]
    assert (spec["lookups"][0]["look_back"], spec["lookups"][0]["defaults"]) == (6 * 3600, {"humid": "7"})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--key", "planes:origin=from"], "--key is 'planes:origin=from'; it must be TABLE:NAME=…"),
        (["--key", "origin=from"], "--key is 'origin=from'; it must be TABLE:NAME=…"),
        (["--look-back", "weather:temp=6h"], "it must be TABLE=… with a table that --lookup names"),
        (["--look-back", "weather=six"], "--look-back of weather is 'six'; it must be a whole number of s, m, h or d"),
        (["--lookup", "weather:temp"], "--lookup names the table weather twice"),
        (["--lookup", "planes:"], "--lookup is 'planes:'; it must be TABLE or TABLE:FEATURE,FEATURE"),
    ],
)
def test_a_spec_option_that_says_nothing_is_a_wrong_command_line(
    fivefold: Run, options: list[str], complaint: str
) -> None:
    outcome = fivefold("specs", "create", "cli_wrong", "--lookup", "weather", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err.splitlines()[0]


def test_a_spec_of_an_unknown_table_is_refused_by_the_table_s_name(fivefold: Run) -> None:
    outcome = fivefold("specs", "create", "cli_none", "--lookup", "cli_wether")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("fivefold: tables/cli_wether does not exist\n")


LABELS = {
    "csv": "origin,asked,late,note\nJFK,2013-01-01T08:00:00Z,true,a\nJFK,2013-01-01T05:00:00-05:00,false,b\n",
    "json": '[{"origin": "JFK", "asked": "2013-01-01T08:00:00Z", "late": true, "note": "a"},'
    ' {"origin": "JFK", "asked": "2013-01-01T05:00:00-05:00", "late": false, "note": "b"}]',
}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_labels_of_a_file_are_joined_to_what_was_true_at_their_time(
    fivefold: Run, weather: str, tmp_path: Path, kind: str
) -> None:
    labels = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        (tmp_path / "labels.csv").write_text(LABELS["csv"])
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(tmp_path / "labels.csv"), labels)
    else:
        labels.write_text(LABELS[kind])
    assert fivefold("specs", "create", "cli_temp", "--lookup", f"{weather}:temp").code == 0
    made = fivefold(
        *("training-sets", "create", "cli_temp", str(labels), "--timestamp", "asked", "--label", "late"),
        *("--exclude", "origin", "--exclude", "note", "-o", "json"),
    )
    training = json.loads(made.out)
    assert (training["rows"], training["labels"], training["timestamp_column"]) == (2, ["late"], "asked")
    rows = json.loads(fivefold("training-sets", "read", training["name"], "-o", "json").out)
    assert [(list(row), row["late"], row["temp"]) for row in rows] == [
        (["asked", "late", "temp"], True, 20.5),
        (["asked", "late", "temp"], False, -3.5),
    ]


def test_labels_that_cannot_be_joined_are_refused_by_the_column_s_name(
    fivefold: Run, weather: str, tmp_path: Path
) -> None:
    def refused(name: str, content: str, label: str = "late") -> tuple[int, str]:
        (tmp_path / name).write_text(content)
        outcome = fivefold(
            *("training-sets", "create", "cli_temp", str(tmp_path / name), "--timestamp", "asked", "--label", label)
        )
        assert outcome.out == ""
        return outcome.code, outcome.err.splitlines()[0].replace(f"{tmp_path}/", "")

    assert fivefold("specs", "create", "cli_temp", "--lookup", f"{weather}:temp").code == 0
    code, complaint = refused("labels.csv", LABELS["csv"], label="delayed")
    assert code == 1
    assert "no column 'delayed'" in complaint
    zoneless = "fivefold: {}: column 'asked' holds times without a time zone"
    for kind, content in LABELS.items():
        content = content.replace("-05:00", "").replace("00Z", "00")
        assert refused(f"zoneless.{kind}", content) == (2, zoneless.format(f"zoneless.{kind}"))
    assert refused("mixed.json", '{"asked": [1, "2013-01-01T08:00:00Z"]}')[0] == 2
    assert refused("labels.txt", "") == (2, "fivefold: labels.txt is neither .parquet nor .csv nor .json")


def test_a_model_is_registered_promoted_and_its_history_shown(fivefold: Run, client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "model.txt").write_text("a model")
    with client.tracking.run("cli models") as run:
        run.upload(tmp_path / "model.txt", "model/model.txt")
    for _ in range(2):
        assert fivefold("models", "register", "cli-churn", f"{run.name}/artifacts/model").code == 0
    assert (
        fivefold("models", "promote", "cli-churn/1", "production").out
        == "models/cli-churn/versions/1 is in Production\n"
    )
    assert fivefold("models", "request", "cli-churn/2", "Production", "--comment", "better").code == 0
    assert "better" in fivefold("models", "requests", "cli-churn").out
    approved = fivefold("models", "approve", "cli-churn/2", "--archive-existing").out
    assert approved == "models/cli-churn/versions/2 is in Production\nmodels/cli-churn/versions/1 was archived\n"
    assert "models/cli-churn/versions/1 is in Production" in fivefold("models", "rollback", "cli-churn").out
    refused = fivefold("models", "approve", "cli-churn/2")
    assert refused.code == 1
    assert "no open requests" in refused.err
    history = list(csv.DictReader(io.StringIO(fivefold("models", "history", "cli-churn", "-o", "csv").out)))
    assert {"APPLIED_TRANSITION", "REQUESTED_TRANSITION", "APPROVED_REQUEST"} <= {row["type"] for row in history}
    assert re.search(r"Production=1", fivefold("models", "list").out)
    assert "cli-churn" in fivefold("models", "show", "cli-churn/1").out


def test_rows_to_predict_come_from_a_file_or_from_keys_but_not_both(fivefold: Run, tmp_path: Path) -> None:
    assert fivefold("predict", "churn").code == 2
    (tmp_path / "rows.json").write_text("[1]")
    refused = fivefold("predict", "churn", "-f", str(tmp_path / "rows.json"))
    assert refused.code == 2
    assert "holds no rows" in refused.err
    assert fivefold("predict", "churn", "--key", "a=1").code == 3  # nobody serves here


def test_completion_scripts_are_printed_for_three_shells(fivefold: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_FIVEFOLD_COMPLETE" in fivefold("completion", shell).out
