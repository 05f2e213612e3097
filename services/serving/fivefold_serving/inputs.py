"""What a model's inputs may hold: the types of its signature, enforced with errors that name column, value and
expectation.
"""

from __future__ import annotations

import numpy as np

from fivefold.models.signature import Column
from fivefold_serving.columns import Numbers
from fivefold_serving.errors import InputMismatch

EXPECTED = {
    "bool": "booleans",
    "int32": "32-bit integers",
    "int64": "64-bit integers",
    "float": "floating point numbers",
    "double": "floating point numbers",
    "string": "text",
    "timestamp": "integers: microseconds since 1970",
    "date": "integers: days since 1970",
}
_INTEGERS = {"int32": 2**31, "int64": 2**63, "date": 2**31, "timestamp": 2**63}
_EXACT = 2**53  # up to which models, which calculate in float64, see the integer that was sent


def checked(numbers: Numbers, column: Column) -> Numbers:
    """Returns float64 numbers as the column's type has them. Raises InputMismatch for what does not fit it."""
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise InputMismatch.of(column.name, f"{numbers[row]} in row {row}", "finite numbers")
    if column.type in _INTEGERS:
        most = _INTEGERS[column.type]
        there = np.where(np.isnan(numbers), 0.0, numbers)
        wrong = (there != np.floor(there)) | (there < -most) | (there >= most)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputMismatch.of(column.name, f"{numbers[row]} in row {row}", EXPECTED[column.type])
        if (np.abs(there) > _EXACT).any():
            raise InputMismatch.of(column.name, "an integer beyond 2^53", "integers that floating point holds exactly")
    if column.type == "float":
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32).astype(np.float64)
        if np.isinf(numbers).any():
            raise InputMismatch.of(column.name, "a number beyond single precision", "32-bit floating point numbers")
    return numbers
