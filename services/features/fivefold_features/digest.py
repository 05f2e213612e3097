"""Digests of frames by value: equal values give equal digests, however the rows were cut into batches.

SHA-256 over, for each column in order: its name, its kind, the digest of its validity (one byte a row, 1 is valid)
and the digest of its values (nulls as zeros or no bytes; fixed-width values little-endian, BOOL one byte, TIMESTAMP in
microseconds, DATE in days; STRING and BYTES as their bytes, followed by a third digest, of the little-endian int64
lengths), and last the number of rows.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features.schema import Column, Kind

_NUMBERS = {
    Kind.BOOL: pa.uint8(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.TIMESTAMP: pa.int64(),
    Kind.DATE: pa.int32(),
}


class FrameDigest:
    """The digest of a frame that comes batch by batch, in the Arrow types of `arrowtypes.ARROW`."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(column, [hashlib.sha256() for _ in range(3)]) for column in columns]
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes the next rows; columns are found by position."""
        self._rows += batch.num_rows
        for array, (column, hashes) in zip(batch.columns, self._columns, strict=True):
            _feed(array, column.kind, hashes)

    def hexdigest(self) -> str:
        """Returns 64 hexadecimal digits over all rows so far."""
        whole = hashlib.sha256()
        for column, (validity, values, lengths) in self._columns:
            for part in (column.name, column.kind):
                data = part.encode()
                whole.update(struct.pack("<q", len(data)) + data)
            whole.update(validity.digest() + values.digest())
            if column.kind not in _NUMBERS:
                whole.update(lengths.digest())
        whole.update(struct.pack("<q", self._rows))
        return whole.hexdigest()


def digest_of(table: pa.Table, columns: Sequence[Column]) -> str:
    """Returns the digest of a whole frame."""
    digest = FrameDigest(columns)
    for batch in table.to_batches():
        digest.add(batch)
    return digest.hexdigest()


def _feed(array: pa.Array, kind: Kind, hashes: list) -> None:
    validity, values, lengths = hashes
    validity.update(_bytes(array.is_valid().cast(pa.uint8())))
    number = _NUMBERS.get(kind)
    if number is not None:
        plain = array.cast(pa.uint8()) if kind is Kind.BOOL else array.view(number) if array.type != number else array
        values.update(_bytes(pc.fill_null(plain, pa.scalar(0, number)) if plain.null_count else plain))
        return
    texts = pc.fill_null(array.cast(pa.binary()), b"") if array.null_count else array.cast(pa.binary())
    lengths.update(_bytes(pc.binary_length(texts).cast(pa.int64())))
    offsets = texts.buffers()[1]
    if len(texts):
        ends = memoryview(offsets).cast("i")
        first, last = ends[texts.offset], ends[texts.offset + len(texts)]
        if last > first:
            values.update(memoryview(texts.buffers()[2])[first:last])


def _bytes(array: pa.Array) -> memoryview:
    """The values of an array of fixed width without nulls."""
    width = array.type.bit_width // 8
    return (
        memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
        if len(array)
        else memoryview(b"")
    )
