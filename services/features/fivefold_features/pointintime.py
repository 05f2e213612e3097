"""The point-in-time join: what was true and known of an entity at a moment, and nothing from after it.

Pure functions over Polars frames. Times are Int64 microseconds; `event` is from when a row is true, `knowledge` when it
became known, `version` the number of the write that brought it. Among rows of one key that are true and known, the
one with the newest event counts; of equal events the one written last, of those in one write the one known last.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

EVENT, KNOWLEDGE, VERSION = "\x01event", "\x01knowledge", "\x01version"  # column names cannot hold control characters
ALWAYS = -(1 << 63)  # the event and knowledge of a table that declares none
_RANK = [EVENT, VERSION, KNOWLEDGE]
_ROW, _BEST, _SINCE, _PLACE = "\x01row", "\x01best", "\x01since", "\x01place"


def as_of(
    labels: pl.DataFrame, rows: pl.DataFrame, *, keys: Sequence[str], time: str, look_back: int | None = None
) -> pl.Series:
    """Finds for each label the row that counts at its time.

    labels     n rows: the key columns and `time`
    rows       m rows in any order: the same key columns, EVENT, KNOWLEDGE, VERSION
    look_back  microseconds; a row with an older event than that counts as absent. None: any age
    returns    n positions in `rows`, in the order of `labels`, null where no row counts

    A key with a null in it matches nothing. A row counts from the later of its event and its knowledge on; since the
    best row at a moment is the running maximum of ranks up to then, one sorted pass answers both times. O((n + m) log
    m).
    """
    ranked = rows.with_row_index(_ROW).sort(_RANK, maintain_order=True).with_row_index(_BEST)
    if ranked.select((pl.col(KNOWLEDGE) <= pl.col(EVENT)).all()).item():
        steps = ranked.select(*keys, _BEST, pl.col(EVENT).alias(_SINCE))  # The order of ranks is that of times.
    else:
        steps = (
            ranked.select(*keys, _BEST, pl.max_horizontal(EVENT, KNOWLEDGE).alias(_SINCE))
            .sort(_SINCE, maintain_order=True)
            .with_columns(pl.col(_BEST).cum_max().over(list(keys)))
        )
    steps = steps.set_sorted(_SINCE)
    asked = labels.select(*keys, pl.col(time).alias(_SINCE)).with_row_index(_PLACE).sort(_SINCE, maintain_order=True)
    found = asked.join_asof(steps, on=_SINCE, by=list(keys), strategy="backward", check_sortedness=False).sort(_PLACE)
    best = found.get_column(_BEST)
    if look_back is not None:
        event = ranked.get_column(EVENT).gather(best)
        old = event < found.get_column(_SINCE) - look_back
        best = found.select(pl.when(old).then(None).otherwise(best).alias(_BEST)).get_column(_BEST)
    return ranked.get_column(_ROW).gather(best).alias("row")


def latest(rows: pl.DataFrame, *, keys: Sequence[str], moment: int | None) -> pl.DataFrame:
    """Returns per key the row that counts at a moment (microseconds; None: whatever its times), in no order."""
    if moment is not None:
        rows = rows.filter((pl.col(EVENT) <= moment) & (pl.col(KNOWLEDGE) <= moment))
    return rows.sort(_RANK).unique(list(keys), keep="last", maintain_order=False)


def current(rows: pl.DataFrame, *, identity: Sequence[str]) -> pl.DataFrame:
    """Returns the rows that no later write replaced, ordered by `identity` (keys, then times)."""
    ordered = rows.sort(*identity, VERSION)
    another = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in identity)
    return ordered.filter(another.fill_null(value=True))


def is_ordered(rows: pl.DataFrame, *, identity: Sequence[str]) -> bool:
    """Says whether rows are ordered by `identity`, each once; it has no nulls."""
    follows = pl.lit(value=False)
    for name in reversed(identity):
        before = pl.col(name).shift(1)
        follows = (pl.col(name) > before) | ((pl.col(name) == before) & follows)
    return bool(rows.select(follows.fill_null(value=True).all()).item())
