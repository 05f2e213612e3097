"""How a row is packed into bytes for the online store, and how many rows are unpacked at once. NumPy, no Arrow.

A packed row:  rank (24 bytes) | number of columns (u16) | one byte per column, 1 is null | 8-byte values | 4-byte
values | 1-byte values | u32 length of each text | the texts.  Values are little-endian, in the table's column order
within each part. The rank is event, version, knowledge, each as big-endian u64 with the sign flipped, so that bytes
compare as the numbers do. Columns are only ever added at the end, so the number of columns says which layout a stored
row has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fivefold_features.schema import Kind

RANK_BYTES = 24
_HEAD = RANK_BYTES + 2
_SIGN = 1 << 63
_RANK = struct.Struct(">QQQ")
DTYPES: dict[Kind, np.dtype[Any]] = {
    Kind.BOOL: np.dtype("u1"),
    Kind.INT32: np.dtype("<i4"),
    Kind.INT64: np.dtype("<i8"),
    Kind.FLOAT: np.dtype("<f4"),
    Kind.DOUBLE: np.dtype("<f8"),
    Kind.TIMESTAMP: np.dtype("<i8"),
    Kind.DATE: np.dtype("<i4"),
}
TEXTS = (Kind.STRING, Kind.BYTES)

Matrix = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Event, version and knowledge of k rows, int64 each."""

    events: npt.NDArray[np.int64]
    versions: npt.NDArray[np.int64]
    knowledge: npt.NDArray[np.int64]


class Layout:
    """Where the values of a row of these kinds are."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = tuple(kinds)
        count = len(self.kinds)
        self.texts = [i for i, kind in enumerate(self.kinds) if kind in TEXTS]
        self.at: dict[int, int] = {}
        place = _HEAD + count
        for width in (8, 4, 1):
            for i, kind in enumerate(self.kinds):
                if kind not in TEXTS and DTYPES[kind].itemsize == width:
                    self.at[i] = place
                    place += width
        self.lengths_at = place
        self.size = place + 4 * len(self.texts)

    def pack(
        self, ranks: Ranks, values: Sequence[np.ndarray | list[bytes]], nulls: Sequence[np.ndarray]
    ) -> Iterator[bytes]:
        """Yields k packed rows.

        values  per column: k numbers in DTYPES of its kind (zero or NaN where null), or k texts (empty where null)
        nulls   per column: k booleans
        """
        count = len(ranks.events)
        fixed = np.zeros((count, self.size), dtype=np.uint8)
        for place, numbers in ((0, ranks.events), (8, ranks.versions), (16, ranks.knowledge)):
            flipped = (numbers.view(np.uint64) ^ np.uint64(_SIGN)).astype(">u8")
            fixed[:, place : place + 8] = flipped.view(np.uint8).reshape(count, 8)
        fixed[:, RANK_BYTES:_HEAD] = np.frombuffer(struct.pack("<H", len(self.kinds)), dtype=np.uint8)
        for i, missing in enumerate(nulls):
            fixed[:, _HEAD + i] = missing
        for i, place in self.at.items():
            dtype = DTYPES[self.kinds[i]]
            part = np.ascontiguousarray(values[i], dtype=dtype).view(np.uint8).reshape(count, dtype.itemsize)
            fixed[:, place : place + dtype.itemsize] = part
        for order, i in enumerate(self.texts):
            place = self.lengths_at + 4 * order
            sizes = np.fromiter(map(len, values[i]), dtype="<u4", count=count)
            fixed[:, place : place + 4] = sizes.view(np.uint8).reshape(count, 4)
        data, size = fixed.tobytes(), self.size
        if not self.texts:
            yield from (data[start : start + size] for start in range(0, count * size, size))
            return
        tails = zip(*(values[i] for i in self.texts), strict=True)
        yield from (data[i * size : (i + 1) * size] + b"".join(tail) for i, tail in enumerate(tails))

    def unpack(self, rows: Sequence[bytes]) -> Unpacked:
        """Reads k rows of this layout."""
        size = self.size
        joined = b"".join(rows) if not self.texts else b"".join([row[:size] for row in rows])
        return Unpacked(self, rows, np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), size))


class Unpacked:
    """Rows of one layout, column by column."""

    def __init__(self, layout: Layout, rows: Sequence[bytes], fixed: Matrix) -> None:
        self._layout = layout
        self._rows = rows
        self._fixed = fixed
        self._ends: npt.NDArray[np.int64] | None = None

    def nulls(self, columns: Sequence[int]) -> Matrix:
        """Returns k × len(columns) bytes, 1 where the value is null."""
        return self._fixed[:, [_HEAD + column for column in columns]]

    def numbers(self, places: npt.NDArray[np.intp], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Returns k × m numbers, whose bytes are at m × itemsize places of a row."""
        return np.ascontiguousarray(self._fixed[:, places]).view(dtype)

    def texts(self, column: int) -> list[bytes]:
        """Returns k texts."""
        layout = self._layout
        if self._ends is None:
            sizes = np.ascontiguousarray(self._fixed[:, layout.lengths_at : layout.size]).view("<u4")
            self._ends = layout.size + np.cumsum(sizes, axis=1, dtype=np.int64)
        order = layout.texts.index(column)
        ends = self._ends[:, order].tolist()
        starts = self._ends[:, order - 1].tolist() if order else [layout.size] * len(ends)
        return [row[start:end] for row, start, end in zip(self._rows, starts, ends, strict=True)]


@lru_cache(maxsize=1024)
def layout_of(kinds: tuple[Kind, ...]) -> Layout:
    """Returns the layout of a table's value columns."""
    return Layout(kinds)


def columns_in(row: bytes) -> int:
    """Returns how many columns a packed row has."""
    return row[RANK_BYTES] | row[RANK_BYTES + 1] << 8


def times_of(row: bytes) -> tuple[int, int]:
    """Returns (event, knowledge) of a packed row in microseconds."""
    event, _, knowledge = _RANK.unpack_from(row)
    return event - _SIGN, knowledge - _SIGN


def pack_keys(kinds: Sequence[Kind], columns: Sequence[Iterable[object]]) -> list[bytes | None]:
    """Returns the bytes of each key; None for one with a null in it.

    kinds    the kinds of the primary keys, in the table's order
    columns  per primary key the values: bool, int (DATE: days), str; all of one length

    Different keys have different bytes: numbers have 8 of them, texts their length before them.
    """
    if len(kinds) == 1:
        pack = _KEYS[kinds[0]]
        return [None if value is None else pack(value) for value in columns[0]]
    packs = [_KEYS[kind] for kind in kinds]
    return [
        None if None in key else b"".join([pack(value) for pack, value in zip(packs, key, strict=True)])
        for key in zip(*columns, strict=True)
    ]


def _text_key(value: object) -> bytes:
    data = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
    return struct.pack(">I", len(data)) + data


def _number_key(value: object) -> bytes:
    return struct.pack(">q", value)


_KEYS = {
    Kind.BOOL: _number_key,
    Kind.INT32: _number_key,
    Kind.INT64: _number_key,
    Kind.DATE: _number_key,
    Kind.STRING: _text_key,
}
