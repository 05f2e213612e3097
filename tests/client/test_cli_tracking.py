"""Commands about experiments, runs and artifacts: a walk through each life, formats, mistakes, empty answers."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest

from fivefold.cli.artifacts import size_text
from fivefold.cli.runs.rows import span_text
from fivefold.sdk.client import Client
from tests.client.conftest import Outcome

Run = Callable[..., Outcome]

LONG = "a very long name of a run that somebody chose without thinking of terminals"


@pytest.fixture(autouse=True)
def _nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.fixture(scope="module")
def churn(addresses: dict[str, str]) -> list[str]:
    """Names of four runs of the experiment "cli churn"; their metric rises with their param."""
    from fivefold.sdk.transport import Access

    names = []
    with Client(addresses, Access()) as client:
        for place, name in enumerate(("baseline", LONG, "世界 run", "[red]x")):
            with client.tracking.run("cli churn", name=name, params={"depth": place, "kind": "a"}) as run:
                run.log(metrics={"auc": (7 + place) / 10, "val/log_loss": 0.5}, step=1, tags={"team": "ab"[place % 2]})
            names.append(run.name)
    return names


def test_an_experiment_lives_from_create_to_purge(fivefold: Run) -> None:
    name = re.search(r"experiments/(\d+)", fivefold("experiments", "create", "cli life", "--tag", "team=a").out)[1]  # type: ignore[index]
    assert re.search(r"^display name +cli other$", fivefold("experiments", "rename", "cli life", "cli other").out, re.M)
    assert "cli other" in fivefold("experiments", "list", "tags.team = 'a'").out
    deleted = fivefold("experiments", "delete", "cli other")
    assert deleted.out == (
        f"experiments/{name} (cli other) is deleted; bring it back with: fivefold experiments restore {name}\n"
    )
    assert "cli other" not in fivefold("experiments", "list").out
    assert "cli other" in fivefold("experiments", "list", "--deleted").out
    assert fivefold("experiments", "restore", name).code == 0
    refused = fivefold("experiments", "purge", name, "--yes")
    assert (refused.code, refused.out) == (1, "")
    fivefold("experiments", "delete", name)
    assert fivefold("experiments", "purge", name).code == 130  # nobody is there to say yes
    assert fivefold("experiments", "purge", name, "--yes").out == f"experiments/{name} (cli other) is gone\n"
    assert fivefold("experiments", "show", name).code == 1


def test_a_search_prints_the_columns_asked_for_in_the_order_asked_for(fivefold: Run, churn: list[str]) -> None:
    found = fivefold(
        *("runs", "search", "cli churn", "--filter", "metrics.auc > 0.75 AND NOT tags.team = 'a'"),
        *("--order-by", "metrics.auc desc", "--columns", "run,metrics.val/log_loss,params.depth,name"),
    )
    lines = found.out.splitlines()
    assert lines[0].split() == ["RUN", "val/log_loss", "depth", "NAME"]
    assert lines[1].split() == [churn[3].removeprefix("runs/"), "0.5", "3", "[red]x"]
    assert lines[2].endswith(LONG)
    rows = list(csv.DictReader(io.StringIO(fivefold("runs", "search", "cli churn", "-o", "csv").out)))
    assert [row["auc"] for row in rows] == ["1.0", "0.9", "0.8", "0.7"]
    as_json = json.loads(fivefold("runs", "search", "cli churn", "-o", "json", "--limit", "2").out)
    assert [one["params"]["depth"] for one in as_json] == ["3", "2"]


def test_more_runs_than_are_shown_are_counted(fivefold: Run, churn: list[str]) -> None:
    assert fivefold("runs", "search", "cli churn", "--limit", "3").err.startswith("3 of 4 runs; ")
    assert fivefold("runs", "search", "cli churn", "--limit", "0").err == ""


def test_wide_characters_line_up(fivefold: Run, churn: list[str]) -> None:
    from fivefold.cli.output import width

    lines = fivefold("runs", "search", "cli churn", "--columns", "name,status").out.splitlines()
    assert len({width(line[: line.index("FINISHED")]) for line in lines[1:]}) == 1


@pytest.mark.parametrize("command", [("runs", "search", "cli churn", "--filter"), ("experiments", "list")])
def test_a_mistake_in_a_filter_is_pointed_at_with_exit_code_1(
    fivefold: Run, churn: list[str], command: tuple[str, ...]
) -> None:
    outcome = fivefold(*command, "name == 'x'")
    assert (outcome.code, outcome.out) == (1, "")
    shown, caret = outcome.err.splitlines()[1:3]
    assert shown == "  name == 'x'"
    assert caret.strip() == "^" and shown[caret.index("^")] == "="


def test_a_column_that_no_run_can_have_is_exit_code_2_and_says_which_there_are(fivefold: Run, churn: list[str]) -> None:
    outcome = fivefold("runs", "search", "cli churn", "--columns", "run,metrics")
    assert outcome.code == 2
    assert "there is no column 'metrics'" in outcome.err and "metrics.KEY" in outcome.err


def test_an_empty_answer_says_the_next_command(fivefold: Run, churn: list[str]) -> None:
    fivefold("experiments", "create", "cli empty", "--allow-existing")
    for command, following in (
        (("runs", "search", "cli churn", "--filter", "metrics.auc > 7"), "fivefold runs list 'cli churn'"),
        (("runs", "search", "cli empty"), "client.tracking.run"),
        (("runs", "list", "cli empty"), "client.tracking.run"),
        (("experiments", "list", "name = 'nothing'"), "fivefold experiments list"),
        (("artifacts", "list", churn[0]), f"fivefold artifacts put {churn[0]}"),
        (("runs", "compare", churn[0]), "fivefold runs compare --all"),
    ):
        outcome = fivefold(*command)
        assert (outcome.code, outcome.out) == (0, "")
        assert following in outcome.err
    assert fivefold("runs", "search", "cli empty", "-o", "json").out == "[]\n"


def test_runs_side_by_side_show_what_differs(fivefold: Run, churn: list[str]) -> None:
    lines = fivefold("runs", "compare", *churn[:3]).out.splitlines()
    assert lines[0].split()[:3] == ["WHAT", "KEY", "baseline"]
    assert "a very long name of a r…" in lines[0] and "世界 run" in lines[0]
    assert ["param", "depth", "0", "1", "2"] in [line.split() for line in lines]
    assert not any("kind" in line for line in lines)
    assert any("kind" in line for line in fivefold("runs", "compare", "--all", *churn[:3]).out.splitlines())
    rows = json.loads(fivefold("runs", "compare", *churn[:2], "-o", "json").out)
    assert {"kind": "PARAM", "key": "depth", "differs": True, "values": [0.0, 1.0]} in rows


def test_a_run_is_shown_without_what_is_empty(fivefold: Run, client: Client) -> None:
    with client.tracking.run("cli show") as run:
        run.log_dataset({"x": [1]}, name="people", context="training")
    card = fivefold("runs", "show", run.name).out
    assert "git_commit=," not in card and "people" in card and '"columns"' not in card
    assert "schema" in fivefold("runs", "show", run.name, "-o", "json").out


def test_watching_a_run_prints_its_points_and_how_it_ended(fivefold: Run, client: Client) -> None:
    with client.tracking.run("cli watch") as run:
        for step in range(3):
            run.log(metrics={"auc": step / 10, "bad": float("nan")}, step=step)
    watched = fivefold("runs", "watch", run.name, "--key", "auc")
    assert [line.split()[2:] for line in watched.out.splitlines()] == [
        ["0", "auc", "0"],
        ["1", "auc", "0.1"],
        ["2", "auc", "0.2"],
    ]
    assert watched.err == f"{run.name} is FINISHED\n"
    points = [json.loads(line) for line in fivefold("runs", "watch", run.name, "-o", "json").out.splitlines()]
    assert {(point["key"], point["step"], point["value"]) for point in points if point["key"] == "bad"} == {
        ("bad", step, None) for step in range(3)
    }
    assert fivefold("runs", "watch", run.name, "--new").err.endswith("; no point was logged\n")


def test_runs_are_exported_by_the_file_s_name_or_by_format(fivefold: Run, churn: list[str], tmp_path: Path) -> None:
    read = {
        "parquet": pyarrow.parquet.read_table,
        "csv": pyarrow.csv.read_csv,
        "arrow": lambda path: pyarrow.ipc.open_file(path).read_all(),
    }
    for kind, reader in read.items():
        for file, more in ((tmp_path / f"runs.{kind}", ()), (tmp_path / "runs", ("--format", kind))):
            outcome = fivefold(
                *("runs", "export", "cli churn", "--filter", "metrics.auc > 0.75", "--order-by", "metrics.auc"),
                *("-o", str(file), *more),
            )
            assert outcome.out == f"{file}: 3 runs\n"
            assert reader(file).column("metrics.auc").to_pylist() == [0.8, 0.9, 1.0]
    assert fivefold("runs", "export", "cli churn", "-o", str(tmp_path / "runs.txt")).code == 2


def test_runs_are_deleted_restored_and_collected(fivefold: Run, client: Client) -> None:
    runs = [client.tracking.run("cli gc", name=f"r{place}") for place in range(2)]
    for run in runs:
        run.end()
    assert fivefold("runs", "delete", *(run.name for run in runs)).out == "".join(
        f"{run.name} ({run.display_name}) is deleted\n" for run in runs
    )
    assert fivefold("runs", "delete", runs[0].name).code == 1
    assert fivefold("runs", "search", "cli gc").out == ""
    assert runs[0].name.removeprefix("runs/") in fivefold("runs", "search", "cli gc", "--deleted").out
    assert fivefold("runs", "restore", runs[0].name).out == f"{runs[0].name} (r0) is back\n"
    assert fivefold("runs", "gc", "cli gc").code == 130
    assert (
        fivefold("runs", "gc", "cli gc", "--older-than", "1h", "--yes").out == "0 runs and 0 logged models are gone\n"
    )
    assert fivefold("runs", "gc", "cli gc", "--older-than", "soon", "--yes").code == 2
    assert fivefold("runs", "gc", "cli gc", "--yes").out == "1 runs and 0 logged models are gone\n"
    assert fivefold("runs", "show", runs[1].name).code == 1


def test_files_are_listed_as_people_read_them_fetched_whole_and_deleted(
    fivefold: Run, client: Client, tmp_path: Path
) -> None:
    run = client.tracking.run("cli files")
    run.end()
    (tmp_path / "notes.txt").write_text("x" * 1500)
    assert fivefold("artifacts", "put", run.name, str(tmp_path / "notes.txt"), "docs/notes.txt").code == 0
    assert fivefold("artifacts", "list", run.name).out.splitlines()[1].split() == ["docs/"]
    assert fivefold("artifacts", "list", run.name, "docs").out.splitlines()[1].split()[:3] == [
        "docs/notes.txt",
        "1.5",
        "kB",
    ]
    (row,) = json.loads(fivefold("artifacts", "list", run.name, "-r", "-o", "json").out)
    assert (row["size_bytes"], len(row["sha256"])) == (1500, 64)
    assert fivefold("artifacts", "get", run.name, "", str(tmp_path / "all")).code == 0
    assert (tmp_path / "all" / "docs" / "notes.txt").read_text() == "x" * 1500
    assert fivefold("artifacts", "delete", run.name, "docs").out == "docs is deleted\n"
    assert fivefold("artifacts", "get", run.name, "docs", str(tmp_path / "none")).code == 1


def on_a_terminal(columns: int, *arguments: str) -> str:
    """Returns what a command prints on a terminal of so many columns."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fivefold", *arguments], stdout=writer, stderr=writer, stdin=writer, env=environment
    )
    os.close(writer)
    said = b""
    while select.select([reader], [], [], 60)[0]:
        try:
            piece = os.read(reader, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        said += piece
    process.wait(60)
    os.close(reader)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).replace("\r\n", "\n")


