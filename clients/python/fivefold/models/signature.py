"""A model's inputs and outputs: named, typed columns, and their form in an MLmodel file.

Pure: imports nothing beyond the standard library. Raises SignatureInvalid for a signature that cannot be served.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TYPES = ("bool", "int32", "int64", "float", "double", "string", "timestamp", "date")

# MLflow has no plain date; a package of ours keeps the exact type beside MLflow's (see package.py).
_TO_MLFLOW = {
    "bool": "boolean",
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "timestamp": "datetime",
    "date": "datetime",
}
_FROM_MLFLOW = {mlflow: ours for ours, mlflow in _TO_MLFLOW.items() if ours != "date"}
_FROM_NUMPY = {
    "bool": "bool",
    "int8": "int32",
    "int16": "int32",
    "int32": "int32",
    "int64": "int64",
    "uint8": "int32",
    "uint16": "int32",
    "uint32": "int64",
    "float16": "float",
    "float32": "float",
    "float64": "double",
    "str": "string",
    "object": "string",
}
_MOST_COLUMNS = 100_000


class SignatureInvalid(ValueError):
    """The signature names a type that does not exist, a column twice, or a shape that is no table."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `required`: its values may not be null. A column that is not required must still be sent."""

    name: str
    type: str
    required: bool = False

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise SignatureInvalid(f"column {self.name!r} has type {self.type!r}; it must be one of {', '.join(TYPES)}")


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs in order. `unnamed`: the model was trained on a matrix, and inputs are called "0", "1", …"""

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...] = ()
    unnamed: bool = False

    def __post_init__(self) -> None:
        for columns in (self.inputs, self.outputs):
            seen: set[str] = set()
            for column in columns:
                if column.name in seen:
                    raise SignatureInvalid(f"column {column.name!r} occurs twice")
                seen.add(column.name)

    def to_mlflow(self) -> dict[str, Any]:
        """Returns the value of `signature` in an MLmodel file: JSON texts within YAML, as MLflow writes them."""
        return {
            "inputs": _dumped(self.inputs),
            "outputs": _dumped(self.outputs) if self.outputs else None,
            "params": None,
        }

    @classmethod
    def from_mlflow(cls, described: Mapping[str, Any]) -> Signature:
        """Reads the value of `signature`. Inputs must be columns or one matrix; outputs of other kinds are left out."""
        inputs, unnamed = _parsed(described.get("inputs"))
        try:
            outputs, _ = _parsed(described.get("outputs"))
        except SignatureInvalid:
            outputs = ()
        return cls(inputs, outputs, unnamed)

    def to_plain(self) -> dict[str, Any]:
        """Returns the signature as plain lists and texts, with our exact types."""
        return {
            side: [{"name": c.name, "type": c.type, "required": c.required} for c in getattr(self, side)]
            for side in ("inputs", "outputs")
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Signature:
        """Reads what `to_plain` wrote. Raises SignatureInvalid."""
        try:
            sides = [
                tuple(
                    Column(str(c["name"]), str(c["type"]), bool(c.get("required", False))) for c in plain.get(side, ())
                )
                for side in ("inputs", "outputs")
            ]
        except (KeyError, TypeError, AttributeError):
            raise SignatureInvalid("a column of the signature lacks its name or type") from None
        return cls(sides[0], sides[1])


def infer(frame: Any, *, required: bool = False) -> tuple[Column, ...]:
    """Returns the columns of a pandas DataFrame with the types that its dtypes mean.

    Integers of at most 32 bits are int32; text, categories and objects are string; time stamps of any zone timestamp.
    Raises SignatureInvalid for a dtype that has no type here.
    """
    return tuple(Column(str(name), _type_of(str(name), frame[name].dtype), required) for name in frame.columns)


def _type_of(name: str, dtype: Any) -> str:
    kind, size = dtype.kind, getattr(dtype, "itemsize", 8)
    if kind in "iu":
        return "int32" if size < 4 or (kind == "i" and size == 4) else "int64"
    if kind == "f":
        return "double" if size == 8 else "float"
    known = {"b": "bool", "M": "timestamp", "O": "string", "U": "string", "T": "string"}
    if kind not in known:
        raise SignatureInvalid(f"column {name!r} has dtype {dtype}, which no column type stands for")
    return known[kind]


def _dumped(columns: tuple[Column, ...]) -> str:
    return json.dumps([{"type": _TO_MLFLOW[c.type], "name": c.name, "required": c.required} for c in columns])


def _parsed(text: object) -> tuple[tuple[Column, ...], bool]:
    if text is None:
        return (), False
    try:
        described = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        raise SignatureInvalid("the signature is not JSON") from None
    if not isinstance(described, list) or not all(isinstance(one, dict) for one in described):
        raise SignatureInvalid("the signature is not a list of columns")
    if len(described) == 1 and described[0].get("type") == "tensor":
        return _of_tensor(described[0]), True
    columns = []
    for place, one in enumerate(described):
        kind = one.get("type")
        if not isinstance(kind, str) or kind not in _FROM_MLFLOW:
            raise SignatureInvalid(f"column {one.get('name', place)!r} has type {kind!r}, which is not served")
        columns.append(Column(str(one.get("name", place)), _FROM_MLFLOW[kind], bool(one.get("required", True))))
    return tuple(columns), all("name" not in one for one in described)


def _of_tensor(described: Mapping[str, Any]) -> tuple[Column, ...]:
    spec = described.get("tensor-spec")
    shape, dtype = (spec.get("shape"), spec.get("dtype")) if isinstance(spec, dict) else (None, None)
    table = isinstance(shape, list) and len(shape) == 2 and isinstance(shape[1], int) and 0 < shape[1] <= _MOST_COLUMNS
    if not table or shape is None or dtype not in _FROM_NUMPY:
        raise SignatureInvalid(f"a tensor of type {dtype!r} and shape {shape!r} is no table of rows and columns")
    return tuple(Column(str(place), _FROM_NUMPY[dtype]) for place in range(shape[1]))
