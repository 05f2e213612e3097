"""The demo in small: five real processes, real Ray, real data, as a newcomer runs it."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

SMALL = ["--minutes", "0.3", "--max-trials", "3", "--training-rows", "4000", "--held-back-rows", "2000"]


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo; one that still runs when the block ends, as after a failure, is told to stop."""
    command = [sys.executable, "-m", "fivefold", "demo", "--data", str(folder), *options]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # It stops its services itself.
                process.communicate(timeout=60)


def processes_that_name(folder: Path) -> Iterator[str]:
    """Command lines of running processes that name a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                yield line


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that ran to its end: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "fivefold-demo"
    with demo(folder, *SMALL) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return folder, printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_keeps_all_its_promises_in_seven_steps(finished: tuple[Path, str]) -> None:
    _, printed = finished
    assert re.findall(r"^\[(\d)/7\]", printed, re.MULTILINE) == list("1234567"), printed
    for promise in (
        "rows are what plain pandas computes",
        "ran on Ray",
        "in Production after the approval",
        "(no skew)",
        "the version changed exactly twice, forth and back",
        "predictions failed",
        "name the same table versions",
    ):
        assert f"{promise}" in printed, printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_score_that_the_demo_prints_is_the_score_of_its_predictions(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    with (folder / "held_back_predictions.csv").open() as rows:
        answers = list(csv.DictReader(rows))
    truth = [row["late"] == "True" for row in answers]
    score = roc_auc_score(truth, [float(row["probability"]) for row in answers])
    report = json.loads((folder / "report.json").read_text())
    assert report["held_back_rows"] == len(answers) == 2000
    assert report["held_back_roc_auc"] == pytest.approx(score, abs=1e-9)
    assert f"roc_auc {score:.4f}" in printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_leaves_no_process_behind(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    assert list(processes_that_name(folder)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "fivefold-demo"
    with demo(folder, *SMALL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[3/7]"):
                break
        assert list(processes_that_name(folder))
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert list(processes_that_name(folder)) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with demo(tmp_path) as process:
        printed, _ = process.communicate()
    assert process.returncode == 1
    assert "is not an earlier demo's folder; choose another with --data" in printed
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"
