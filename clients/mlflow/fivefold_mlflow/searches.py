"""MLflow's filters and orders of the registry, read by MLflow's own parsers and said in Fivefold's language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils, SearchUtils

from fivefold_mlflow.failures import invalid
from fivefold_mlflow.orders import quoted
from fivefold_mlflow.versions import RUN, source_of

_TEXTS = ("=", "!=", "LIKE", "ILIKE")
_LISTS = ("IN", "NOT IN")
_VERSION_ORDERS = {
    "version_number": "version",
    "name": "name",
    "creation_timestamp": "create_time",
    "last_updated_timestamp": "update_time",
}


def models_filter(text: str | None) -> str:
    """Returns the filter of models. Raises MlflowException as MLflow does."""
    parts = []
    for found in SearchModelUtils.parse_search_filter(text):
        key, comparator = found["key"], found["comparator"].upper()
        if found["type"] == "tag":
            parts.append(_tag(key, comparator, found["value"]))
        elif found["type"] != "attribute":
            raise invalid(f"Invalid token type: {found['type']}")
        elif key != "name":
            raise invalid(f"Invalid attribute name: {key}")
        elif comparator not in _TEXTS + _LISTS:
            raise invalid(f"Invalid comparator for attribute: {comparator}")
        else:
            parts.append(_comparison("name", comparator, found["value"]))
    return " AND ".join(parts)


def models_order(order_by: Iterable[str] | None) -> str:
    """Returns the order of models. Raises MlflowException as MLflow does."""
    parts: dict[str, str] = {}
    for clause in order_by or ():
        key, ascending = SearchUtils.parse_order_by_for_search_registered_models(clause)
        _add(parts, "name" if key == "name" else "update_time", ascending, order_by)
    return ", ".join(parts.values())


def versions_filter(text: str | None) -> tuple[str, str]:
    """Returns the filter of versions, and the one model that it is about, or "". Raises MlflowException as MLflow does."""
    parts, model = [], ""
    for found in SearchModelVersionUtils.parse_search_filter(text):
        key, comparator, value = found["key"], found["comparator"].upper(), found["value"]
        if found["type"] == "tag":
            parts.append(_tag(key, comparator, value))
        elif found["type"] != "attribute":
            raise invalid(f"Invalid token type: {found['type']}")
        elif key not in SearchModelVersionUtils.VALID_SEARCH_ATTRIBUTE_KEYS:
            raise invalid(f"Invalid attribute name: {key}")
        elif key in SearchModelVersionUtils.NUMERIC_ATTRIBUTES:
            parts.append(_number(key, comparator, value))
        elif comparator not in _TEXTS + _LISTS or (comparator in _LISTS and key not in ("run_id", "name")):
            raise invalid(f"Invalid comparator for attribute: {comparator}")
        elif key == "name" and comparator == "=" and not model:
            model = value
        else:
            parts.append(_attribute(key, comparator, value))
    return " AND ".join(parts), model


def versions_order(order_by: Iterable[str] | None) -> str:
    """Returns the order of versions. Raises MlflowException as MLflow does."""
    parts: dict[str, str] = {}
    for clause in order_by or ("last_updated_timestamp DESC", "name ASC", "version_number DESC"):
        _, key, ascending = SearchModelVersionUtils.parse_order_by_for_search_model_versions(clause)
        if key not in SearchModelVersionUtils.VALID_ORDER_BY_ATTRIBUTE_KEYS or key not in _VERSION_ORDERS:
            raise invalid(
                f"Invalid order by key '{key}' specified. "
                f"Valid keys are {SearchModelVersionUtils.VALID_ORDER_BY_ATTRIBUTE_KEYS}"
            )
        _add(parts, _VERSION_ORDERS[key], ascending, order_by)
    return ", ".join(parts.values())


def _add(parts: dict[str, str], field: str, ascending: bool, order_by: Any) -> None:
    if field in parts:
        raise invalid(f"`order_by` contains duplicate fields: {order_by}")
    parts[field] = f"{field} {'ASC' if ascending else 'DESC'}"


def _tag(key: str, comparator: str, value: str) -> str:
    if comparator not in _TEXTS:
        raise invalid(f"Invalid comparator for tag: {comparator}")
    return _comparison(f"tags.{quoted(key, '`')}", comparator, value)


def _number(key: str, comparator: str, value: Any) -> str:
    if comparator not in SearchModelVersionUtils.VALID_NUMERIC_ATTRIBUTE_COMPARATORS:
        raise invalid(f"Invalid comparator for attribute {key}: {comparator}")
    try:
        if isinstance(value, float):
            raise ValueError
        return f"version {comparator} {int(value)}"
    except (TypeError, ValueError):
        raise invalid(f"Invalid value for numeric attribute '{key}': {value!r}") from None


def _attribute(key: str, comparator: str, value: Any) -> str:
    if key == "run_id":
        # Of a run that Fivefold does not know the id is kept as a tag.
        joined = "AND" if comparator in ("!=", "NOT IN") else "OR"
        known, other = _comparison("run", comparator, value), _comparison(f"tags.`{RUN}`", comparator, value)
        if joined == "AND":
            other = f"(tags.`{RUN}` IS NULL OR {other})"
        return f"({known} {joined} {other})"
    if key == "source_path":
        ours = source_of(value) if comparator in ("=", "!=") else ""
        return _comparison("source", comparator, ours or value)
    return _comparison(key, comparator, value)


def _comparison(field: str, comparator: str, value: Any) -> str:
    if comparator in _LISTS:
        return f"{field} {comparator} ({', '.join(quoted(str(each)) for each in value)})"
    return f"{field} {comparator} {quoted(str(value))}"
