"""Which rows train and which validate: the latest by a time column, or a random choice stratified by class. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold_automl.errors import DataInvalid

Rows = np.ndarray  # places of rows, ascending


def chronological(times: Any, share: float, column: str) -> tuple[Rows, Rows]:
    """Returns (train, valid): the latest `share` of rows validate; rows of one time are never divided.

    times  n comparable values without missing ones
    Raises DataInvalid when one side would be empty.
    """
    ordered = np.sort(times, kind="stable")
    first = ordered[min(len(ordered) - 1, max(1, round(len(ordered) * (1 - share))))]
    late = np.asarray(times >= first)
    if late.all() or not late.any():
        raise DataInvalid(f"column {column!r} has too few different times to validate on later rows", column=column)
    return np.flatnonzero(~late), np.flatnonzero(late)


def stratified(codes: np.ndarray, share: float, seed: int) -> tuple[Rows, Rows]:
    """Returns (train, valid), a random choice with the same share of every class; each class is on both sides.

    codes  n class codes, each at least twice
    """
    random = np.random.default_rng(seed)
    chosen = []
    for code in np.unique(codes):
        places = random.permutation(np.flatnonzero(codes == code))
        chosen.append(places[: min(len(places) - 1, max(1, round(len(places) * share)))])
    return _both(len(codes), np.concatenate(chosen))


def shuffled(rows: int, share: float, seed: int) -> tuple[Rows, Rows]:
    """Returns (train, valid), a random choice of `share` of the rows."""
    places = np.random.default_rng(seed).permutation(rows)
    return _both(rows, places[: max(1, round(rows * share))])


def _both(rows: int, valid: Rows) -> tuple[Rows, Rows]:
    late = np.zeros(rows, dtype=bool)
    late[valid] = True
    return np.flatnonzero(~late), np.flatnonzero(late)
