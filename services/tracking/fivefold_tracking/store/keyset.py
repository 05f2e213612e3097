"""Pages in any order, in SQL: the condition of what follows a row, however many keys the order has.

Every key of an order is a rank (0 with a value, 1 NaN, 2 without) and a value, so that what has no value comes last in
both directions. The key of a row is (rank, value) for each key of the order; page tokens carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, literal, or_

from fivefold_tracking.store.records import Key

VALUE, NAN, NONE = 0, 1, 2  # ranks


@dataclass(frozen=True, slots=True)
class Column:
    """One key of an order, as SQL. `rank` is None where every run has a value."""

    value: ColumnElement[Any]
    rank: ColumnElement[int] | None
    descending: bool


def selected(columns: Sequence[Column]) -> list[ColumnElement[Any]]:
    pairs = [(literal(VALUE) if each.rank is None else each.rank, each.value) for each in columns]
    return [
        part.label(f"{name}{place}") for place, pair in enumerate(pairs) for name, part in zip("rv", pair, strict=True)
    ]


def ordered(columns: Sequence[Column], *, fixed: bool = False, none: bool = False) -> list[ColumnElement[Any]]:
    """Returns what to order by. In a segment the first rank is the same for all, and so may the first value be."""
    by: list[ColumnElement[Any]] = []
    for place, column in enumerate(columns):
        if place == 0 and fixed:
            by += [] if none else [column.value.desc() if column.descending else column.value]
            continue
        if column.rank is not None:
            by.append(column.rank)
        by.append(column.value.desc() if column.descending else column.value)
    return by


def beyond(columns: Sequence[Column], after: Key, *, fixed: bool = False) -> ColumnElement[bool]:
    """Returns the condition that a run follows the one with the key `after`."""
    found: ColumnElement[bool] | None = None
    for place in reversed(range(len(columns))):
        column, rank, value = columns[place], after[2 * place], after[2 * place + 1]
        with_rank = column.rank is not None and not (fixed and place == 0)
        if rank == VALUE:
            later = column.value < value if column.descending else column.value > value
            if found is None:
                found = later
            else:
                found = or_(later, and_(column.value == value, found))
                if place == 0 and not with_rank:  # As a range of its own, so that an index is read from there.
                    found = and_(column.value <= value if column.descending else column.value >= value, found)
        if with_rank and column.rank is not None:
            further = column.rank > rank
            found = further if found is None else or_(further, and_(column.rank == rank, found))
    assert found is not None  # The last key is the run's id, which every run has.
    return found
