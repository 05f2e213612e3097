"""How commands print: a table for people, JSON, YAML or CSV for programs. Data goes to stdout, all else to stderr."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from unicodedata import combining, east_asian_width

import click

from fivefold.cli.failures import Failure

F = TypeVar("F", bound=Callable[..., Any])

# Shown as \xNN: what others wrote must not steer a reader's terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Verbatim(str):
    """A column that is headed as it is, since its name is somebody's own, such as a metric's key."""


def formats(*more: str) -> Callable[[F], F]:
    """Adds -o/--output: table, which is the default, and those named."""
    choices = click.Choice(["table", *more])
    return click.option("-o", "--output", type=choices, default="table", show_default=True, help="How to print.")


listed = formats("json", "yaml", "csv")
shown = formats("json", "yaml")


def show(data: Any, output: str, columns: Sequence[str] = (), empty: str = "nothing to show") -> None:
    """Prints one dict or a list of dicts.

    columns  of a list, the ones that a table and CSV have; empty: all
    empty    what is said on stderr instead of a table without rows: best, the command that changes it
    """
    if output == "json":
        json.dump(_plain(data), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        print()
    elif output == "yaml":
        print(_yaml(_plain(data)), end="")
    elif isinstance(data, Mapping):
        _card(data)
    else:
        rows = list(data)
        names = list(columns or (rows[0] if rows else ()))
        if output == "csv":
            _csv(rows, names)
        elif rows:
            _table(rows, names)
        else:
            click.echo(empty, err=True)


def text(value: Any) -> str:
    """Returns a value as people read it."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value))
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def width(line: str) -> int:
    """Returns how many columns of a terminal a line takes: two for each wide character, none for what combines."""
    if line.isascii():
        return len(line)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)


def _table(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    body = [[" ".join(text(row.get(name)).splitlines()) for name in names] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        # A terminal is narrow: a column without a value would only take room from the others.
        used = [place for place in range(len(names)) if any(cells[place] for cells in body)]
        for place in used:
            table.add_column(_head(names[place]).replace("[", "\\["), overflow="fold")
        for cells in body:
            table.add_row(*(cells[place].replace("[", "\\[") for place in used))
        Console().print(table)
        return
    for line in _aligned(names, body):
        print(line)


def _head(name: str) -> str:
    return str(name) if isinstance(name, Verbatim) else name.replace("_", " ").upper()


def _aligned(names: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a plain table with a header."""
    lines = [[_head(name) for name in names], *body]
    widths = [max(width(cells[place]) for cells in lines) for place in range(len(names))]
    return [
        "  ".join(cell + " " * (room - width(cell)) for cell, room in zip(cells, widths, strict=True)).rstrip()
        for cells in lines
    ]


def _card(data: Mapping[str, Any], indent: str = "") -> None:
    """Prints one thing: a line for each field that is set, what is nested below it, lists of things as tables."""
    fields = {name: value for name, value in data.items() if _is_set(value) and name != "etag"}
    room = max(map(len, fields), default=0)
    for name, value in fields.items():
        label = indent + name.replace("_", " ").ljust(room)
        if isinstance(value, list) and isinstance(value[0], Mapping):
            print(label.rstrip())
            names = [key for key in value[0] if _is_column([item[key] for item in value]) and key != "etag"]
            cells = [[" ".join(text(item[key]).splitlines()) for key in names] for item in value]
            for line in _aligned(names, cells):
                print(f"{indent}  {line}")
        elif isinstance(value, Mapping) and (len(text(value)) > 80 or any(isinstance(v, list) for v in value.values())):
            print(label.rstrip())
            _card(value, f"{indent}  ")
        else:
            first, *rest = text(value).splitlines() or [""]
            print(f"{label}  {first}")
            for line in rest:
                print(f"{' ' * len(label)}  {line}")


def _is_column(values: Sequence[Any]) -> bool:
    """Says whether values fit into a column of a table: some are set, and none has parts with parts of their own."""
    return any(map(_is_set, values)) and not any(map(_is_deep, values))


def _is_deep(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(isinstance(part, (Mapping, list)) for part in parts)


def _is_set(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_set(item) for item in value.values())
    return value not in (None, "", [], (), False)


def _csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (_plain(row.get(name)) for name in names)
        writer.writerow([json.dumps(value) if isinstance(value, (list, dict)) else value for value in values])


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it; times as ISO 8601, spans in seconds, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.hex()
    return value


def _yaml(value: Any) -> str:
    try:
        import yaml
    except ImportError:
        raise Failure("YAML needs PyYAML", "pip install pyyaml, or use -o json, which YAML readers take too") from None
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text
