"""Rows that a plan is checked with: the stored example, then random ones with missing and unknown values, and the edges
of what the model knows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from fivefold.models.package import Package
from fivefold.models.signature import Column, Signature
from fivefold_serving.columns import Values
from fivefold_serving.native import parts

ROWS = 256
_MISSING = 0.15  # share of values
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def of(package: Package, model: Any, not_null: set[str], seed: int = 5) -> dict[str, Values]:
    """Returns ROWS rows and the example's, by column. Columns in `not_null`, or required, have no missing values."""
    signature: Signature = package.signature  # type: ignore[assignment]  # Native has checked it
    random = np.random.default_rng(seed)
    known = _known_texts(model)
    made: dict[str, Values] = {}
    for column in signature.inputs:
        example = encoded((package.input_example or {}).get(column.name, []), column)
        nulls = not column.required and column.name not in not_null
        drawn = _drawn(column, example, package, known, random)
        values = [*example, *drawn]
        if nulls:
            values = [
                None if place >= len(example) and random.random() < _MISSING else v for place, v in enumerate(values)
            ]
        else:
            filler = next((value for value in drawn if value is not None), 0.0)
            values = [filler if value is None else value for value in values]
        made[column.name] = (
            values
            if column.type == "string"
            else np.array([np.nan if value is None else value for value in values], float)
        )
    return made


def encoded(values: Any, column: Column) -> list[Any]:
    """Returns example values as `fivefold_serving.columns` has them, None for missing."""
    if column.type == "string":
        return [None if value is None else str(value) for value in values]
    return [None if value is None else _number(value, column.type) for value in values]


def _number(value: Any, kind: str) -> float:
    if isinstance(value, datetime):
        return (value - _EPOCH).total_seconds() * 1e6
    if isinstance(value, date):
        return float((value - _EPOCH.date()).days)
    number = float(value)
    return float(np.float32(number)) if kind == "float" else number


def _drawn(column: Column, example: list[Any], package: Package, known: list[str], random: Any) -> list[Any]:
    if column.type == "string":
        pool = [*known, *(value for value in example if value is not None), "a value that nobody knows", ""]
        return [pool[place] for place in random.integers(0, len(pool), ROWS)]
    if column.type == "bool":
        return random.integers(0, 2, ROWS).astype(float).tolist()
    seen = np.array([value for value in example if value is not None], float)
    if column.type in ("timestamp", "date"):
        return random.choice(seen, ROWS).tolist() if len(seen) else [0.0] * ROWS
    quantiles = (package.statistics or {}).get("inputs", {}).get(column.name, {}).get("quantiles") or []
    spread = np.array(quantiles or seen if len(seen) or quantiles else [0.0, 1.0], float)
    low, high = float(spread.min()), float(spread.max())
    width = (high - low) or max(1.0, abs(high))
    drawn = random.uniform(low - 0.1 * width, high + 0.1 * width, ROWS)
    whole = random.random(ROWS) < 0.5  # values as they occur: whole, or one of those that were seen
    drawn = np.where(whole, np.round(drawn), drawn)
    drawn[: len(spread)] = spread[:ROWS]
    if column.type.startswith("int"):
        return np.round(drawn).tolist()
    return drawn.astype(np.float32).astype(float).tolist() if column.type == "float" else drawn.tolist()


def _known_texts(model: Any) -> list[str]:
    """Returns categories of the model's encoders, at most 200: the first and last ones of each."""
    found: list[str] = []
    for part in parts(model):
        for categories in getattr(part, "categories_", ()):
            texts = [str(value) for value in categories if isinstance(value, str)]
            found += [*texts[:5], *texts[-5:]]
    return list(dict.fromkeys(found))[:200]
