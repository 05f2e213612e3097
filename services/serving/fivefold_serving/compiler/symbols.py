"""A feature while it is traced from an input column through the fitted transformers.

Immutable. `then` gives the feature after one more elementwise operation in the arithmetic that scikit-learn uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fivefold_serving.compiler import NotCompilable

MOST_CODES = 2_000_000  # numbers in one look-up table


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric column after some operations."""

    column: str
    ops: tuple[tuple[str, float], ...] = ()

    def then(self, operation: str, value: float) -> Feature:
        return replace(self, ops=(*self.ops, (operation, float(value))))


@dataclass(frozen=True, slots=True)
class Text:
    """A text column.

    none  missing is None in the model's eyes, else NaN
    fill  stands for missing; None: it stays missing
    """

    column: str
    none: bool = False
    fill: str | None = None

    def then(self, operation: str, value: float) -> Feature:
        raise NotCompilable(f"arithmetic on the text column {self.column!r}")


@dataclass(frozen=True, slots=True)
class Present:
    """One number where a column is missing, another where it is there."""

    column: str
    missing: float = 1.0
    there: float = 0.0

    def then(self, operation: str, value: float) -> Feature:
        return replace(self, missing=apply(operation, self.missing, value), there=apply(operation, self.there, value))


@dataclass(frozen=True, slots=True)
class Choice:
    """A number looked up by a column's value.

    keys     the known values; features that look up the same values share the list
    codes    a number for each key
    missing  for null, unknown: for any other value; None: the transformer refuses it
    """

    column: str
    keys: tuple[str | float, ...]
    codes: tuple[float, ...]
    missing: float | None
    unknown: float | None

    def then(self, operation: str, value: float) -> Feature:
        def mapped(code: float | None) -> float | None:
            return None if code is None else apply(operation, code, value)

        codes = tuple(apply(operation, code, value) for code in self.codes)
        return replace(self, codes=codes, missing=mapped(self.missing), unknown=mapped(self.unknown))


Feature = Number | Text | Present | Choice


def apply(operation: str, code: float, value: float) -> float:
    """Returns one operation of a plan on one number."""
    if operation == "impute":
        return float(value) if np.isnan(code) else code
    kinds: dict[str, Any] = {
        "subtract": np.subtract, "divide": np.divide, "multiply": np.multiply, "add": np.add,
        "least": np.maximum, "most": np.minimum,
    }  # fmt: skip
    return float(kinds[operation](np.float64(code), np.float64(value)))


def described(features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Returns the features as a plan has them; neighbours that look the same values up become one choice."""
    written: list[dict[str, Any]] = []
    run: list[Choice] = []

    def flush() -> None:
        if run:
            written.append(_choice(run))
            run.clear()

    for feature in features:
        if isinstance(feature, Choice) and run and _alike(run[0], feature):
            run.append(feature)
            continue
        flush()
        if isinstance(feature, Choice):
            run.append(feature)
        else:
            written.append(_single(feature))
    flush()
    return written


def columns(features: Sequence[Feature]) -> set[str]:
    """Returns the input columns that the features read."""
    return {feature.column for feature in features}


def _alike(one: Choice, other: Choice) -> bool:
    refusals = (one.missing is None) == (other.missing is None) and (one.unknown is None) == (other.unknown is None)
    return one.column == other.column and one.keys == other.keys and refusals


def _choice(run: Sequence[Choice]) -> dict[str, Any]:
    first = run[0]
    if len(first.keys) * len(run) > MOST_CODES:
        raise NotCompilable(f"a table of {len(first.keys)} by {len(run)} numbers for column {first.column!r}")
    return {
        "type": "choice",
        "column": first.column,
        "keys": list(first.keys),
        "codes": [list(row) for row in zip(*(one.codes for one in run), strict=True)] or [[0.0] * len(run)],
        "missing": None if first.missing is None else [one.missing for one in run],
        "unknown": None if first.unknown is None else [one.unknown for one in run],
    }


def _single(feature: Feature) -> dict[str, Any]:
    if isinstance(feature, Number):
        ops = [[operation, value] for operation, value in feature.ops]
        return {"type": "number", "column": feature.column, "ops": ops}
    if isinstance(feature, Present):
        return {"type": "present", "column": feature.column, "missing": feature.missing, "there": feature.there}
    raise NotCompilable(f"the text column {feature.column!r} reaches the model without an encoder")
