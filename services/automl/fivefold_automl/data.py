"""Understanding a table: which columns are inputs and of what kind, the target's classes, and what is odd.

Pure: an Arrow table and a JobSpec in, a Plan and warnings that name columns out. Raises TargetInvalid and DataInvalid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold_automl.errors import DataInvalid, TargetInvalid
from fivefold_automl.spec import FEWEST_ROWS, JobSpec, Problem

MOST_CLASSES = 200
_IDENTIFIER_SHARE = 0.95  # distinct values among those that are there, above which text identifies a row
_IDENTIFIER_ROWS = 20  # below this many rows, distinct values say nothing
_MOSTLY_MISSING = 0.9

Label = str | int | bool


class Kind(StrEnum):
    """What a column means to a model."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class Input:
    """One input column.

    type      as in fivefold.data.v1, such as "int64"
    required  had no null, and none can come from a look-up
    distinct  number of different values that are there
    """

    name: str
    kind: Kind
    type: str
    required: bool
    distinct: int


@dataclass(frozen=True, slots=True)
class Target:
    """The target of the rows that are kept.

    classes  labels in the order of their codes, the positive one of two last; empty for regression
    values   int64 codes of classes, or float64 numbers; as long as `rows`
    rows     numbers of the table's rows that have a usable target, ascending
    """

    classes: tuple[Label, ...]
    values: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class Plan:
    """How a table is learnt from. Small: it goes to every worker."""

    problem: Problem
    target: str
    classes: tuple[Label, ...]
    inputs: tuple[Input, ...]


def target_of(table: pa.Table, spec: JobSpec) -> tuple[Target, list[str]]:
    """Reads the target. Rows without one, and classes of a single row, are left out with a warning."""
    column = _plain(table[spec.target].combine_chunks())
    present = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        present = pc.and_(present, pc.fill_null(pc.is_finite(column), False))
    rows = np.flatnonzero(present.to_numpy(zero_copy_only=False))
    warnings = []
    if len(rows) < len(table):
        missing = len(table) - len(rows)
        warnings.append(f"target {spec.target!r} is missing in {missing} of {len(table)} rows; they are left out")
    if len(rows) < FEWEST_ROWS:
        raise DataInvalid(
            f"{len(rows)} rows have a target; at least {FEWEST_ROWS} are needed", rows=len(rows), needed=FEWEST_ROWS
        )
    known = column.take(pa.array(rows))
    if spec.problem is Problem.REGRESSION:
        return _numbers(known, rows, spec.target), warnings
    target, more = _classes(known, rows, spec)
    return target, warnings + more


def inputs_of(
    table: pa.Table, spec: JobSpec, left_out: Collection[str], looked_up: Collection[str]
) -> tuple[tuple[Input, ...], list[str]]:
    """Decides which columns are inputs, and why others are not.

    left_out   columns that are no inputs by the job's or the training set's own words
    looked_up  columns that a look-up gives, which may find nothing
    Raises DataInvalid when no column is left, or two have one name.
    """
    inputs: list[Input] = []
    warnings: list[str] = []
    seen: set[str] = set()
    for name, chunks in zip(table.column_names, table.columns, strict=True):
        if name in seen:
            raise DataInvalid(f"two columns are called {name!r}; rename one", column=name)
        seen.add(name)
        if name in left_out:
            continue
        found, odd = _input(name, _plain(chunks.combine_chunks()), name in looked_up)
        if found is not None:
            inputs.append(found)
        if odd:
            warnings.append(f"column {name!r} {odd}")
    if not inputs:
        raise DataInvalid("no column is left that could be an input", columns=len(table.column_names))
    return tuple(inputs), warnings


def model_table(table: pa.Table, inputs: tuple[Input, ...], rows: np.ndarray) -> pa.Table:
    """Returns the rows of the inputs as models see them: numbers and booleans as float64, text as dictionaries.

    Missing and infinite values are null.
    """
    wanted = pa.array(rows)
    columns: dict[str, pa.Array] = {}
    for column in inputs:
        values = _plain(table[column.name].combine_chunks()).take(wanted)
        columns[column.name] = (
            pc.dictionary_encode(values.cast(pa.string())) if column.kind is Kind.CATEGORICAL else _floats(values)
        )
    return pa.table(columns)


def sample(table: pa.Table, inputs: tuple[Input, ...], rows: np.ndarray) -> dict[str, list[Any]]:
    """Returns some rows of the inputs as plain values by column, None for a null; for examples and statistics."""
    chosen = pa.array(rows)
    return {c.name: _plain(table[c.name].combine_chunks()).take(chosen).to_pylist() for c in inputs}


