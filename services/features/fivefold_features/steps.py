"""The rows of a version that no later write replaced, in order, as many at a time as memory holds.

A version that does not fit is read by ranges of its first key, one after the other. Imports Polars: load when needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import polars as pl

from fivefold_features import frames, pointintime
from fivefold_features.offline import History
from fivefold_features.schema import Column
from fivefold_features.sizes import bytes_of
from fivefold_features.store import Snapshot

_SAMPLE = 100_000  # keys that ranges are chosen by


def in_steps(
    history: History, snapshot: Snapshot, columns: Iterable[Column], memory_bytes: int
) -> Iterator[pl.DataFrame]:
    """Yields the rows of a version, ordered by identity over all frames: identity, columns, VERSION.

    memory_bytes  about what the rows of one step may take; one value of the first key is never cut
    """
    schema = snapshot.table.schema
    kinds = schema.kinds
    needed = list(dict.fromkeys((*schema.identity, *(column.name for column in columns))))
    with history.reading(snapshot.parts, {name: frames.POLARS[kinds[name]] for name in needed}) as frame:
        steps = -(-bytes_of(snapshot, [Column(name, kinds[name]) for name in needed]) // memory_bytes)
        for condition in _ranges(frame, schema.primary_keys[0], steps):
            yield pointintime.current(frame.filter(condition).collect(), identity=schema.identity)


def _ranges(frame: pl.LazyFrame, key: str, count: int) -> list[pl.Expr]:
    """Returns conditions that cut the values of a key column into about equal ranges, in order."""
    if count < 2:
        return [pl.lit(value=True)]
    every = frame.select(pl.col(key)).collect().get_column(key)
    sample = every.gather_every(max(1, len(every) // _SAMPLE)).sort()
    cuts = sample.gather([len(sample) * step // count for step in range(1, count)]).unique().sort()
    column = pl.col(key)
    middle = [
        (column >= pl.lit(low, dtype=cuts.dtype)) & (column < pl.lit(high, dtype=cuts.dtype))
        for low, high in itertools.pairwise(cuts)
    ]
    return [column < pl.lit(cuts[0], dtype=cuts.dtype), *middle, column >= pl.lit(cuts[-1], dtype=cuts.dtype)]
