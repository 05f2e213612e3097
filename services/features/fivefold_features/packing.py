"""How a row is packed into bytes for the online store, and how many rows are unpacked at once. NumPy, no Arrow.

A packed row:  rank (24 bytes) | number of columns (u16) | one byte per column, 1 is null | 8-byte values | 4-byte
values | 1-byte values | u32 length of each text | the texts.  Values are little-endian, in the table's column order
within each part. The rank is event, version, knowledge, each as big-endian u64 with the sign flipped, so that bytes
compare as the numbers do. Columns are only ever added at the end, so the number of columns says which layout a stored
row has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_HEADS = np.dtype([("event", ">u8"), ("version", ">u8"), ("knowledge", ">u8"), ("columns", "<u2")])
_SECTIONS: dict[int, np.dtype[Any]] = {8: np.dtype("<u8"), 4: np.dtype("<u4"), 1: np.dtype("u1")}
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
Places = slice | npt.NDArray[np.intp]


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
        self.sections: dict[int, tuple[int, int]] = {}  # by width in bytes: begin and end within a row
        self.order: dict[int, int] = {}  # of a column among those of its width
        place = _HEAD + count
        for width in _SECTIONS:
            begin = place
            for i, kind in enumerate(self.kinds):
                if kind not in TEXTS and DTYPES[kind].itemsize == width:
                    self.at[i] = place
                    self.order[i] = (place - begin) // width
                    place += width
            self.sections[width] = begin, place
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
        joined = b"".join([row[:size] for row in rows]) if self.texts else b"".join(rows)
        return Unpacked(self, rows, np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), size))


class Unpacked:
    """Rows of one layout, column by column."""

    def __init__(self, layout: Layout, rows: Sequence[bytes], fixed: Matrix) -> None:
        self._layout = layout
        self._rows = rows
        self._fixed = fixed
        self._sections: dict[int, npt.NDArray[Any]] = {}
        self._ends: npt.NDArray[np.int64] | None = None

    def nulls(self, columns: Places) -> Matrix:
        """Returns k × m bytes, 1 where the value is null."""
        return self._fixed[:, _HEAD : _HEAD + len(self._layout.kinds)][:, columns]

    def numbers(self, kind: Kind, order: Places) -> npt.NDArray[Any]:
        """Returns m × k numbers: of the columns as wide as `kind`, those at m places of Layout.order."""
        dtype = DTYPES[kind]
        section = self._sections.get(dtype.itemsize)
        if section is None:
            begin, end = self._layout.sections[dtype.itemsize]
            plain = np.ascontiguousarray(self._fixed[:, begin:end])
            section = self._sections[dtype.itemsize] = plain.view(_SECTIONS[dtype.itemsize])
        return section.view(dtype).T[order]

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


def places(found: Sequence[int]) -> Places:
    """Returns places as what indexes fastest: a slice where they follow each other."""
    if found and list(found) == list(range(found[0], found[0] + len(found))):
        return slice(found[0], found[0] + len(found))
    return np.array(found, dtype=np.intp)


class Heads:
    """When k packed rows are true and known, and how many columns each has."""

    def __init__(self, rows: Sequence[bytes]) -> None:
        found = np.frombuffer(b"".join([row[:_HEAD] for row in rows]), _HEADS)
        self._events, self._knowledge = found["event"], found["knowledge"]
        self.columns: npt.NDArray[np.uint16] = found["columns"]

    def up_to(self, moment: int) -> npt.NDArray[np.bool_]:
        """Says of each row whether it is true and known at a moment (microseconds)."""
        limit = np.uint64(moment + _SIGN)
        known: npt.NDArray[np.bool_] = (self._events <= limit) & (self._knowledge <= limit)
        return known

    def before(self, moment: int) -> npt.NDArray[np.bool_]:
        """Says of each row whether its event is before a moment."""
        older: npt.NDArray[np.bool_] = self._events < np.uint64(max(moment + _SIGN, 0))
        return older

    def events(self) -> npt.NDArray[np.int64]:
        """Returns the events in microseconds."""
        return (self._events.astype(np.uint64) ^ np.uint64(_SIGN)).view(np.int64)


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
        values = list(columns[0])
        if None not in values:
            return list(_PACKS[kinds[0]](values))
        packed = iter(_PACKS[kinds[0]]([value for value in values if value is not None]))
        return [None if value is None else next(packed) for value in values]
    parts = [pack_keys([kind], [column]) for kind, column in zip(kinds, columns, strict=True)]
    return [None if None in key else b"".join(key) for key in zip(*parts, strict=True)]


def _texts(values: Iterable[Any]) -> list[bytes]:
    data = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
    return [_length(len(one)) + one for one in data]


def _numbers(values: Iterable[Any]) -> list[bytes]:
    return [_number(value) for value in values]


_length, _number = struct.Struct(">I").pack, struct.Struct(">q").pack
_PACKS: dict[Kind, Callable[[Iterable[Any]], list[bytes]]] = {
    Kind.BOOL: _numbers,
    Kind.INT32: _numbers,
    Kind.INT64: _numbers,
    Kind.DATE: _numbers,
    Kind.STRING: _texts,
}
