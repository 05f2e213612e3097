"""What the demo does with options that leave it little to work with, and what it tells to type afterwards."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fivefold.demo import Options, lifecycle
from fivefold.demo.swap import contender


@pytest.mark.parametrize("day", [date(2013, 9, 30), date(2014, 1, 1), date(2013, 7, 4)])
def test_a_day_that_is_not_held_back_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, day: date
) -> None:
    monkeypatch.setattr(lifecycle.signal, "signal", lambda *_: None)  # type: ignore[attr-defined]
    assert lifecycle.main(Options(data=tmp_path / "demo", day=day)) == 1
    assert f"{day} is not a held-back day; --day takes one from 2013-10-01 to 2013-12-31" in capsys.readouterr().out
    assert not (tmp_path / "demo").exists()


def trial(name: str, state: str = "FINISHED") -> Any:
    return SimpleNamespace(name=name, state=state)


def test_the_second_version_is_the_runner_up_or_the_lone_trial_once_more() -> None:
    assert contender([trial("a"), trial("b"), trial("c")])[0].name == "b"
    lone, about = contender([trial("a"), trial("b", "FAILED")])
    assert lone.name == "a"
    assert "no other trial finished" in about


def test_the_command_to_type_is_one_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    assert lifecycle.fivefold_command() == [str(folder / "python"), "-m", "fivefold"]
    script = folder / "fivefold"
    script.touch(mode=0o755)
    assert lifecycle.fivefold_command() == [str(script)]
    monkeypatch.chdir(tmp_path)
    assert lifecycle.fivefold_command() == [".venv/bin/fivefold"]
    monkeypatch.setenv("PATH", str(folder))
    assert lifecycle.fivefold_command() == ["fivefold"]
