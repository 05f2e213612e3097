"""Between Arrow arrays and the cells that on-demand functions see: exactly those of an online answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features.arrowtypes import ARROW
from fivefold_features.cells import Cells
from fivefold_features.packing import DTYPES, TEXTS
from fivefold_features.schema import Kind

_STORED = {Kind.BOOL: pa.uint8(), Kind.TIMESTAMP: pa.int64(), Kind.DATE: pa.int32()}


def to_cells(kind: Kind, array: pa.Array) -> Cells:
    """Returns an array in ARROW[kind] as cells: zero, NaN or no text where null."""
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if kind in TEXTS:
        blank: Any = "" if kind is Kind.STRING else b""
        texts = np.empty(len(array), object)
        texts[:] = [blank if value is None else value for value in array.to_pylist()]
        return Cells(texts, missing)
    numbers = array.cast(_STORED[kind]) if kind in _STORED else array
    if array.null_count:
        zero = float("nan") if kind in (Kind.FLOAT, Kind.DOUBLE) else 0
        numbers = pc.fill_null(numbers, pa.scalar(zero, numbers.type))
    return Cells(numbers.to_numpy(zero_copy_only=False).astype(DTYPES[kind], copy=False), missing)


def to_arrow(kind: Kind, cells: Cells) -> pa.Array:
    """Returns cells as an array in ARROW[kind]."""
    if kind in TEXTS:
        return pa.array(cells.values, ARROW[kind], mask=cells.missing)
    if kind is Kind.BOOL:
        return pa.array(cells.values.astype(bool), ARROW[kind], mask=cells.missing)
    return pa.array(cells.numbers(kind), _STORED.get(kind), mask=cells.missing).cast(ARROW[kind])
