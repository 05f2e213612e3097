"""Columns as on-demand functions see them: NumPy values with a mask of what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fivefold_features.packing import DTYPES, TEXTS
from fivefold_features.schema import Kind

_SEEN = {  # the dtype in which a function gets a kind that is not stored in it
    Kind.BOOL: np.dtype("?"),
    Kind.TIMESTAMP: np.dtype("<M8[us]"),
    Kind.DATE: np.dtype("<M8[D]"),
}


@dataclass(frozen=True, slots=True)
class Cells:
    """n values and where they are missing. Numbers in the dtypes of packing.DTYPES, texts as objects (str or bytes)."""

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]

    @classmethod
    def of_numbers(cls, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None = None) -> Cells:
        """Takes numbers as they are stored; nothing is missing without a mask."""
        return cls(values, np.zeros(len(values), bool) if missing is None else missing)

    @classmethod
    def of_texts(cls, kind: Kind, texts: Sequence[bytes], missing: npt.NDArray[np.bool_] | None = None) -> Cells:
        """Takes texts as bytes."""
        read = [text.decode() for text in texts] if kind is Kind.STRING else texts
        return cls(_objects(read), np.zeros(len(texts), bool) if missing is None else missing)

    @classmethod
    def of_values(cls, kind: Kind, values: Sequence[Any]) -> Cells:
        """Takes plain values, None where missing: texts, or numbers as they are stored."""
        missing = np.fromiter((value is None for value in values), bool, len(values))
        if kind in TEXTS:
            return cls(_objects(values), missing)
        zero = np.nan if kind in (Kind.FLOAT, Kind.DOUBLE) else 0
        return cls(np.array([zero if value is None else value for value in values], DTYPES[kind]), missing)

    @classmethod
    def nothing(cls, kind: Kind, rows: int) -> Cells:
        """Returns rows that are all missing."""
        return cls(_blank(kind, rows), np.ones(rows, bool))

    @classmethod
    def made(cls, kind: Kind, values: Any, rows: int) -> Cells:
        """Takes what a function returned. Raises TypeError or ValueError when it is not `rows` values of the kind."""
        missing = np.ma.getmaskarray(values).copy() if isinstance(values, np.ma.MaskedArray) else None
        if kind in TEXTS:
            listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
            return cls._made_texts(kind, listed, missing, rows)
        array = np.asarray(np.ma.getdata(values))
        if array.shape != (rows,):
            raise ValueError(f"has the shape {array.shape}; it must be ({rows},)")
        wanted = _SEEN.get(kind, DTYPES[kind])
        casting = "same_kind" if kind in (Kind.FLOAT, Kind.DOUBLE, Kind.TIMESTAMP, Kind.DATE) else "safe"
        if not np.can_cast(array.dtype, wanted, casting) or array.dtype.kind == "b" != wanted.kind:  # type: ignore[arg-type]
            raise TypeError(f"has the type {array.dtype}; {kind} must be {wanted}")
        missing = np.zeros(rows, bool) if missing is None else missing
        if array.dtype.kind == "M":
            missing |= np.isnat(array)
        blank = _blank(kind, rows)
        stored = _stored(kind, array.astype(wanted))
        return cls(np.where(missing, blank, stored), missing)

    @classmethod
    def _made_texts(cls, kind: Kind, listed: list[Any], missing: npt.NDArray[np.bool_] | None, rows: int) -> Cells:
        if len(listed) != rows:
            raise ValueError(f"has {len(listed)} values; it must have {rows}")
        wanted = str if kind is Kind.STRING else bytes
        if missing is None:
            missing = np.fromiter((value is None for value in listed), bool, rows)
        blank = wanted()
        values = [blank if gone else value for value, gone in zip(listed, missing.tolist(), strict=True)]
        for value in values:
            if type(value) is not wanted:
                raise TypeError(f"has a {type(value).__name__}; {kind} must be {wanted.__name__}")
        return cls(_objects(values), missing)

    def of_kind(self, kind: Kind) -> Cells:
        """Returns the same values in the dtype of a kind that takes them."""
        if kind in TEXTS or self.values.dtype == DTYPES[kind]:
            return self
        return Cells(self.values.astype(DTYPES[kind]), self.missing)

    def seen(self, kind: Kind, rows: npt.NDArray[np.intp] | None, *, masked: bool) -> npt.NDArray[Any]:
        """Returns what a function gets: these rows (None: all), read-only, as a MaskedArray on demand."""
        values = self.values if rows is None else self.values[rows]
        if kind is Kind.DATE:
            values = values.astype(_SEEN[kind])
        elif kind in _SEEN:
            values = values.view(_SEEN[kind])
        values = values.view()
        values.flags.writeable = False
        if not masked:
            return values
        shown: npt.NDArray[Any] = np.ma.MaskedArray(values, self.missing if rows is None else self.missing[rows])
        return shown

    def spread(self, where: npt.NDArray[np.intp], rows: int) -> Cells:
        """Returns `rows` values with these at some places and the others missing."""
        values = np.zeros(rows, self.values.dtype)
        if self.values.dtype.kind == "f":
            values[:] = np.nan
        elif self.values.dtype == object:
            values[:] = b"" if len(self.values) and isinstance(self.values[0], bytes) else ""
        missing = np.ones(rows, bool)
        values[where] = self.values
        missing[where] = self.missing
        return Cells(values, missing)

    def numbers(self, kind: Kind) -> npt.NDArray[Any]:
        """Returns the numbers as they are stored, zero or NaN where missing."""
        return self.values.astype(DTYPES[kind], copy=False)

    def texts(self) -> list[bytes]:
        """Returns texts as bytes, none where missing."""
        return [
            b"" if gone else value.encode() if isinstance(value, str) else value
            for value, gone in zip(self.values.tolist(), self.missing.tolist(), strict=True)
        ]


def _blank(kind: Kind, rows: int) -> npt.NDArray[Any]:
    if kind in TEXTS:
        return _objects(["" if kind is Kind.STRING else b""] * rows)
    return np.full(rows, np.nan if kind in (Kind.FLOAT, Kind.DOUBLE) else 0, DTYPES[kind])


def _stored(kind: Kind, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if kind is Kind.DATE:
        return array.view("<i8").astype(DTYPES[kind])
    return array.view(DTYPES[kind]) if kind in _SEEN else array


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