def test_a_table_fits_a_narrow_terminal_and_names_are_no_markup(
    fivefold: Run, churn: list[str], addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fivefold.cli.output import width

    monkeypatch.setenv("FIVEFOLD_URL_TRACKING", addresses["tracking"])
    shown = on_a_terminal(60, "runs", "search", "cli churn", "--columns", "name,status,metrics.auc")
    assert max(map(width, shown.splitlines())) <= 60
    assert "[red]x" in shown and "世界 run" in shown and "auc" in shown


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_narrow_terminal_gets_fewer_columns_and_every_run_s_id_whole(
    fivefold: Run, churn: list[str], columns: int
) -> None:
    from fivefold.cli.output import width

    lines = on_a_terminal(columns, "runs", "search", "cli churn").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [name.removeprefix("runs/") for name in reversed(churn)]
    assert max(map(width, lines)) <= columns
    assert ("USER" in lines[0]) == (columns == 200)


def test_a_transfer_on_a_terminal_ends_with_what_was_stored(
    fivefold: Run, client: Client, addresses: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIVEFOLD_URL_TRACKING", addresses["tracking"])
    run = client.tracking.run("cli files")
    run.end()
    (tmp_path / "big[1].bin").write_bytes(b"x" * 9_000_000)
    shown = on_a_terminal(80, "artifacts", "put", run.name, str(tmp_path / "big[1].bin"))
    assert shown.rstrip().endswith("big[1].bin")
    assert client.tracking.list_artifacts(run.name)[0].size_bytes == 9_000_000


@pytest.mark.parametrize("group", ["experiments", "runs", "artifacts"])
def test_help_imports_nothing_heavy(group: str) -> None:
    code = f"""
import sys
from fivefold.cli import main
code = main(["{group}", "--help"])
print([name for name in ("grpc", "google.protobuf", "pandas", "pyarrow", "numpy", "rich") if name in sys.modules], code)
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert outcome.stdout.splitlines()[-1] == "[] 0", outcome.stderr


def test_sizes_and_spans_are_written_as_people_read_them() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 2_500_000, 3e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "3.0 TB",
    ]
    assert [span_text(span) for span in (0.04, 59.94, 65, 3600, 9000)] == [
        "0.0 s",
        "59.9 s",
        "1 m 05 s",
        "1 h 00 m",
        "2 h 30 m",
    ]
