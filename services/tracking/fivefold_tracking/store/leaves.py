"""Comparisons in SQL that searches for runs and for experiments share."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, ColumnElement, Text, cast

from fivefold_runtime.filters import Comparison, Presence, sql


def by_number(leaf: Comparison | Presence) -> bool:
    """Says whether something is compared with a number."""
    return isinstance(leaf, Comparison) and not isinstance(leaf.value, str)


def experiment_id(column: ColumnElement[int], leaf: Comparison, *, sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that an experiment's number compares so, with a number or with text."""
    return sql.number(column, leaf) if by_number(leaf) else sql.text(cast(column, Text), leaf, sqlite=sqlite)


def one_of(column: ColumnElement[int] | Column[int], numbers: Sequence[int]) -> ColumnElement[bool]:
    """`column IN numbers`; with one number an equality, which lets the order come from an index."""
    return column == numbers[0] if len(numbers) == 1 else column.in_(numbers)
