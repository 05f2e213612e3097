"""Rows and values that come as text: from the command line, a JSON or CSV file, or standard input."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.cli.failures import USAGE, Failure

if TYPE_CHECKING:
    import pyarrow as pa

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def typed(text: str, kind: str, name: str) -> Any:
    """Returns a text as the value of a column's type; "" is null for every type but STRING.

    Raises Failure that names the column, what came and what was expected.
    """
    if text == "" and kind != "STRING":
        return None
    try:
        if kind == "BOOL":
            return _TRUTH[text.lower()]
        if kind in ("INT32", "INT64"):
            return int(text)
        if kind in ("FLOAT", "DOUBLE"):
            return float(text)
        if kind == "DATE":
            return date.fromisoformat(text)
        if kind == "TIMESTAMP":
            return datetime.fromisoformat(text)
    except (ValueError, KeyError):
        raise Failure(f"{name} is {text!r}; it must be of type {kind}", code=USAGE) from None
    return text


def guessed(text: str) -> Any:
    """Returns a text as the JSON scalar that it reads as ("3", "true", "null"), else as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def columns_of(source: str) -> dict[str, list[Any]]:
    """Reads columns from a file, or from standard input for "-".

    JSON   a list of rows, one row, or an object of columns (lists of one length)
    CSV    with a header; numbers, true and false are read as such, an empty cell is null

    Raises Failure for what is neither.
    """
    content = sys.stdin.read() if source == "-" else Path(source).read_text()
    if source.lower().endswith(".csv") or (source == "-" and content.lstrip()[:1] not in "[{"):
        rows = list(csv.DictReader(io.StringIO(content)))
        if any(None in row or None in row.values() for row in rows):
            raise Failure("the CSV has a row of another length than its header", code=USAGE)
        return {name: [guessed(row[name]) if row[name] else None for row in rows] for name in (rows[0] if rows else {})}
    try:
        data = json.loads(content)
    except ValueError as error:
        raise Failure(f"{source} is no JSON: {error}", code=USAGE) from None
    if isinstance(data, dict) and data and all(isinstance(values, list) for values in data.values()):
        return data
    rows_ = [data] if isinstance(data, dict) else data
    if not isinstance(rows_, list) or not rows_ or not all(isinstance(row, dict) for row in rows_):
        raise Failure(
            f"{source} holds no rows",
            'expected [{"column": value, …}, …] or {"column": [value, …], …}, with at least one row',
            code=USAGE,
        )
    names = list(dict.fromkeys(name for row in rows_ for name in row))
    return {name: [row.get(name) for row in rows_] for name in names}


def frame_of(path: Path, kinds: Mapping[str, str]) -> pa.Table | pa.RecordBatchReader:
    """Opens a Parquet, CSV or JSON file of rows for sending.

    kinds  types of columns that are known; JSON has no times or days, so a text in one of these is read as its type

    Raises Failure for a file of another kind, values of several types in one column, and times without a zone.
    """
    from fivefold.sdk.extras import need
    from fivefold.sdk.frames import file_of

    pa = need("pyarrow", "reading a file of rows")
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv", ".json"):
        raise Failure(f"{path} is neither .parquet nor .csv nor .json", code=USAGE)
    if suffix == ".json":
        columns = {
            name: [
                typed(value, kinds.get(name, "STRING"), name) if isinstance(value, str) else value for value in values
            ]
            for name, values in columns_of(str(path)).items()
        }
        try:
            frame = pa.table(columns)
        except (pa.ArrowException, TypeError) as error:
            raise Failure(f"{path} is no table: {error}", "each column holds values of one type", code=USAGE) from None
    else:
        frame = file_of(path)
    for field in frame.schema:
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            hint = "write them as 2013-11-27T08:00:00Z, or with another zone"
            raise Failure(f"{path}: column {field.name!r} holds times without a time zone", hint, code=USAGE)
    return frame
