"""Values of a request on their way to a model: one array or list per column, whatever protocol brought them.

    bool, int32, int64, float, double   float64 [rows]; NaN is missing
    timestamp, date                     float64 [rows], microseconds or days since 1970; NaN is missing
    string                              list of str or None

One representation for all numbers, because every model computes with floating point in the end; 53 bits hold all
integers up to 9 * 10^15 and all times up to the year 2255. Pure: numpy only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Texts = list[str | None]
Values = Numbers | Texts
Columns = Mapping[str, Values]

_LENGTH = struct.Struct("<I")


def rows_of(columns: Columns) -> int:
    """Returns the number of rows; 0 without columns."""
    return len(next(iter(columns.values()), ()))


def packed(columns: Columns) -> bytes:
    """Returns columns as bytes, for another process: a JSON header with the texts, then the numbers."""
    numbers = {name: values for name, values in columns.items() if isinstance(values, np.ndarray)}
    texts = {name: values for name, values in columns.items() if not isinstance(values, np.ndarray)}
    header = json.dumps({"order": list(columns), "numbers": list(numbers), "rows": rows_of(columns), "texts": texts})
    raw = header.encode()
    return b"".join([_LENGTH.pack(len(raw)), raw, *(np.ascontiguousarray(n).tobytes() for n in numbers.values())])


def unpacked(raw: bytes) -> dict[str, Values]:
    """Reads what `packed` wrote."""
    (length,) = _LENGTH.unpack_from(raw)
    start = _LENGTH.size + length
    header = json.loads(raw[_LENGTH.size : start])
    rows, found = header["rows"], dict[str, Values](header["texts"])
    for place, name in enumerate(header["numbers"]):
        found[name] = np.frombuffer(raw, np.float64, rows, start + place * rows * 8)
    return {name: found[name] for name in header["order"]}