def type_name(kind: pa.DataType) -> str:
    """Returns the name in fivefold.data.v1 of an Arrow type; "" for one that is no input."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    for is_it, name in _TYPES.items():
        if is_it(kind):
            return name
    return ""


_TYPES: Mapping[Any, str] = {
    pa.types.is_boolean: "bool",
    pa.types.is_int8: "int32",
    pa.types.is_int16: "int32",
    pa.types.is_int32: "int32",
    pa.types.is_int64: "int64",
    pa.types.is_float32: "float",
    pa.types.is_float64: "double",
    pa.types.is_string: "string",
    pa.types.is_large_string: "string",
    pa.types.is_string_view: "string",
    pa.types.is_timestamp: "timestamp",
    pa.types.is_date: "date",
}

_KINDS = {"bool": Kind.BOOLEAN, "string": Kind.CATEGORICAL} | dict.fromkeys(
    ("int32", "int64", "float", "double"), Kind.NUMERIC
)


def _input(name: str, values: pa.Array, looked_up: bool) -> tuple[Input | None, str]:
    """Returns the column as an input (None when it is none) and what is odd about it."""
    kind = type_name(values.type)
    if kind in ("timestamp", "date"):
        return None, "is a time and is left out; give calendar columns such as the hour or the weekday instead"
    if kind not in _KINDS:
        return None, "has a type that is no input and is left out"
    infinite = 0
    if kind in ("float", "double"):
        finite = pc.is_finite(values)
        infinite = len(values) - values.null_count - (pc.sum(finite).as_py() or 0)
        values = pc.if_else(finite, values, None)
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    present = len(values) - values.null_count
    if present == 0:
        return None, "has no values and is left out"
    if distinct == 1 and present == len(values):
        return None, "is constant and is left out"
    if kind == "string" and present >= _IDENTIFIER_ROWS and distinct > _IDENTIFIER_SHARE * present:
        return None, f"looks like an identifier or free text ({distinct} different values) and is left out"
    if kind in ("int32", "int64") and present >= _IDENTIFIER_ROWS and distinct == present:
        ends = pc.min_max(values).as_py()
        if ends["max"] - ends["min"] == present - 1:
            return None, "numbers the rows and is left out"
    odd = []
    if infinite:
        odd.append(f"is infinite or not a number in {infinite} rows, which count as missing")
    if present < (1 - _MOSTLY_MISSING) * len(values):
        odd.append(f"is {100 - round(100 * present / len(values))} % missing")
    required = present == len(values) and not looked_up
    return Input(name, _KINDS[kind], kind, required, distinct), " and ".join(odd)


def _numbers(known: pa.Array, rows: np.ndarray, name: str) -> Target:
    if type_name(known.type) not in ("int32", "int64", "float", "double"):
        raise TargetInvalid(
            f"target {name!r} is {type_name(known.type) or known.type}; regression needs numbers", target=name
        )
    values = known.to_numpy(zero_copy_only=False).astype(np.float64)
    if values.min() == values.max():
        raise TargetInvalid(f"target {name!r} is constant: {values[0]:g} in every row", target=name)
    return Target((), values, rows)


def _classes(known: pa.Array, rows: np.ndarray, spec: JobSpec) -> tuple[Target, list[str]]:
    kind = type_name(known.type)
    if kind in ("float", "double"):
        if not pc.all(pc.equal(known, pc.floor(known))).as_py():
            raise TargetInvalid(
                f"target {spec.target!r} holds numbers with fractions; ask for regression", target=spec.target
            )
        known = known.cast(pa.int64())
    elif kind not in ("bool", "int32", "int64", "string"):
        raise TargetInvalid(f"target {spec.target!r} is {kind or known.type}, which is no class", target=spec.target)
    encoded = known.dictionary_encode()
    labels: list[Label] = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=len(labels))
    if len(labels) > MOST_CLASSES:
        raise TargetInvalid(
            f"target {spec.target!r} has {len(labels)} classes; at most {MOST_CLASSES} are learnt",
            target=spec.target,
            classes=len(labels),
        )
    single = [label for label, rows_of in zip(labels, counts, strict=True) if rows_of == 1]
    order = sorted(label for label, rows_of in zip(labels, counts, strict=True) if rows_of > 1)
    if len(order) < 2:
        raise TargetInvalid(
            f"target {spec.target!r} has {len(order)} class with two rows or more; at least 2 are needed",
            target=spec.target,
            classes=len(order),
        )
    order = _positive_last(order, spec)
    place = {label: code for code, label in enumerate(order)}
    code_of = np.array([place.get(label, -1) for label in labels])
    coded = code_of[codes]
    kept = coded >= 0
    warnings = [f"target {spec.target!r} has class {str(label)[:40]!r} in one row; it is left out" for label in single]
    return Target(tuple(order), coded[kept], rows[kept]), warnings


def _positive_last(order: list[Label], spec: JobSpec) -> list[Label]:
    wanted = spec.positive_class
    if not wanted:
        return order
    if len(order) != 2:
        raise TargetInvalid(
            f"target {spec.target!r} has {len(order)} classes; a positive class needs two", target=spec.target
        )
    found = [label for label in order if str(label) == wanted or str(label).lower() == wanted.lower()]
    if not found:
        raise TargetInvalid(
            f"target {spec.target!r} has no class {wanted!r}, which is to be the positive one",
            target=spec.target,
            positive_class=wanted,
        )
    return sorted(order, key=lambda label: label == found[0])


def _floats(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    numbers = values.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _plain(values: Any) -> pa.Array:
    """Returns one array of a column without dictionaries."""
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
