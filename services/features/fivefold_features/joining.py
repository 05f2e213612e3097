"""The features of one lookup for labels, from rows in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from fivefold_features import frames, pointintime
from fivefold_features.lookups import Feature, Resolved
from fivefold_features.schema import Schema

TIME = "\x01time"  # microseconds at which a label asks; column names cannot hold control characters
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Found:
    """The features of one lookup, a row for each label."""

    features: pl.DataFrame

    def rows(self, first: int, count: int) -> pl.DataFrame:
        """Returns some rows, each of which is asked for once and in order."""
        return self.features.slice(first, count)


def joined(rows: pl.DataFrame, schema: Schema, lookup: Resolved, labels: pl.DataFrame) -> pl.DataFrame:
    """Returns the features of a lookup, a row for each label, in order.

    rows    of the table, with VERSION: its identity and the features' columns
    labels  the table's primary keys and TIME
    """
    found = pointintime.as_of(
        labels,
        frames.with_times(rows.select(*schema.identity, pointintime.VERSION), schema),
        keys=schema.primary_keys,
        time=TIME,
        look_back=None if lookup.look_back is None else lookup.look_back // _MICROSECOND,
    )
    return rows.select(_value(feature, found) for feature in lookup.features)


def _value(feature: Feature, found: pl.Series) -> pl.Expr:
    value = pl.col(feature.source).gather(found)
    if feature.default is not None:
        default = pl.lit(feature.default)
        value = value.fill_null(default.cast(frames.POLARS[feature.kind]))
    return value.alias(feature.name)
