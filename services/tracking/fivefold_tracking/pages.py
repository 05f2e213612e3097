"""Where a page of a search begins: the key of a row depends on the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fivefold_runtime.filters import Field, OrderKey
from fivefold_runtime.paging import NOTHING, NUMBER, REAL, TEXT, Kind, invalid, key_of
from fivefold_tracking.fields import (
    AMONG_EQUAL_EXPERIMENTS,
    AMONG_EQUAL_RUNS,
    ATTRIBUTES,
    METRICS,
    completed,
)
from fivefold_tracking.store.records import Key

_VALUE, _NAN, _NONE, _CUT = range(4)  # ranks in a key: with a value, with NaN, without, with a text that is cut
_NUMBERS = frozenset({"start_time", "end_time", "experiment_id", "creation_time", "last_update_time"})
_MISSING = frozenset({"end_time", "parent_run_id", "source_type"})  # attributes that a run may lack


def after_run(request: Any, order: Sequence[OrderKey]) -> Key | None:
    """Returns the key that a page of runs begins after, None for the first. Raises PageTokenInvalid."""
    return _after(request, completed(tuple(order), *AMONG_EQUAL_RUNS))


def after_experiment(request: Any, order: Sequence[OrderKey]) -> Key | None:
    """Returns the key that a page of experiments begins after, None for the first. Raises PageTokenInvalid."""
    return _after(request, completed(tuple(order), *AMONG_EQUAL_EXPERIMENTS))


def _after(request: Any, order: Sequence[OrderKey]) -> Key | None:
    kinds: list[Kind] = []
    for each in order:
        kinds += [NUMBER, (_kind(each.field), NOTHING)]
    key = key_of(request, *kinds)
    if key is not None:
        for place, each in enumerate(order):
            _check(each.field, key[2 * place], key[2 * place + 1])
    return key


def _check(field: Field, rank: int, value: object) -> None:
    """Raises PageTokenInvalid for a rank that the field cannot have, or that does not go with the value."""
    ranks = {_VALUE}
    if field.group != ATTRIBUTES or field.key in _MISSING:
        ranks.add(_NONE)
    if field.group == METRICS:
        ranks.add(_NAN)
    if _kind(field) is TEXT:
        ranks.add(_CUT)
    if rank not in ranks or (rank in (_VALUE, _CUT)) != (value is not None):
        raise invalid()


def _kind(field: Field) -> type:
    if field.group == METRICS:
        return REAL
    return NUMBER if field.group == ATTRIBUTES and field.key in _NUMBERS else TEXT
