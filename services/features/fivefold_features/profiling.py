"""What values a version has, column by column. Imports Polars: load it when first needed.

Memory holds the identities of all rows and one column at a time.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from fivefold_features import frames, pointintime
from fivefold_features.offline import History
from fivefold_features.schema import Column, Kind
from fivefold_features.store import Snapshot

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_MOST = 256  # characters of a text that are told
_FLOATS = (Kind.FLOAT, Kind.DOUBLE)
_NUMBERS = (Kind.INT32, Kind.INT64, *_FLOATS)
_MOMENTS = (Kind.TIMESTAMP, Kind.DATE)
_PLACE = "\x01place"


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Named as the contract's message, which says what each is."""

    column: Column
    nulls: int
    nans: int
    distinct: int
    minimum: str
    maximum: str
    mean: float | None
    standard_deviation: float | None
    quantiles: tuple[float, ...]
    quantile_levels: tuple[float, ...]
    top_values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """`rows` of the version that no later write replaced; `keys`: distinct primary keys among them."""

    rows: int
    keys: int
    columns: tuple[ColumnProfile, ...]


def profile(history: History, snapshot: Snapshot, columns: Sequence[Column], top: int) -> Profile:
    """Profiles some columns of a version; `top`: how many most frequent values."""
    schema = snapshot.table.schema
    kinds = {column.name: column.kind for column in (*schema.columns, *columns)}
    needed = dict.fromkeys((*schema.identity, *(column.name for column in columns)))
    with history.reading(snapshot.parts, {name: frames.POLARS[kinds[name]] for name in needed}) as frame:
        identities = frame.select(*schema.identity, pointintime.VERSION).collect().with_row_index(_PLACE)
        places = pointintime.current(identities, identity=schema.identity).get_column(_PLACE)
        keys = identities.select(pl.struct(schema.primary_keys).n_unique()).item() if len(places) else 0
        del identities
        made = [
            of_column(column, frame.select(column.name).collect().get_column(column.name).gather(places), top)
            for column in columns
        ]
    return Profile(len(places), keys, tuple(made))


def of_column(column: Column, values: pl.Series, top: int) -> ColumnProfile:
    """Profiles one column's values."""
    kind, there = column.kind, values.drop_nulls()
    nans = 0
    if kind in _FLOATS:
        nans = int(there.is_nan().sum())
        there = there.drop_nans()
    numbers = there.to_physical() if kind in _MOMENTS else there
    mean = numbers.mean() if kind in _NUMBERS or kind is Kind.BOOL else None
    deviation = numbers.cast(pl.Float64).std() if kind in _NUMBERS else None
    with_quantiles = len(there) and (kind in _NUMBERS or kind in _MOMENTS)
    quantiles = [numbers.quantile(level, "linear") for level in LEVELS] if with_quantiles else []
    counted = there.value_counts(name="\x01count").sort(["\x01count", there.name], descending=[True, False]).head(top)
    return ColumnProfile(
        column,
        nulls=values.null_count(),
        nans=nans,
        distinct=there.n_unique() if len(there) else 0,
        minimum=text_of(there.min(), kind) if len(there) else "",
        maximum=text_of(there.max(), kind) if len(there) else "",
        mean=_number(mean),
        standard_deviation=_number(deviation),
        quantiles=tuple(float(one) for one in quantiles if one is not None),
        quantile_levels=LEVELS if with_quantiles else (),
        top_values=tuple((text_of(value, kind), count) for value, count in counted.iter_rows()),
    )


def text_of(value: Any, kind: Kind) -> str:
    """Returns a value as text, in the form that lookups.parse reads; long texts are cut."""
    match kind:
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.TIMESTAMP:
            assert isinstance(value, datetime)
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Kind.DATE:
            assert isinstance(value, date)
            return value.isoformat()
        case Kind.BYTES:
            return base64.b64encode(value).decode()[:_MOST]
        case Kind.STRING:
            return str(value)[:_MOST]
        case _:
            return repr(value)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
