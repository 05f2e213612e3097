"""Values and rows that come as text."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fivefold.cli.failures import Failure
from fivefold.cli.rows import columns_of, guessed, typed


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", "INT64", 7),
        ("7", "STRING", "7"),
        ("7", "DOUBLE", 7.0),
        ("no", "BOOL", False),
        ("2026-01-01", "DATE", date(2026, 1, 1)),
        ("2026-01-01T00:00:00Z", "TIMESTAMP", datetime(2026, 1, 1, tzinfo=UTC)),
        ("", "INT64", None),
        ("", "STRING", ""),
    ],
)
def test_a_text_becomes_a_value_of_the_column_s_type(text: str, kind: str, value: Any) -> None:
    assert typed(text, kind, "x") == value


def test_a_text_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(Failure, match="seats is 'many'; it must be of type INT64"):
        typed("many", "INT64", "seats")


def test_without_a_type_only_scalars_are_guessed() -> None:
    assert [guessed(text) for text in ("3", "2.5", "true", "null", "JFK", "[1]")] == [3, 2.5, True, None, "JFK", "[1]"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", '[{"a": 1, "b": "x"}, {"a": 2}]'),
        ("columns.json", '{"a": [1, 2], "b": ["x", null]}'),
        ("rows.csv", "a,b\n1,x\n2,\n"),
    ],
)
def test_rows_and_columns_mean_the_same_in_json_and_csv(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert columns_of(str(tmp_path / name)) == {"a": [1, 2], "b": ["x", None]}


@pytest.mark.parametrize("content", ['{"a": 1}', "a\n1\n"])
def test_standard_input_may_be_json_or_csv(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    assert columns_of("-") == {"a": [1]}


@pytest.mark.parametrize("content", ["{", "[]", "[1]", '"text"'])
def test_what_holds_no_rows_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(Failure):
        columns_of(str(tmp_path / "rows.json"))
