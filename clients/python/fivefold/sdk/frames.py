"""Frames between Python and the wire: pandas, polars or pyarrow in, an Arrow IPC stream in pieces of 1 MiB out.

A frame is recognised without importing the library that it is of. Rows are converted a slice at a time, so that sending
a frame never holds a second copy of it. Types are widened to the ones that feature tables have (int16 to int32,
categories to their values, times to microseconds); a time without a zone is refused, since it could mean any instant.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.extras import need

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = 1 << 20  # bytes of one message
_ROWS = 1 << 16  # rows converted at a time


def library_of(frame: Any) -> str:
    """Returns "pandas", "polars" or "pyarrow", or "" for what is no frame of theirs."""
    home = type(frame).__module__.partition(".")[0]
    kind = type(frame).__name__
    frames = {
        "pandas": {"DataFrame"},
        "polars": {"DataFrame"},
        "pyarrow": {"Table", "RecordBatch", "RecordBatchReader"},
    }
    return home if kind in frames.get(home, ()) else ""


def column_names(frame: Any) -> list[str]:
    """Returns the names of a frame's columns, in order."""
    return list(frame.schema.names) if library_of(frame) == "pyarrow" else [str(name) for name in frame.columns]


def schema_of(frame: Any) -> pa.Schema:
    """Returns the Arrow schema that the frame is sent with.

    Raises InvalidArgument for a column whose type has no place in a feature table or whose times have no zone.
    """
    return _batches(frame)[0]


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Returns an Arrow schema with its types widened as `schema_of` does."""
    return _widened(schema, need("pyarrow", "reading a schema"))


def pieces(frame: Any) -> Iterator[bytes]:
    """Returns the frame as one Arrow IPC stream in pieces of at most 1 MiB, made as they are asked for.

    Raises InvalidArgument as `schema_of` does, at once; for a value that does not fit its column, with its piece.
    """
    return _streamed(*_batches(frame))


def _streamed(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    pa = need("pyarrow", "sending a frame")
    pending = _Pending()
    with pa.ipc.new_stream(pa.PythonFile(pending, "w"), schema) as writer:
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS):
                writer.write_batch(_fitted(batch.slice(start, _ROWS), schema, pa))
                yield from pending.take()
    yield from pending.take()


def batches_of(messages: Iterable[bytes]) -> pa.RecordBatchReader:
    """Reads an Arrow IPC stream that arrives in pieces; a batch is decoded when it is asked for."""
    pa = need("pyarrow", "receiving a frame")
    return pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(_Arriving(messages), PIECE), "r"))


def file_of(path: Path) -> pa.RecordBatchReader:
    """Opens a Parquet or CSV file for sending, a part at a time.

    Raises InvalidArgument for another kind of file, and for one that cannot be read.
    """
    pa = need("pyarrow", "reading a file of rows")
    try:
        if path.suffix.lower() == ".parquet":
            file = need("pyarrow.parquet", "reading Parquet").ParquetFile(path)
            return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(_ROWS))
        if path.suffix.lower() == ".csv":
            reader = need("pyarrow.csv", "reading CSV").open_csv(path)
            return pa.RecordBatchReader.from_batches(reader.schema, reader)
    except (OSError, pa.ArrowException) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", reason="FIELD_INVALID") from None
    raise InvalidArgument(f"{path} is neither .parquet nor .csv", reason="FIELD_INVALID", facts={"path": str(path)})


def _batches(frame: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the schema to send and the frame's batches as they are, made one at a time."""
    pa = need("pyarrow", "sending a frame")
    library = library_of(frame)
    if library == "pandas":
        unnamed = [name for name in frame.columns if not isinstance(name, str)]
        if unnamed:
            raise InvalidArgument(f"column {unnamed[0]!r} has no name that is text", reason="SCHEMA_MISMATCH")
        natural = _natural(frame, pa)
        return _widened(natural, pa), (
            pa.RecordBatch.from_pandas(frame.iloc[start : start + _ROWS], schema=natural, preserve_index=False)
            for start in range(0, len(frame), _ROWS)
        )
    if library == "polars":
        slices = (frame.slice(start, _ROWS).to_arrow() for start in range(0, frame.height, _ROWS))
        return _widened(frame.head(0).to_arrow().schema, pa), (batch for part in slices for batch in part.to_batches())
    if library == "pyarrow":
        if type(frame).__name__ == "RecordBatch":
            return _widened(frame.schema, pa), iter([frame])
        return _widened(frame.schema, pa), iter(
            frame if type(frame).__name__ == "RecordBatchReader" else frame.to_batches()
        )
    if isinstance(frame, dict):
        table = pa.table(frame)
        return _widened(table.schema, pa), iter(table.to_batches())
    raise InvalidArgument(
        f"expected a pandas, polars or pyarrow frame or a dict of columns, got {type(frame).__name__}",
        reason="FIELD_INVALID",
    )


