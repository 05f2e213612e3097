"""Feature specs: which features, by which keys, and what stands in for those that are missing. Pure.

A spec is resolved against its tables once, when it is made; training sets and online answers use the same resolved
form, so that both mean the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from fivefold_features.errors import SchemaMismatch
from fivefold_features.schema import Column, Kind, Schema, check_names
from fivefold_runtime.errors import InvalidArgument

Value = bool | int | float | str | bytes  # a TIMESTAMP is microseconds, a DATE days since 1970


@dataclass(frozen=True, slots=True)
class Lookup:
    """Features of one table, as a caller asks for them.

    table      id of the table
    features   columns wanted; empty: all that are not keys or times
    keys       request column by primary key; a key that is left out goes by its own name
    look_back  rows older than this count as absent; None: any age
    renames    name in the answer by feature
    defaults   text that stands in for a missing value, by feature
    """

    table: str
    features: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    look_back: timedelta | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature that comes out: column `source` of the table, under `name`; `default` None: missing stays missing."""

    source: str
    name: str
    kind: Kind
    default: Value | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """One lookup against its table: features in order, and the request column of each primary key."""

    table: str
    features: tuple[Feature, ...]
    keys: tuple[Column, ...]
    look_back: timedelta | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All lookups of a spec. `keys` are the request columns, each once; `features` what comes out, in order."""

    lookups: tuple[Resolved, ...]
    keys: tuple[Column, ...]
    features: tuple[Column, ...]


def completed(lookup: Lookup, schema: Schema) -> Lookup:
    """Returns the lookup with everything spelt out that it left to the table, so that later columns change nothing."""
    return Lookup(
        table=lookup.table,
        features=lookup.features or schema.features,
        keys={key: lookup.keys.get(key, key) for key in schema.primary_keys} | dict(lookup.keys),
        look_back=lookup.look_back,
        renames=dict(lookup.renames),
        defaults=dict(lookup.defaults),
    )


def resolve(lookups: Sequence[Lookup], schemas: Mapping[str, Schema]) -> Plan:
    """Checks completed lookups against their tables (by id) and returns the plan.

    Raises SchemaMismatch for a feature or key that a table lacks, for two features of one name and for a key column
    that two tables type differently; InvalidArgument for a default that is no value of its feature's type.
    """
    resolved = tuple(
        _resolve(lookup, schemas[lookup.table], f"lookups[{index}]") for index, lookup in enumerate(lookups)
    )
    keys: dict[str, Column] = {}
    for one in resolved:
        for key in one.keys:
            other = keys.setdefault(key.name, key)
            if other.kind != key.kind:
                raise SchemaMismatch(
                    f"key column {key.name!r} is {other.kind} for one table and {key.kind} for tables/{one.table}",
                    table=f"tables/{one.table}",
                    column=key.name,
                )
    features = tuple(Column(feature.name, feature.kind) for one in resolved for feature in one.features)
    if not features:
        raise SchemaMismatch("the spec has no features: its tables have nothing but keys and times")
    check_names("the spec's features", (feature.name for feature in features))
    return Plan(resolved, tuple(keys.values()), features)


def _resolve(lookup: Lookup, schema: Schema, path: str) -> Resolved:
    table, kinds = f"tables/{lookup.table}", schema.kinds
    for name in lookup.features:
        if name not in kinds or name in schema.primary_keys:
            what = "is a primary key" if name in schema.primary_keys else "does not exist"
            raise SchemaMismatch(f"{table}: feature {name!r} {what}", table=table, column=name)
    for name in lookup.keys:
        if name not in schema.primary_keys:
            raise SchemaMismatch(f"{table}: {name!r} in keys is not a primary key of it", table=table, column=name)
    for given, what in ((lookup.renames, "renames"), (lookup.defaults, "defaults")):
        for name in given:
            if name not in lookup.features:
                raise SchemaMismatch(
                    f"{table}: {name!r} in {what} is not among the features asked for", table=table, column=name
                )
    if lookup.look_back is not None and not schema.timestamp_key:
        raise SchemaMismatch(f"{table} has no timestamp_key, so a look_back means nothing for it", table=table)
    return Resolved(
        table=lookup.table,
        features=tuple(
            Feature(
                name,
                lookup.renames.get(name, name),
                kinds[name],
                parse(lookup.defaults[name], kinds[name], f"{path}.defaults[{name!r}]")
                if name in lookup.defaults
                else None,
            )
            for name in lookup.features
        ),
        keys=tuple(Column(lookup.keys[key], kinds[key]) for key in schema.primary_keys),
        look_back=lookup.look_back,
    )


def parse(text: str, kind: Kind, field_path: str) -> Value:
    """Returns the value that a text stands for in a column of this kind. Raises InvalidArgument."""
    try:
        return _PARSERS[kind](text)
    except (ValueError, OverflowError, binascii.Error, KeyError):
        raise InvalidArgument.at(
            field_path, f"is {text[:64]!r}; it must be {_FORMS[kind]}", value=text[:64], expected=kind
        ) from None


def _integer(bits: int) -> Callable[[str], Value]:
    def parsed(text: str) -> Value:
        number = int(text)
        if not -(1 << bits - 1) <= number < 1 << bits - 1:
            raise OverflowError
        return number

    return parsed


def _moment(text: str) -> Value:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_PARSERS: dict[Kind, Callable[[str], Value]] = {
    Kind.BOOL: lambda text: {"true": True, "false": False}[text.lower()],
    Kind.INT32: _integer(32),
    Kind.INT64: _integer(64),
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.STRING: str,
    Kind.BYTES: lambda text: base64.b64decode(text, validate=True),
    Kind.TIMESTAMP: _moment,
    Kind.DATE: lambda text: (date.fromisoformat(text) - date(1970, 1, 1)).days,
}
_FORMS = {
    Kind.BOOL: "true or false",
    Kind.INT32: "a whole number of 32 bits",
    Kind.INT64: "a whole number of 64 bits",
    Kind.FLOAT: "a number",
    Kind.DOUBLE: "a number",
    Kind.STRING: "a text",
    Kind.BYTES: "base64",
    Kind.TIMESTAMP: "a time with a zone, such as 2013-01-01T05:00:00Z",
    Kind.DATE: "a day, such as 2013-01-01",
}
