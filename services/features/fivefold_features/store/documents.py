"""What stands as JSON in SQL cells: columns, lookups, plain lists and maps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from fivefold_features.functions import FunctionUse
from fivefold_features.lookups import Lookup
from fivefold_features.schema import Column, Kind

_MICROSECOND = timedelta(microseconds=1)


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> Any:
    return json.loads(text)


def of_columns(columns: Iterable[Column]) -> list[list[str]]:
    return [[column.name, column.kind, column.description] for column in columns]


def columns(text: str) -> tuple[Column, ...]:
    return tuple(Column(name, Kind(kind), description) for name, kind, description in load(text))


def of_lookup(lookup: Lookup) -> dict[str, object]:
    return {
        "table": lookup.table,
        "features": list(lookup.features),
        "keys": dict(lookup.keys),
        "look_back": None if lookup.look_back is None else lookup.look_back // _MICROSECOND,
        "renames": dict(lookup.renames),
        "defaults": dict(lookup.defaults),
    }


def lookup(found: dict[str, Any]) -> Lookup:
    return Lookup(
        table=found["table"],
        features=tuple(found["features"]),
        keys=found["keys"],
        look_back=None if found["look_back"] is None else timedelta(microseconds=found["look_back"]),
        renames=found["renames"],
        defaults=found["defaults"],
    )


def of_function(use: FunctionUse) -> dict[str, object]:
    return {
        "module": use.module,
        "name": use.name,
        "source_hash": use.source_hash,
        "inputs": dict(use.inputs),
        "renames": dict(use.renames),
    }


def function(found: dict[str, Any]) -> FunctionUse:
    return FunctionUse(**found)
