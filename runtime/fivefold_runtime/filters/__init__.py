"""The language of filters and orders, one for all services: MLflow's, with OR, NOT and parentheses.

`Schema` says which fields a service knows; `schema.parse(text)` reads a filter into a typed tree, `schema.parse_order`
an order. A mistake raises FilterInvalid, which shows the place and says what may stand there. `sql.py` has what is
common to compiling the tree: texts and numbers compare alike on SQLite and PostgreSQL.
"""

from fivefold_runtime.filters.errors import FilterInvalid
from fivefold_runtime.filters.schema import Group, Kind, Schema
from fivefold_runtime.filters.tree import And, Comparison, Field, Filter, Operator, Or, OrderKey, Presence, Value

__all__ = [
    "And",
    "Comparison",
    "Field",
    "Filter",
    "FilterInvalid",
    "Group",
    "Kind",
    "Operator",
    "Or",
    "OrderKey",
    "Presence",
    "Schema",
    "Value",
]