def _natural(frame: Any, pa: Any) -> pa.Schema:
    try:
        return pa.Schema.from_pandas(frame, preserve_index=False).remove_metadata()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidArgument(
            f"a column holds values of several types: {error.args[0]}",
            reason="SCHEMA_MISMATCH",
            hint="give the column one type: frame['column'].astype(...)",
        ) from None


def _widened(schema: pa.Schema, pa: Any) -> pa.Schema:
    return pa.schema([pa.field(field.name, _plain_type(field.type, field.name, pa)) for field in schema])


def _plain_type(kind: pa.DataType, column: str, pa: Any) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type, column, pa)
    if types.is_timestamp(kind):
        if kind.tz is None:
            raise InvalidArgument(
                f"column {column!r} holds times without a time zone",
                reason="TIMESTAMP_INVALID",
                facts={"column": column},
                hint=f"say which zone: frame[{column!r}] = frame[{column!r}].dt.tz_localize('UTC')",
            )
        return pa.timestamp("us", tz="UTC")
    for fits, wide in (
        (types.is_boolean, pa.bool_()),
        (lambda k: types.is_int8(k) or types.is_int16(k) or types.is_int32(k), pa.int32()),
        (lambda k: types.is_uint8(k) or types.is_uint16(k), pa.int32()),
        (types.is_integer, pa.int64()),
        (lambda k: types.is_float16(k) or types.is_float32(k), pa.float32()),
        (types.is_float64, pa.float64()),
        (lambda k: types.is_string(k) or types.is_large_string(k) or types.is_string_view(k), pa.string()),
        (lambda k: types.is_binary(k) or types.is_large_binary(k) or types.is_binary_view(k), pa.binary()),
        (types.is_date, pa.date32()),
        (types.is_null, pa.null()),
    ):
        if fits(kind):
            return wide
    raise InvalidArgument(
        f"column {column!r} is of type {kind}; it must be of bool, integers, floats, text, bytes, times or dates",
        reason="SCHEMA_MISMATCH",
        facts={"column": column, "type": str(kind)},
    )


def _fitted(batch: pa.RecordBatch, schema: pa.Schema, pa: Any) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        try:
            # Times lose what is finer than microseconds; every other loss is an error.
            columns.append(column.cast(field.type, safe=not pa.types.is_timestamp(field.type)))
        except pa.ArrowInvalid as error:
            raise InvalidArgument(
                f"column {field.name!r} holds a value that does not fit {field.type}: {error.args[0]}",
                reason="SCHEMA_MISMATCH",
                facts={"column": field.name, "type": str(field.type)},
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class _Pending(io.RawIOBase):
    """Where the IPC writer writes; what it wrote is taken out after each batch."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        return len(data)

    def take(self) -> Iterator[bytes]:
        with memoryview(self._buffer) as written:
            for start in range(0, len(written), PIECE):
                yield bytes(written[start : start + PIECE])
        self._buffer.clear()


class _Arriving(io.RawIOBase):
    """Pieces of bytes as a file that is read once, from front to back."""

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._messages = iter(messages)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._rest:
            following = next(self._messages, None)
            if following is None:
                return 0
            self._rest = memoryview(following)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
