"""MLflow's `order_by` lists as Fivefold's orders, and what MLflow says about a filter that Fivefold refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.utils.search_utils import SearchUtils

from fivefold_mlflow.failures import Failure, invalid

_ENTITIES = {"metric": "metrics", "parameter": "params", "tag": "tags", "attribute": "attributes"}


def run_order(order_by: Iterable[str] | None) -> str:
    """Returns the order of runs. Raises MlflowException as MLflow does."""
    return ", ".join(_part(SearchUtils.parse_order_by_for_search_runs(clause)) for clause in order_by or ())


def _part(parsed: tuple[str, str, bool]) -> str:
    kind, key, ascending = parsed
    if kind not in _ENTITIES:
        raise invalid(f"Invalid identifier type '{kind}'")
    return f"{name_of(_ENTITIES[kind], SearchUtils.translate_key_alias(key))} {'asc' if ascending else 'desc'}"


def name_of(entity: str, key: str) -> str:
    """Returns what Fivefold's language calls a key of an entity."""
    if entity == "attributes":
        return {"user_id": "user"}.get(key, key)
    return f"{entity}.{quoted(key, '`')}"


def quoted(text: str, mark: str = "'") -> str:
    """Returns a text in quotes; those that it holds are doubled."""
    return f"{mark}{text.replace(mark, mark * 2)}{mark}"


@contextmanager
def as_mlflow_says(parse: Callable[[str], Any], filter_string: str | None) -> Iterator[None]:
    """Where Fivefold refuses a filter that MLflow refuses too, raises what MLflow raises."""
    try:
        yield
    except Failure as error:
        if error.reason == "FILTER_INVALID" and filter_string:
            parse(filter_string)
        raise
