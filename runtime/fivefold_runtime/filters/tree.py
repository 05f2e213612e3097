"""Filters and orders as values: frozen, and equal where they mean the same.

NOT is no node: it is pushed down to the comparisons, where `negated` says so. A comparison of something that is not
there holds neither plainly nor negated, as in SQL; only Presence speaks of what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Value = str | int | float


class Operator(StrEnum):
    """How a field is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    LIKE = "LIKE"  # % stands for any text, _ for one character, \ takes the meaning from the next
    ILIKE = "ILIKE"  # the same, whatever the case of the letters A to Z
    IN = "IN"
    NOT_IN = "NOT IN"


@dataclass(frozen=True, slots=True)
class Field:
    """What is compared: a group such as `metrics` and a key in it, both as the schema calls them."""

    group: str
    key: str
    position: int = field(default=0, compare=False)  # characters before it


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison; several values only for IN and NOT IN.

    negated  it holds where the field is there and the comparison does not hold
    """

    field: Field
    operator: Operator
    values: tuple[Value, ...]
    negated: bool = False

    @property
    def value(self) -> Value:
        """The one value that it is compared with."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a field is there: IS NOT NULL, IS NULL."""

    field: Field
    present: bool


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold; two at least."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds; two at least."""

    parts: tuple[Filter, ...]


Filter = Comparison | Presence | And | Or


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order."""

    field: Field
    descending: bool = False
