"""Where a page of a search begins: the key of a run depends on the order."""

from __future__ import annotations

from typing import Any

from fivefold_runtime.paging import NOTHING, NUMBER, REAL, TEXT, Kind, invalid, key_of
from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.records import Key

_SEGMENTS = 3  # of a search's order: with a value, with NaN, without
_KINDS: dict[By, tuple[Kind, ...]] = {
    By.START_TIME: (NUMBER, NUMBER, TEXT),
    By.METRIC: (NUMBER, (REAL, NOTHING), TEXT),
    By.PARAM: (NUMBER, TEXT),
}


def after_run(request: Any, order: Order) -> Key | None:
    """Returns the key that a page of a search begins after, None for the first. Raises PageTokenInvalid."""
    key = key_of(request, *_KINDS[order.by])
    if key is not None and key[0] not in range(_SEGMENTS):
        raise invalid()
    return key
