"""Filters as SQL: what compares alike on SQLite and PostgreSQL, for every service.

Texts are compared by code point: their columns have the collation "C" on PostgreSQL. A service says what condition a
comparison becomes; `where` joins them, `text` and `number` compare a column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, and_, collate, literal, not_, or_

from fivefold_runtime.filters.tree import And, Comparison, Filter, Operator, Or, Presence, Value

_LARGEST = 2**63 - 1  # of what databases keep as whole numbers
_ESCAPE = "\\"


def where(tree: Filter, condition: Callable[[Comparison | Presence], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Returns the condition that a filter is, from those that its comparisons are."""
    if isinstance(tree, And):
        return and_(*(where(part, condition) for part in tree.parts))
    if isinstance(tree, Or):
        return or_(*(where(part, condition) for part in tree.parts))
    return condition(tree)


def text(column: ColumnElement[Any], comparison: Comparison, *, sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that a column of texts compares so; where it is NULL it does not, nor negated."""
    condition = _text(column, comparison.operator, comparison, sqlite)
    return not_(condition) if comparison.negated else condition


def number(column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
    """Returns the condition that a column of numbers compares so; where it is NULL it does not, nor negated."""
    values = _bound(comparison.values)
    condition: ColumnElement[bool]
    match comparison.operator:
        case Operator.IN:
            condition = column.in_(values)
        case Operator.NOT_IN:
            condition = column.not_in(values)
        case operator:
            condition = _compared(column, operator, values[0])
    return not_(condition) if comparison.negated else condition


def _text(column: ColumnElement[Any], operator: Operator, comparison: Comparison, sqlite: bool) -> ColumnElement[bool]:
    match operator:
        case Operator.IN:
            return column.in_([str(value) for value in comparison.values])
        case Operator.NOT_IN:
            return column.not_in([str(value) for value in comparison.values])
        case Operator.LIKE if sqlite:  # Its LIKE does not tell the case of letters apart; its GLOB does.
            return column.op("GLOB", is_comparison=True)(_pattern(str(comparison.value), glob=True))
        case Operator.LIKE:
            return column.like(_pattern(str(comparison.value)), escape=_ESCAPE)
        case Operator.ILIKE if sqlite:
            return column.like(_pattern(str(comparison.value)), escape=_ESCAPE)
        case Operator.ILIKE:  # By the collation "C" only A to Z have two cases, as on SQLite.
            pattern = collate(literal(_pattern(str(comparison.value))), "C")
            return column.op("ILIKE", is_comparison=True)(pattern)
        case _:
            return _compared(column, operator, literal(str(comparison.value)))


def _compared(column: ColumnElement[Any], operator: Operator, bound: ColumnElement[Any]) -> ColumnElement[bool]:
    match operator:
        case Operator.EQUAL:
            return column == bound
        case Operator.NOT_EQUAL:
            return column != bound
        case Operator.LESS:
            return column < bound
        case Operator.AT_MOST:
            return column <= bound
        case Operator.GREATER:
            return column > bound
        case Operator.AT_LEAST:
            return column >= bound
        case _:
            raise AssertionError(operator)


def _bound(values: tuple[Value, ...]) -> list[ColumnElement[Any]]:
    """Returns numbers as both databases take them: whole ones of 64 bits, else all as floats."""
    whole = all(isinstance(value, int) and -_LARGEST <= value <= _LARGEST for value in values)
    return [literal(value, BigInteger) if whole else literal(float(value), Double) for value in values]


def _pattern(given: str, *, glob: bool = False) -> str:
    """Returns a pattern of LIKE in one form, or as one of GLOB: % any text, _ any character, the rest as it is."""
    parts: list[str] = []
    chars = iter(given)
    for char in chars:
        if char == "%":
            if not parts or parts[-1] != "%":  # One after the other means the same and costs time.
                parts.append("%")
        elif char == "_":
            parts.append("_")
        else:
            parts.append(f"{_ESCAPE}{next(chars, _ESCAPE) if char == _ESCAPE else char}")
    if glob:
        return "".join({"%": "*", "_": "?"}.get(part) or _globbed(part[1]) for part in parts)
    return "".join(part if len(part) == 1 or part[1] in f"%_{_ESCAPE}" else part[1] for part in parts)


def _globbed(char: str) -> str:
    return f"[{char}]" if char in "*?[" else char
