"""`fivefold models` against real services: what it prints, what it says when there is nothing, and the exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fivefold.cli.models import models
from fivefold.cli.models.history import STORY, sentence
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk.client import Client
from tests.client.conftest import Outcome

Run = Callable[..., Outcome]

WANTED = """list search show register update rename delete promote transition rollback request requests approve reject
cancel comment comments history verify alias copy download watch stage-at permissions"""


@pytest.fixture
def run(fivefold: Run) -> Run:
    """Runs `fivefold models …`."""
    return lambda *arguments: fivefold("models", *arguments)


@pytest.fixture
def package(tmp_path: Path) -> str:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.txt").write_text("a model")
    return str(folder)


def test_every_command_of_the_group_has_help_that_says_what_it_does(run: Run) -> None:
    for name in (*WANTED.split(), *models.commands):
        outcome = run(name, "--help")
        assert outcome.code == 0, name
        assert outcome.out.startswith(f"Usage: fivefold models {name}")


def test_the_list_of_commands_has_each_in_one_section_and_no_line_that_is_cut(run: Run) -> None:
    listed = [line.split()[0] for line in run("--help").out.partition("Models:")[2].splitlines() if line[:3].strip()]
    titles = {"Versions:", "Stages:", "History:", "Mail:"}
    assert sorted(set(listed) - titles) == sorted(models.commands)
    assert len(listed) == len(models.commands) + len(titles)
    assert "..." not in run("--help").out.partition("Models:")[2]


def test_every_kind_of_activity_has_its_sentence() -> None:
    kinds = {name.removeprefix("ACTIVITY_TYPE_") for name in dict(pb.ActivityType.items())} - {"UNSPECIFIED"}
    assert set(STORY) == kinds
    told = {"user": "ana", "from_stage": "None", "to_stage": "Production", "rollback": False}
    for kind in kinds:
        assert "{" not in sentence(told | {"type": kind}, {})
    back = sentence(told | {"type": "APPLIED_TRANSITION", "rollback": True}, {"Production": "Live"})
    assert back == "ana rolled back: it came from None to Live again"
    assert sentence(told | {"type": "SOMETHING_NEW"}, {}) == "ana: SOMETHING_NEW"


def test_what_is_empty_says_the_command_that_changes_it(run: Run) -> None:
    assert run("create", "cli empty").code == 0
    for arguments, command in {
        ("search", "name = 'no such model'"): "fivefold models list",
        ("search", "--versions", "tags.x = 'no such value'"): "fivefold models list",
        ("versions", "cli empty"): "fivefold models register 'cli empty' SOURCE",
        ("requests", "cli empty"): "fivefold models request 'cli empty'/NUMBER Production",
        ("history", "cli empty"): "fivefold models promote 'cli empty'/NUMBER",
        ("comments", "cli empty"): "fivefold models comment 'cli empty'/NUMBER TEXT",
        ("alias", "cli empty"): "fivefold models alias 'cli empty'/NUMBER ALIAS",
        ("stage-at", "cli empty"): "fivefold models history 'cli empty'",
    }.items():
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (0, ""), arguments
        assert outcome.err.count("\n") == 1
        assert command in outcome.err.rstrip("\n").replace('"', "'"), arguments
        assert run(*arguments, "-o", "json").out in ("[]\n", "{}\n")
        assert run(*arguments, "-o", "csv").out.count("\n") == 1


def test_a_model_s_card_shows_rules_stages_aliases_and_open_requests(run: Run, package: str) -> None:
    rules = ("--one-production", "--stepwise", "--no-self-approval", "--stage-name", "Production=Live")
    assert run("create", "cli-card", "--description", "Who leaves", "--tag", "team=growth", *rules).code == 0
    for _ in range(2):
        assert run("register", "cli-card", package).code == 0
    for stage in ("staging", "live"):
        assert run("transition", "cli-card/1", stage).code == 0
    assert run("alias", "cli-card/1", "champion").out == "cli-card@champion is cli-card/1\n"
    assert run("request", "cli-card/2", "Staging", "--comment", "please").code == 0
    card = run("show", "cli-card").out
    lines = [" ".join(line.split()) for line in card.splitlines()]
    assert "aliases champion=cli-card/1" in lines
    assert (
        "rules one version in Production; moves go stepwise; nobody approves their own request; "
        "Production is called Live" in lines
    )
    stages = lines[lines.index("stages") + 2 :][:2]
    assert [
        line.startswith(start)
        for line, start in zip(stages, ("Live (Production) cli-card/1 READY", "None cli-card/2 READY"), strict=True)
    ] == [True, True]
    assert lines[-2] == "REQUEST TO CREATOR YOU MAY CREATE TIME COMMENT"
    assert "Staging local reject, cancel" in lines[-1] and lines[-1].endswith("please")
    data = json.loads(run("show", "cli-card", "-o", "json").out)
    assert data["policy"]["stage_names"] == {"Production": "Live"}
    assert [one["available_actions"] for one in data["open_requests"]] == [["REJECT", "CANCEL"]]
    assert yaml.safe_load(run("show", "cli-card", "-o", "yaml").out) == data


def test_a_version_s_card_shows_where_it_comes_from(run: Run, package: str) -> None:
    made = json.loads(run("register", "cli-version", package, "--tag", "reviewed=yes", "-o", "json").out)
    assert run("alias", "cli-version/1", "champion").code == 0
    for name in ("cli-version/1", "cli-version@champion", "cli-version/None", "models/cli-version/versions/1"):
        card = [" ".join(line.split()) for line in run("show", name).out.splitlines()]
        assert card[:4] == ["name models/cli-version/versions/1", "stage None", "status READY", "aliases champion"]
        assert f"run {made['lineage']['run']}" in card
        assert "files 1 file, 7 B" in card
        assert f"digest {made['digest']}" in card


def test_long_wide_and_hostile_texts_leave_a_table_in_its_lines(run: Run) -> None:
    hostile = "evil \x1b[31mred\x1b[0m\nand a second line"
    for name, words in {"cli-wide-客户流失": "预测", "cli-wide-" + "x" * 120: hostile, "cli-wide-é": "plain"}.items():
        assert run("create", name, "--description", words).code == 0
    table = run("search", "name LIKE 'cli-wide-%'").out
    assert "\x1b" not in table
    head, *rows = table.splitlines()
    assert len(rows) == 3
    assert "evil \\x1b[31mred\\x1b[0m and a second line" in table
    place = head.index("DESCRIPTION")
    assert next(row for row in rows if "客" in row)[place - 4 :] == "预测"  # four wide characters stand before it
    assert "\x1b" not in run("show", "cli-wide-" + "x" * 120).out


def test_a_narrow_terminal_folds_long_names_and_leaves_out_columns_without_a_value(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cli-narrow-" + "abc" * 20
    assert run("create", name, "--description", "[bold]not markup[/bold]").code == 0
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = run("search", f"name = '{name}'").out
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["NAME", "UPDATE", "TIME", "DESCRIPTION"]
    place = lines[0].index("UPDATE")
    assert "".join(line[:place].strip() for line in lines[1:]) == name
    assert "[bold]" in shown


def test_a_version_is_promoted_and_others_in_production_are_named(run: Run, package: str) -> None:
    for _ in range(2):
        assert run("register", "cli-two", package).code == 0
    assert run("promote", "cli-two/1").out == "models/cli-two/versions/1 is in Production\n"
    second = run("promote", "cli-two/2", "--comment", "better")
    assert second.out == "models/cli-two/versions/2 is in Production\n"
    assert second.err == (
        "models/cli-two/versions/1 is in Production too; version 2 is served, the highest. "
        "`fivefold models transition cli-two/1 Archived` takes it out\n"
    )
    assert "cli-two/2" in run("production").out and "cli-two/1" in run("production").out
    assert run("register", "cli-two", package).code == 0
    alone = run("promote", "cli-two/3", "production", "--archive-existing")
    assert (alone.code, alone.err, alone.out.count("was archived")) == (0, "", 2)
    assert {row["version"] for row in _csv(run("stage-at", "cli-two", "-o", "csv"))} == {"cli-two/3"}
    assert run("stage-at", "cli-two", "--time", "2013-11-27").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "complaint", "advice"),
    [
        (["promote", "cli-wrong"], 1, "must be MODEL/NUMBER", "fivefold models versions cli-wrong"),
        (["promote", "cli-wrong/9"], 1, "models/cli-wrong/versions/9 does not exist", "fivefold models versions cli-wrong"),
        (["promote", "cli-wrong/1", "Prod"], 1, "None, Staging, Production, Archived", ""),
        (["show", "cli-wrnog"], 1, "models/cli-wrnog does not exist", "fivefold models list"),
        (["show", "cli-wrong@best"], 1, "aliases/best does not exist", "fivefold models alias cli-wrong"),
        (["register", "cli-wrong"], 2, "give either SOURCE or --external URI", "register --help"),
        (["register", "cli-wrong", "/no/such/folder"], 1, "must have the form runs/", "or a folder that is here"),
        (["alias", "cli-wrong", "best"], 2, "cli-wrong is a model", "fivefold models alias cli-wrong/NUMBER best"),
        (["alias", "cli-wrong/1", "latest"], 1, "'latest'", ""),
        (["update", "cli-wrong"], 2, "nothing to change", "--description"),
        (["update", "cli-wrong/1", "--stepwise"], 2, "rules belong to a model", "cli-wrong alone"),
        (["approve", "cli-wrong/1"], 1, "has no open requests", "fivefold models requests cli-wrong/1 --all"),
        (["approve", "cli-wrong/1/99"], 1, "requests/99 does not exist", "fivefold models requests cli-wrong/1 --all"),
        (["rollback", "cli-wrong"], 1, "no other version was in Production", "fivefold models history cli-wrong"),
        (["search", "nme = 'x'"], 1, "'nme' is no field", "tags.team"),
        (["verify", "cli-wrong", "--expect", "junk"], 1, "NUMBER:HASH", ""),
        (["comment", "cli-wrong/1"], 2, "give TEXT, or --delete alone", ""),
        (["copy", "cli-wrong/1", "cli-nowhere"], 1, "models/cli-nowhere does not exist", "--create"),
        (["permissions", "cli-wrong", "--grant", "ana=boss"], 1, "CAN_MANAGE_STAGING_VERSIONS", ""),
        (["watch", "--after", "999999999"], 1, "after_position is 999999999", "--new"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_what_to_type_instead(
    run: Run, package: str, arguments: list[str], code: int, complaint: str, advice: str
) -> None:
    if run("show", "cli-wrong/1").code:
        assert run("register", "cli-wrong", package).code == 0
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert complaint in outcome.err
    assert advice in outcome.err.partition(complaint)[2]


def test_a_change_of_labels_and_rules_is_one_command(run: Run, package: str) -> None:
    assert run("register", "cli-update", package, "--tag", "a=1").code == 0
    changed = run("update", "cli-update", "--tag", "team=growth", "--stepwise", "--description", "new", "-o", "json")
    assert (json.loads(changed.out)["tags"], json.loads(changed.out)["description"]) == ({"team": "growth"}, "new")
    assert "rules        moves go stepwise" in run("update", "cli-update", "--untag", "team").out
    version = json.loads(run("update", "cli-update/1", "--untag", "a", "--tag", "b=2", "-o", "json").out)
    assert version["tags"] == {"b": "2"}


def test_a_model_is_deleted_only_after_a_yes(run: Run, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("register", "cli-delete", package).code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = run("delete", "cli-delete")
    assert (asked.code, asked.out) == (130, "")
    assert "Delete models/cli-delete with all its versions, for good?" in asked.err
    assert run("delete", "cli-delete/1", "--yes").out == "models/cli-delete/versions/1 is deleted\n"
    assert run("rename", "cli-delete", "cli-gone").out == "cli-delete is models/cli-gone now\n"
    assert run("delete", "cli-gone", "--yes").out == "models/cli-gone is deleted\n"
    assert run("show", "cli-gone").code == 1


def test_versions_are_copied_kept_elsewhere_and_fetched(run: Run, package: str, tmp_path: Path) -> None:
    assert run("register", "cli-files", package).code == 0
    assert run("copy", "cli-files/1", "cli-copies", "--create").out == (
        "cli-copies/1 is a copy of cli-files/1, in stage None\n"
    )
    fetched = run("download", "cli-copies/1", str(tmp_path / "files"))
    assert fetched.out == f"{tmp_path / 'files'}\n"
    assert "1 file, 7 B, digest " in fetched.err
    assert (tmp_path / "files" / "model.txt").read_text() == "a model"
    assert "files are at  s3://bucket/model" in run("register", "cli-files", "--external", "s3://bucket/model").out
    elsewhere = run("download", "cli-files/2", str(tmp_path / "none"))
    assert (elsewhere.code, elsewhere.err.splitlines()[1]) == (1, "  its files are at s3://bucket/model")


def test_a_history_that_does_not_lead_to_its_head_is_exit_code_1(run: Run, package: str, tmp_path: Path) -> None:
    assert run("register", "cli-proof", package).code == 0
    assert run("promote", "cli-proof/1").code == 0
    head = tmp_path / "head"
    good = run("verify", "cli-proof", "--head-file", str(head))
    assert (good.code, good.out.splitlines()[0]) == (
        0,
        "models/cli-proof: 1 activity was checked, all are as they were written",
    )
    assert good.out.splitlines()[1] == f"head {head.read_text().strip()}"
    wrong = run("verify", "cli-proof", "--expect", f"1:{'0' * 64}")
    assert wrong.code == 1
    assert wrong.out.startswith("models/cli-proof: activity cli-proof/1/")
    assert "made anew" in wrong.out
    head.write_text(f"7:{'0' * 64}\n")
    cut = run("verify", "cli-proof", "--head-file", str(head), "-o", "json")
    assert (cut.code, json.loads(cut.out)["fault"]) == (1, "CUT")
    assert head.read_text().startswith("7:")  # what was expected stays, for whoever looks into it


def test_what_people_write_is_wrapped_in_line_with_what_it_belongs_to(
    run: Run, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("register", "cli-words", package).code == 0
    words = "It is better in every respect that I can measure, and then in some that I cannot.\n\nSo: yes."
    said = run("comment", "cli-words/1", words)
    assert said.code == 0
    lines = [line[21:] for line in run("history", "cli-words").out.splitlines()]
    assert lines[0] == "cli-words/1  local said"
    assert lines[1:] == [
        "             “It is better in every respect that I can",
        "              measure, and then in some that I cannot.",
        "              ",
        "              So: yes.”",
    ]
    assert run("comments", "cli-words").out.splitlines()[-1].endswith("So: yes.”")


def test_events_are_printed_one_a_line_for_people_and_for_programs(
    run: Run, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = client.registry.create_model("cli-events")
    client.registry.create_version("cli-events", external_uri="s3://bucket/model")
    client.registry.transition("cli-events/1", "Staging")
    renamed = client.registry.create_model("cli-events-old")
    client.registry.rename_model(renamed.name, "cli-events-new")

    def printed(*arguments: str) -> list[str]:
        """What `watch` prints up to the last event there is now; then Ctrl-C."""
        from fivefold.sdk.registry import Registry

        whole = Registry.watch

        def ended(registry: Registry, *given: object, **named: object):  # type: ignore[no-untyped-def]
            for event in whole(registry, *given, **named):  # type: ignore[arg-type]
                yield event
                if event.type == "REGISTERED_MODEL_RENAMED":
                    raise KeyboardInterrupt

        monkeypatch.setattr(Registry, "watch", ended)
        outcome = run("watch", model.name, "cli-events-new", *arguments)
        monkeypatch.setattr(Registry, "watch", whole)
        assert outcome.code == 130
        return outcome.out.splitlines()

    table = [line.split(maxsplit=3)[3] for line in printed()]
    assert table == [
        "REGISTERED_MODEL_CREATED  cli-events  local",
        "MODEL_VERSION_CREATED  cli-events/1  local",
        "MODEL_VERSION_TRANSITIONED_STAGE  cli-events/1  None -> Staging  local",
        "REGISTERED_MODEL_RENAMED  cli-events-new  was cli-events-old  local",
    ]
    events = [json.loads(line) for line in printed("-o", "json")]
    assert [event["to_stage"] for event in events] == ["", "", "Staging", ""]
    assert events[0]["time"].endswith("+00:00")


def _csv(outcome: Outcome) -> list[dict[str, str]]:
    assert outcome.code == 0, outcome.err
    return list(csv.DictReader(io.StringIO(outcome.out)))
