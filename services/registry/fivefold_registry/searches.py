"""What lists may be filtered and ordered by, and where a page ends."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_registry.lifecycle import Stage
from fivefold_registry.store.records import ModelRecord, VersionRecord
from fivefold_runtime import paging
from fivefold_runtime.clock import micros
from fivefold_runtime.filters import Field, Filter, Group, Kind, OrderKey, Schema

OWN, TAGS = "attributes", "tags"
#: Names that MLflow's users know, to ours.
_OTHERS = {
    "run_id": "run",
    "source_path": "source",
    "version_number": "version",
    "current_stage": "stage",
    "creation_timestamp": "create_time",
    "last_updated_timestamp": "update_time",
    "timestamp": "update_time",
}
_TAGS = Group((TAGS, "tag"), Kind.TEXT)
_TIMES = {"create_time": Kind.TIME, "update_time": Kind.TIME}
_MODEL = {"name": Kind.TEXT, **_TIMES}
_VERSION = {
    "name": Kind.TEXT,
    "version": Kind.NUMBER,
    "run": Kind.TEXT,
    "source": Kind.TEXT,
    "stage": Kind.TEXT,
    "status": Kind.TEXT,
    "aliases": Kind.TEXT,
    **_TIMES,
}
_ORDERS = ("name", "version", "create_time", "update_time")


def _known(fields: dict[str, Kind]) -> dict[str, str]:
    return {other: name for other, name in _OTHERS.items() if name in fields}


_MODELS = Schema(Group((OWN,), fields=_MODEL, others=_known(_MODEL)), _TAGS, bare=OWN, unordered=[TAGS])
_VERSIONS = Schema(Group((OWN,), fields=_VERSION, others=_known(_VERSION)), _TAGS, bare=OWN, unordered=[TAGS])
# Orders have a schema of their own, so that a mistake in one is told with what can be ordered by.
_VERSION_ORDERS = {name: kind for name, kind in _VERSION.items() if name in _ORDERS}
_VERSIONS_ORDER = Schema(Group((OWN,), fields=_VERSION_ORDERS, others=_known(_VERSION_ORDERS)), bare=OWN)
_MODELS_ORDER = Schema(Group((OWN,), fields=_MODEL, others=_known(_MODEL)), bare=OWN)


@dataclass(frozen=True, slots=True)
class Search:
    """Which rows, in which order. `order` has every key that makes it total."""

    filter: Filter | None
    order: tuple[OrderKey, ...]
    stages: frozenset[Stage] = frozenset()

    @property
    def kinds(self) -> list[paging.Kind]:
        """What each part of a page's key is."""
        return [paging.TEXT if key.field.key == "name" else paging.NUMBER for key in self.order]

    def key(self, record: ModelRecord | VersionRecord) -> list[paging.Part]:
        """Returns where a record stands in the order."""
        return [_part(record, key.field.key) for key in self.order]


def of_models(filter: str, order_by: str) -> Search:
    """Raises FilterInvalid."""
    return Search(_MODELS.parse(filter), _total(_MODELS_ORDER.parse_order(order_by), _ascending("name")))


def of_versions(filter: str, order_by: str, stages: frozenset[Stage], one_model: bool) -> Search:
    """one_model  whether the versions of one model are searched. Raises FilterInvalid."""
    rest = (_descending("version"),) if one_model else (_ascending("name"), _descending("version"))
    return Search(_VERSIONS.parse(filter), _total(_VERSIONS_ORDER.parse_order(order_by), *rest), stages)


def _total(order: tuple[OrderKey, ...], *rest: OrderKey) -> tuple[OrderKey, ...]:
    asked = {key.field.key for key in order}
    return (*order, *(key for key in rest if key.field.key not in asked))


def _ascending(name: str) -> OrderKey:
    return OrderKey(Field(OWN, name))


def _descending(name: str) -> OrderKey:
    return OrderKey(Field(OWN, name), descending=True)


def _part(record: ModelRecord | VersionRecord, name: str) -> paging.Part:
    match name:
        case "name":
            return record.model
        case "create_time":
            return micros(record.created)
        case "update_time":
            return micros(record.updated)
        case _:
            assert isinstance(record, VersionRecord)  # Models have no such field.
            return record.number
