"""Tables, cards, JSON and YAML as they are printed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from fivefold.cli.output import show

VERSION = {
    "name": "models/churn/versions/1",
    "stage": "Production",
    "etag": "secret",
    "description": "two\nlines",
    "published": False,
    "tags": {},
    "lineage": {"run": "runs/1", "tables": ["a", "b"]},
    "files": [
        {"path": "MLmodel", "size_bytes": 10, "notes": "", "inside": {"deep": {"er": 1}}},
        {"path": "model.skops", "size_bytes": 20, "notes": "", "inside": {"deep": {"er": 2}}},
    ],
}


def test_a_card_shows_what_is_set_with_nested_things_below(capsys: pytest.CaptureFixture[str]) -> None:
    show(VERSION, "table")
    assert capsys.readouterr().out.splitlines() == [
        "name         models/churn/versions/1",
        "stage        Production",
        "description  two",
        "             lines",
        "lineage",
        "  run     runs/1",
        "  tables  a, b",
        "files",
        "  PATH         SIZE BYTES",
        "  MLmodel      10",
        "  model.skops  20",
    ]


def test_json_and_yaml_say_the_same_and_know_neither_nan_nor_python(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"score": math.nan, "at": datetime(2026, 1, 1, tzinfo=UTC), "budget": timedelta(minutes=1), "n": [1, None]}
    show(data, "json")
    as_json = json.loads(capsys.readouterr().out)
    show(data, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert as_json == {"score": None, "at": "2026-01-01T00:00:00+00:00", "budget": 60.0, "n": [1, None]}


def test_a_table_without_rows_says_so_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    show([], "table", ("name",))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "nothing to show\n")
    show([], "csv", ("name",))
    assert capsys.readouterr().out == "name\n"
