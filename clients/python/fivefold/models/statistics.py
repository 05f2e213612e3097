"""Summarises columns, so that what a model sees later can be compared with what it was trained on.

Needs numpy only. The summaries are plain JSON, at most about 1 KB a column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fivefold.models.package import PackageInvalid, columns_of
from fivefold.models.signature import Column, Signature

QUANTILES = tuple(place / 20 for place in range(21))
_MOST_VALUES = 20
_LONGEST = 40  # characters of a text that is kept


def of(inputs: Any, outputs: Any, signature: Signature) -> dict[str, Any]:
    """Returns {"inputs": {column: summary}, "outputs": {column: summary}} of two tables (frames or mappings of
    columns).

    A summary of numbers has rows, missing, mean, std, quantiles (21, of the values that are there); one of text or
    booleans has rows, missing, distinct and the 20 most frequent values with their counts.
    """
    sides = {"inputs": (inputs, signature.inputs), "outputs": (outputs, signature.outputs)}
    return {
        side: {c.name: summary(values, c.type) for c, values in _pairs(table, columns)}
        for side, (table, columns) in sides.items()
    }


def summary(values: Sequence[Any], kind: str) -> dict[str, Any]:
    """Summarises one column; `kind` is its type. None is missing."""
    there = [value for value in values if value is not None]
    counts: dict[str, Any] = {"rows": len(values), "missing": len(values) - len(there)}
    if kind in ("string", "bool"):
        found = Counter(str(value)[:_LONGEST] for value in there)
        top = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_MOST_VALUES]
        return counts | {"distinct": len(found), "top": [{"value": value, "rows": rows} for value, rows in top]}
    if kind in ("timestamp", "date"):
        ends = {"first": min(there).isoformat(), "last": max(there).isoformat()} if there else {}
        return counts | ends
    numbers = np.asarray(there, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return counts
    quantiles = [float(q) for q in np.quantile(numbers, QUANTILES)]
    return counts | {"mean": float(numbers.mean()), "std": float(numbers.std()), "quantiles": quantiles}


def _pairs(table: Any, columns: tuple[Column, ...]) -> list[tuple[Column, list[Any]]]:
    try:
        taken = columns_of(table, Signature(columns))
    except PackageInvalid as error:
        raise PackageInvalid(str(error).replace("the input example", "the table")) from None
    return [(column, taken[column.name]) for column in columns]
