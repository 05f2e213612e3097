"""What lists may be filtered and ordered by, and where a page ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fivefold_runtime import paging
from fivefold_runtime.clock import micros
from fivefold_runtime.filters import Field, Filter, Group, Kind, OrderKey, Schema

if TYPE_CHECKING:
    from fivefold_features.store import SpecRecord, TableRecord, TrainingSetRecord

OWN, TAGS = "attributes", "tags"
_TAGS = Group((TAGS, "tag"), Kind.TEXT)
_SPEC = {
    "name": Kind.TEXT,
    "description": Kind.TEXT,
    "creator": Kind.TEXT,
    "column": Kind.TEXT,
    "create_time": Kind.TIME,
}
_TABLE = {**_SPEC, "owner": Kind.TEXT, "update_time": Kind.TIME}
_TRAINING_SET = {
    "spec": Kind.TEXT,
    "table": Kind.TEXT,
    "creator": Kind.TEXT,
    "column": Kind.TEXT,
    "create_time": Kind.TIME,
    "rows": Kind.NUMBER,
}
_ORDERS = ("name", "create_time", "update_time", "rows")


def _own(fields: dict[str, Kind]) -> Group:
    return Group((OWN,), fields=fields)


def _order(fields: dict[str, Kind]) -> Schema:
    """Orders have a schema of their own, so that a mistake in one is told with what can be ordered by."""
    return Schema(_own({name: kind for name, kind in fields.items() if name in _ORDERS}), bare=OWN)


_TABLES = Schema(_own(_TABLE), _TAGS, bare=OWN, unordered=[TAGS])
_SPECS = Schema(_own({**_SPEC, "table": Kind.TEXT}), _TAGS, bare=OWN, unordered=[TAGS])
_TRAINING_SETS = Schema(_own(_TRAINING_SET), bare=OWN)
_TABLES_ORDER, _SPECS_ORDER, _TRAINING_SETS_ORDER = _order(_TABLE), _order(_SPEC), _order(_TRAINING_SET)


@dataclass(frozen=True, slots=True)
class Search:
    """Which rows, in which order. `order` has every key that makes it total."""

    filter: Filter | None
    order: tuple[OrderKey, ...]

    @property
    def kinds(self) -> list[paging.Kind]:
        """What each part of a page's key is."""
        return [paging.TEXT if key.field.key == "name" else paging.NUMBER for key in self.order]

    def key(self, record: TableRecord | SpecRecord | TrainingSetRecord) -> list[paging.Part]:
        """Returns where a record stands in the order."""
        return [_part(record, key.field.key) for key in self.order]


def of_tables(filter: str, order_by: str) -> Search:
    """Raises FilterInvalid."""
    return Search(_TABLES.parse(filter), _total(_TABLES_ORDER.parse_order(order_by), OrderKey(Field(OWN, "name"))))


def of_specs(filter: str, order_by: str) -> Search:
    """Raises FilterInvalid."""
    return Search(_SPECS.parse(filter), _total(_SPECS_ORDER.parse_order(order_by), OrderKey(Field(OWN, "name"))))


def of_training_sets(filter: str, order_by: str) -> Search:
    """Raises FilterInvalid."""
    newest = OrderKey(Field(OWN, "create_time"), descending=True)
    last = OrderKey(Field(OWN, "name"), descending=True)
    return Search(_TRAINING_SETS.parse(filter), _total(_TRAINING_SETS_ORDER.parse_order(order_by), newest, last))


def _total(order: tuple[OrderKey, ...], *rest: OrderKey) -> tuple[OrderKey, ...]:
    asked = {key.field.key for key in order}
    return (*order, *(key for key in rest if key.field.key not in asked))


def _part(record: TableRecord | SpecRecord | TrainingSetRecord, name: str) -> paging.Part:
    match name:
        case "name":
            return record.id
        case "create_time":
            return micros(record.created)
        case "update_time":
            return micros(record.updated)  # type: ignore[union-attr]  # only tables are ordered by it
        case _:
            return record.rows  # type: ignore[union-attr]  # only training sets are
