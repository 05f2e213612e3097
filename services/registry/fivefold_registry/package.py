"""Reads the description of a model package, the YAML file `MLmodel`: flavors, signature, what it was trained from.

Text in, facts out; it never runs, imports or opens what the package names. A file that is too large, too deep or no
MLmodel gives None: its version is kept all the same, it only cannot be served.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

FILE = "MLmodel"
MAX_BYTES = 1 << 20
_MAX_EVENTS = 100_000  # parts of the YAML, which bounds the time that loading takes
_MAX_DEPTH = 50
_MAX_COLUMNS = 10_000
_MAX_TEXT = 1_000  # characters of a name

#: MLflow's names of column and tensor types, and our own, as ours.
_TYPES = {
    "boolean": "bool", "integer": "int32", "long": "int64", "binary": "bytes", "datetime": "timestamp",
    "int8": "int32", "int16": "int32", "uint8": "int32", "uint16": "int32", "uint32": "int64",
    "float16": "float", "float32": "float", "float64": "double", "str": "string", "object": "string",
    **{own: own for own in ("bool", "int32", "int64", "float", "double", "string", "bytes", "timestamp", "date")},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a signature; `type` is a DataType in lower case, "" for one that we have no name for."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a package says about itself; names of other services' resources are "" where it says nothing."""

    flavors: tuple[str, ...] = ()
    inputs: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()
    feature_spec: str = ""
    training_set: str = ""


class _NoPackage(Exception):
    """The file is no MLmodel that we read."""


#: libyaml's loader where it is built in: it is ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(content: bytes) -> Package | None:
    """Returns what the bytes of an `MLmodel` say, None when they are none."""
    if len(content) > MAX_BYTES:
        return None
    try:
        text = content.decode()
        _check_size(text)
        return _package(_mapping(yaml.load(text, Loader=_Loader)))
    except (_NoPackage, yaml.YAMLError, ValueError, RecursionError):
        return None


def _check_size(text: str) -> None:
    """Raises _NoPackage for what would take long to put together: too many parts or levels, or merge keys."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<"
        if count > _MAX_EVENTS or depth > _MAX_DEPTH or merges:
            raise _NoPackage


def _package(document: Mapping[str, Any]) -> Package:
    flavors = _mapping(document.get("flavors"))
    if not flavors:
        raise _NoPackage
    metadata = document.get("metadata")
    own = metadata.get("fivefold") if isinstance(metadata, dict) else None
    facts = own if isinstance(own, dict) else {}
    # Ours says the same as MLflow's, with types that MLflow has no names for.
    signature = _mapping(facts.get("signature") or document.get("signature") or {})
    return Package(
        flavors=tuple(_text(flavor) for flavor in flavors),
        inputs=_columns(signature.get("inputs")),
        outputs=_columns(signature.get("outputs")),
        feature_spec=_name(facts.get("feature_spec"), "specs/"),
        training_set=_name(facts.get("training_set"), "trainingSets/"),
    )


def _columns(listed: Any) -> tuple[Column, ...]:
    """Returns the columns of MLflow's JSON text: [{"name": …, "type": …, "required": …}, …]."""
    if not listed:
        return ()
    columns = json.loads(listed) if isinstance(listed, str) else listed
    if not isinstance(columns, list) or len(columns) > _MAX_COLUMNS:
        raise _NoPackage
    return tuple(_column(_mapping(column)) for column in columns)


def _column(column: Mapping[str, Any]) -> Column:
    kind = column.get("type")
    if kind == "tensor":
        kind = _mapping(column.get("tensor-spec") or {}).get("dtype")
    required = column.get("required", not column.get("optional", False))
    return Column(
        _text(column.get("name") or ""), _TYPES.get(kind, "") if isinstance(kind, str) else "", bool(required)
    )


def _name(value: Any, prefix: str) -> str:
    """Returns a resource name, given as itself or as the `name` of a mapping; "" for anything else."""
    if isinstance(value, dict):
        value = value.get("name")
    if not isinstance(value, str) or not value.startswith(prefix) or "/" in value[len(prefix) :] or len(value) > 300:
        return ""
    return _text(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _NoPackage
    return value


def _text(value: Any) -> str:
    """Returns a short text that a database can keep."""
    text = str(value)
    if len(text) > _MAX_TEXT or "\0" in text:
        raise _NoPackage
    text.encode()  # a lone surrogate, which JSON can spell, raises ValueError
    return text
