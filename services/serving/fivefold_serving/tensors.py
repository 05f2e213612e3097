"""Tensors of the Open Inference Protocol to values of a model's inputs and back; numpy only.

Inputs come as one tensor for each column, of shape [rows] or [rows, 1], or as one numeric tensor of shape [rows,
columns]. What is not exactly that is refused with an error that names the tensor: a shape or type that is guessed
gives wrong numbers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from fivefold.data.v1 import data_pb2
from fivefold.inference.v1 import inference_pb2 as pb
from fivefold.models.signature import Column, Signature
from fivefold_serving.columns import Texts, Values
from fivefold_serving.errors import InputMismatch, TooManyRows
from fivefold_serving.inputs import EXPECTED, checked
from fivefold_serving.predict import MOST_ROWS, Outputs, Prediction
from fivefold_serving.wire import to_column

MATRIX = "input-0"
_LENGTH = struct.Struct("<I")
_NUMPY = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_CONTENTS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_DATATYPES = {
    "bool": "BOOL", "int32": "INT32", "int64": "INT64", "float": "FP32", "double": "FP64", "string": "BYTES",
    "timestamp": "INT64", "date": "INT32",
}  # fmt: skip
_INTEGERS = frozenset(name for name in _NUMPY if "INT" in name)


def datatype(column: Column) -> str:
    """Returns the protocol's name of a column's type."""
    return _DATATYPES[column.type]


class Given:
    """The tensors of a request as the columns of a signature. Implements predict.Given."""

    def __init__(self, request: pb.ModelInferRequest, signature: Signature) -> None:
        """Raises InputMismatch for tensors whose number, shape or contents contradict each other."""
        self._raw = list(request.raw_input_contents)
        self._tensors: dict[str, tuple[int, pb.ModelInferRequest.InferInputTensor]] = {}
        if self._raw and len(self._raw) != len(request.inputs):
            raise InputMismatch(
                f"raw_input_contents has {len(self._raw)} items; expected {len(request.inputs)}, one for each input",
                came=len(self._raw),
                expected=len(request.inputs),
            )
        for place, tensor in enumerate(request.inputs):
            if tensor.name in self._tensors:
                raise _wrong(tensor.name, "the name twice", "each name once")
            self._tensors[tensor.name] = place, tensor
        self._matrix = self._as_matrix(signature)
        if self._matrix is not None:
            self.rows = self._matrix.shape[0]
            self._places = {column.name: place for place, column in enumerate(signature.inputs)}
            return
        lengths = {name: _rows(tensor) for name, (_, tensor) in self._tensors.items()}
        for name, rows in lengths.items():
            if rows != next(iter(lengths.values())):
                raise _wrong(name, f"{rows} rows", f"{next(iter(lengths.values()))} rows, as the other tensors have")
        self.rows = next(iter(lengths.values()), 0)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tensors if self._matrix is None else self._places)

    def key(self, column: Column) -> data_pb2.Column:
        return to_column(column.name, self.values(column), column.type)

    def values(self, column: Column) -> Values:
        if self._matrix is not None:
            return checked(np.ascontiguousarray(self._matrix[:, self._places[column.name]]), column)
        place, tensor = self._tensors[column.name]
        kind = tensor.datatype
        if kind not in _NUMPY and kind != "BYTES":
            raise _wrong(tensor.name, f"datatype {kind[:20]!r}", datatype(column))
        if not _fits(kind, column):
            raise _wrong(tensor.name, kind, f"{datatype(column)} ({EXPECTED[column.type]})")
        elements = self._elements(place, tensor)
        if kind == "BYTES":
            return _decoded(tensor.name, elements)
        return checked(_floats(tensor.name, elements, kind), column)

    def _as_matrix(self, signature: Signature) -> Any:
        """Returns [rows, columns] float64 where the request is one matrix, else None."""
        named = {column.name for column in signature.inputs}
        if len(self._tensors) != 1:
            return None
        name, (place, tensor) = next(iter(self._tensors.items()))
        if name in named or len(tensor.shape) != 2:
            return None
        for column in signature.inputs:
            if column.type in ("string", "timestamp", "date"):
                raise _wrong(name, "one matrix", f"a tensor for each column, since {column.name!r} is {column.type}")
        if tensor.datatype not in _NUMPY or tensor.shape[1] != len(named):
            came = f"{tensor.datatype[:20]} {list(tensor.shape)}"
            raise _wrong(name, came, f"a numeric tensor of shape [rows, {len(named)}]")
        _check_count(name, tensor.shape[0])
        elements = self._elements(place, tensor)
        return _floats(name, elements, tensor.datatype).reshape(tensor.shape[0], len(named))

    def _elements(self, place: int, tensor: pb.ModelInferRequest.InferInputTensor) -> Any:
        """Returns an array of numbers or a list of bytes, as many as the shape says."""
        count, kind = math.prod(tensor.shape), tensor.datatype
        if self._raw:
            if tensor.HasField("contents"):
                raise _wrong(tensor.name, "contents and raw_input_contents", "one of them")
            return _of_bytes(tensor.name, self._raw[place], kind, count)
        if kind not in _CONTENTS:
            raise _wrong(tensor.name, f"{kind} in contents", f"{kind} in raw_input_contents")
        field = _CONTENTS[kind]
        contents = getattr(tensor.contents, field)
        others = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
        if others:
            raise _wrong(tensor.name, f"{others[0]}", f"{field}, since the datatype is {kind}")
        if len(contents) != count:
            raise _wrong(tensor.name, f"{len(contents)} elements", f"{count}, as shape {list(tensor.shape)} says")
        if kind == "BYTES":
            return list(contents)
        numbers = np.array(contents, dtype=object if kind == "UINT64" else None)
        low, high = _range(kind)
        if low is not None and len(numbers) and not (low <= numbers.min() and numbers.max() <= high):
            raise _wrong(tensor.name, f"a number beyond {kind}", f"{low} to {high}")
        return numbers.astype(_NUMPY[kind])


def _fits(kind: str, column: Column) -> bool:
    if column.type == "string":
        return kind == "BYTES"
    if column.type == "bool":
        return kind == "BOOL"
    if column.type in ("timestamp", "date"):
        return kind in _INTEGERS
    return kind not in ("BYTES", "BOOL")


def _range(kind: str) -> tuple[int | None, int]:
    if kind not in _INTEGERS:
        return None, 0
    limits = np.iinfo(_NUMPY[kind])
    return int(limits.min), int(limits.max)


def _floats(name: str, elements: Any, kind: str) -> Any:
    numbers = elements.astype(np.float64)
    if kind in ("INT64", "UINT64") and len(numbers) and np.abs(numbers).max() > 2**53:
        raise _wrong(name, "an integer beyond 2^53", "integers that floating point holds exactly")
    return numbers


def _rows(tensor: pb.ModelInferRequest.InferInputTensor) -> int:
    shape = list(tensor.shape)
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise _wrong(tensor.name, f"shape {shape}", "shape [rows] or [rows, 1]")
    _check_count(tensor.name, shape[0])
    return shape[0]


def _check_count(name: str, rows: int) -> None:
    if rows < 0:
        raise _wrong(name, f"{rows} rows", "a number of rows")
    if rows > MOST_ROWS:
        raise TooManyRows(f"the request has {rows} rows; at most {MOST_ROWS} are allowed", rows=rows, limit=MOST_ROWS)


def _of_bytes(name: str, raw: bytes, kind: str, count: int) -> Any:
    if kind == "BYTES":
        return _split(name, raw, count)
    wanted = count * np.dtype(_NUMPY[kind]).itemsize
    if len(raw) != wanted:
        raise _wrong(name, f"{len(raw)} bytes", f"{wanted} bytes: {count} elements of {kind}")
    return np.frombuffer(raw, _NUMPY[kind])


def _split(name: str, raw: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    start = 0
    for _ in range(count):
        if start + _LENGTH.size > len(raw):
            raise _wrong(name, f"{len(found)} elements", f"{count} elements, each after its length in 4 bytes")
        (length,) = _LENGTH.unpack_from(raw, start)
        start += _LENGTH.size
        if start + length > len(raw):
            raise _wrong(name, f"an element of {length} bytes beyond the end", "lengths that fit the bytes")
        found.append(raw[start : start + length])
        start += length
    if start != len(raw):
        raise _wrong(name, f"{len(raw) - start} bytes after the last element", "none")
    return found


def _decoded(name: str, elements: Sequence[bytes]) -> Texts:
    texts: Texts = []
    for row, element in enumerate(elements):
        try:
            texts.append(element.decode("utf-8"))
        except UnicodeDecodeError:
            raise _wrong(name, f"bytes that are not UTF-8 in row {row}", "text in UTF-8") from None
    return texts


def _wrong(tensor: str, came: str, expected: str) -> InputMismatch:
    return InputMismatch.of(tensor, came, expected)


def answered(answer: Prediction, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """Returns the outputs that were asked for, as raw bytes where the request used them. Raises InputMismatch."""
    loaded = answer.loaded
    known = {column.name: column for column in loaded.outputs}
    wanted = [output.name for output in request.outputs] or list(known)
    version = loaded.version
    message = pb.ModelInferResponse(model_name=version.model, model_version=str(version.number), id=request.id)
    for name in wanted:
        if name not in known:
            raise _wrong(name, "no such output", f"one of {', '.join(known)}")
        values = answer.outputs[name]
        kind = datatype(known[name])
        tensor = message.outputs.add(name=name, datatype=kind, shape=[len(values)])
        if request.raw_input_contents:
            message.raw_output_contents.append(_to_bytes(values, kind))
        else:
            plain = values.tolist() if isinstance(values, np.ndarray) else values
            field = getattr(tensor.contents, _CONTENTS[kind])
            field.extend([str(text).encode() for text in plain] if kind == "BYTES" else plain)
    return message


def _to_bytes(values: Outputs, kind: str) -> bytes:
    if kind != "BYTES":
        return np.asarray(values).astype(_NUMPY[kind]).tobytes()
    encoded = [str(text).encode() for text in values]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))
