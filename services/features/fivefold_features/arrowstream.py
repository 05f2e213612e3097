"""Arrow IPC streams in pieces of any size <-> record batches, one batch in memory at a time.

What comes in is hostile until checked: lengths are bounded before they are allocated, compression (which a few bytes
can blow up to gigabytes) is refused, and every batch is validated whole before anything reads it. A stream must end
with its end mark, so that one that was cut off is never taken for a shorter one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import pyarrow as pa

from fivefold_features.errors import ArrowInvalid

MAX_BATCH = 256 * 1024 * 1024  # bytes of one message of the stream, which is one record batch
MAX_METADATA = 16 * 1024 * 1024  # bytes of the description of a message
PIECE = 1024 * 1024  # bytes of the pieces that go out
_MARK = b"\xff\xff\xff\xff"
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2


def read(pieces: Iterable[bytes]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the schema and the batches of a stream, read as they are asked for.

    Raises ArrowInvalid, then or while iterating; whatever `pieces` raises passes through.
    """
    source = _Source(pieces)
    checked = _Checked(source)
    try:
        reader = pa.ipc.open_stream(pa.PythonFile(checked, mode="r"))
        for field in reader.schema:  # Names and time zones that are no UTF-8 fail here, not where they are used.
            str((field.name, field.type, getattr(field.type, "tz", "")))
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise _invalid("it does not begin with an Arrow schema") from error
    return reader.schema, _batches(reader, checked)


def write(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yields an IPC stream of the batches in pieces of at most PIECE bytes."""
    sink = _Sink()
    writer = pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema)
    for batch in batches:
        writer.write_batch(batch)
        yield from sink.full()
    writer.close()
    yield from sink.rest()


def _batches(reader: pa.RecordBatchStreamReader, source: _Checked) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
            batch.validate(full=True)
        except StopIteration:
            break
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _invalid("a record batch is damaged") from error
        yield batch
    source.check_end()


class _Source:
    """Pieces as a file of exact reads."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def take(self, count: int) -> bytes:
        """Returns `count` bytes, fewer only at the end."""
        taken: list[memoryview] = []
        while count:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
                continue
            part, self._rest = self._rest[:count], self._rest[count:]
            taken.append(part)
            count -= len(part)
        return b"".join(taken)


class _Checked:
    """The file that Arrow reads from: passes messages on whole, after a look at their envelope.

    A message is the mark, the length of its metadata (int32), the metadata (a flatbuffer `Message`), the body.
    """

    closed = False

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._message = memoryview(b"")
        self._ended = False

    def read(self, count: int = -1) -> bytes:
        if not self._message and not self._ended:
            self._message = memoryview(self._next())
        part, self._message = self._message[:count], self._message[count:]
        return bytes(part)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        """Nothing is buffered for writing."""

    def check_end(self) -> None:
        """Raises ArrowInvalid unless the end mark came, and nothing after it."""
        if not self._ended:
            raise _invalid("it ends without its end mark")
        if self._source.take(1):
            raise _invalid("bytes follow its end mark")

    def _next(self) -> bytes:
        head = self._source.take(8)
        if len(head) < 8:
            raise _invalid("it ends without its end mark" if not head else "it ends within a message")
        if head[:4] != _MARK:
            raise _invalid("a message does not begin with the continuation mark")
        (length,) = struct.unpack("<i", head[4:])
        if length == 0:
            self._ended = True
            return head
        if not 0 < length <= MAX_METADATA:
            raise _invalid(f"the description of a message has {length} bytes; at most {MAX_METADATA} are taken")
        metadata = self._source.take(length)
        if len(metadata) < length:
            raise _invalid("it ends within a message")
        body_length = _body_length(metadata)
        if not 0 <= body_length <= MAX_BATCH:
            raise _invalid(
                f"a record batch has {body_length} bytes; at most {MAX_BATCH} are taken, so send smaller batches"
            )
        body = self._source.take(body_length)
        if len(body) < body_length:
            raise _invalid("it ends within a message")
        return b"".join((head, metadata, body))


def _body_length(metadata: bytes) -> int:
    """Returns how long the body is, from a flatbuffer Message {version, header_type, header, bodyLength}.

    Raises ArrowInvalid when it is compressed.
    """
    try:
        (message,) = struct.unpack_from("<I", metadata, 0)
        kind_at, header_at, length_at = (_field(metadata, message, index) for index in (1, 2, 3))
        kind = metadata[kind_at] if kind_at else 0
        if header_at and kind in (_RECORD_BATCH, _DICTIONARY_BATCH):
            header = header_at + struct.unpack_from("<I", metadata, header_at)[0]
            if kind == _DICTIONARY_BATCH:
                data_at = _field(metadata, header, 1)
                header = data_at + struct.unpack_from("<I", metadata, data_at)[0] if data_at else 0
            if header and _field(metadata, header, 3):
                raise _invalid("it is compressed; send it without compression")
        return struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
    except (struct.error, IndexError):
        raise _invalid("the description of a message is damaged") from None


def _field(buffer: bytes, table: int, index: int) -> int:
    """Returns where a field of a flatbuffer table is, 0 when it is not set."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0:
        raise struct.error
    (size,) = struct.unpack_from("<H", buffer, vtable)
    at = 4 + 2 * index
    offset = struct.unpack_from("<H", buffer, vtable + at)[0] if at + 2 <= size else 0
    return table + offset if offset else 0


class _Sink:
    """The file that Arrow writes to, emptied between batches."""

    closed = False

    def __init__(self) -> None:
        self._buffer = bytearray()

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._buffer += view
        return view.nbytes

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        """`full` and `rest` hand the bytes on."""

    def full(self) -> Iterator[bytes]:
        """Yields as many whole pieces as there are."""
        whole = len(self._buffer) - len(self._buffer) % PIECE
        for start in range(0, whole, PIECE):
            yield bytes(self._buffer[start : start + PIECE])
        del self._buffer[:whole]

    def rest(self) -> Iterator[bytes]:
        """Yields everything that is left."""
        yield from self.full()
        if self._buffer:
            yield bytes(self._buffer)
            self._buffer.clear()


def _invalid(why: str) -> ArrowInvalid:
    return ArrowInvalid(f"the data is no Arrow IPC stream that this service takes: {why}", why=why)
