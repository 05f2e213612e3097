"""A few rows as named columns of plain values: keys to look up, rows to predict, answers.

In:  a dict of lists (or single values), a pandas, polars or pyarrow frame; numpy arrays and pandas series as columns.
Out: Python lists with None for null.

A kind is chosen by the values: bool, int, float (ints among floats become floats), text; times become microseconds and
dates days. None and pandas' NaT and NA are null, and so is NaN in a column that is not of numbers. A column with
nothing but nulls or NaN is sent as numbers that are null, whatever its type is to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from fivefold.data.v1 import data_pb2 as pb
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.frames import column_names, library_of
from fivefold.sdk.times import days, microseconds

_PLAIN = {str, int, float, bool, type(None)}


def to_wire(columns: Any, field: str = "columns") -> list[pb.Column]:
    """Returns the columns as messages.

    columns  a dict of name to values, or a frame; all columns of one length
    field    what the caller named it, for errors

    Raises InvalidArgument that names the column: unequal lengths, values of several kinds, a time without a zone.
    """
    named = _named(columns, field)
    if not named:
        raise InvalidArgument(f"{field} has no column", reason="FIELD_REQUIRED", facts={"field": field})
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        first, *_ = lengths
        other = next(name for name in lengths if lengths[name] != lengths[first])
        raise InvalidArgument(
            f"{field} differ in length: {first!r} has {lengths[first]} rows, {other!r} has {lengths[other]}",
            reason="FIELD_INVALID",
            facts={"field": field, "column": other},
        )
    return [_column(name, values) for name, values in named.items()]


def from_wire(column: pb.Column) -> list[Any]:
    """Returns the values in row order, None for null."""
    kind = column.WhichOneof("values")
    values: list[Any] = list(getattr(column, kind).values) if kind else [None] * (len(column.nulls))
    for row in column.nulls:
        values[row] = None
    return values


def _named(columns: Any, field: str) -> dict[str, list[Any]]:
    library = library_of(columns)
    if library:
        return {name: _listed(columns[name]) for name in column_names(columns)}
    if isinstance(columns, Mapping):
        return {name: _listed(values) for name, values in columns.items()}
    raise InvalidArgument(
        f"{field} is a {type(columns).__name__}; it must be a dict of columns or a pandas, polars or pyarrow frame",
        reason="FIELD_INVALID",
        facts={"field": field},
    )


def _listed(values: Any) -> list[Any]:
    """Returns a column's values as a list; a single value is a column of one row."""
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            listed = getattr(values, method)()
            return listed if isinstance(listed, list) else [listed]
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, Iterable)):
        return [values]
    listed = list(values)
    if set(map(type, listed)) <= _PLAIN:
        return listed
    return [value.item() if hasattr(value, "item") else value for value in listed]


def _column(name: str, values: list[Any]) -> pb.Column:
    plain = set(map(type, values))
    if plain == {str}:  # what keys mostly are
        return pb.Column(name=name, strings=pb.StringValues(values=values))
    if plain == {int}:
        return _integers(name, values, [])
    nulls = [row for row, value in enumerate(values) if _is_null(value)]
    kinds = {type(value) for value in values if not _is_null(value)}
    if not kinds - {float} and all(_is_null(value) or math.isnan(value) for value in values):
        return pb.Column(name=name, doubles=pb.DoubleValues(values=[math.nan] * len(values)), nulls=range(len(values)))
    if float in kinds and not kinds <= {float, int}:
        nulls = [row for row, value in enumerate(values) if _is_null(value) or value != value]
        kinds = {type(values[row]) for row in set(range(len(values))) - set(nulls)}
    gone = set(nulls)

    def filled(zero: Any) -> list[Any]:
        return [zero if row in gone else value for row, value in enumerate(values)] if gone else values

    if kinds == {bool}:
        return pb.Column(name=name, bools=pb.BoolValues(values=filled(False)), nulls=nulls)
    if kinds == {int}:
        return _integers(name, filled(0), nulls)
    if kinds <= {int, float}:
        return pb.Column(name=name, doubles=pb.DoubleValues(values=filled(0.0)), nulls=nulls)
    if all(issubclass(kind, str) for kind in kinds):
        return pb.Column(name=name, strings=pb.StringValues(values=filled("")), nulls=nulls)
    if all(issubclass(kind, datetime) for kind in kinds):
        stamps = [0 if row in gone else microseconds(value, f"column {name!r}") for row, value in enumerate(values)]
        return pb.Column(name=name, int64s=pb.Int64Values(values=stamps), nulls=nulls)
    if all(issubclass(kind, date) and not issubclass(kind, datetime) for kind in kinds):
        numbers = [0 if row in gone else days(value) for row, value in enumerate(values)]
        return pb.Column(name=name, int64s=pb.Int64Values(values=numbers), nulls=nulls)
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise InvalidArgument(
        f"column {name!r} holds {found}; it must hold one of bool, int, float, str, datetime or date",
        reason="FIELD_INVALID",
        facts={"column": name, "found": found},
    )


def _integers(name: str, values: list[int], nulls: list[int]) -> pb.Column:
    try:
        return pb.Column(name=name, int64s=pb.Int64Values(values=values), nulls=nulls)
    except ValueError:
        raise InvalidArgument(
            f"column {name!r} holds an integer beyond 64 bits", reason="FIELD_INVALID", facts={"column": name}
        ) from None


def _is_null(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NaTType", "NAType")
