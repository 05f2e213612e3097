"""Where a page of a search begins: the key of a run depends on the order."""

from __future__ import annotations

from typing import Any

from fivefold_runtime.paging import NOTHING, NUMBER, REAL, TEXT, Kind, invalid, key_of
from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.records import Key

_SEGMENTS = 3  # of a search's order: with a value, with NaN, without
_VALUES: dict[By, Kind] = {By.START_TIME: NUMBER, By.METRIC: (REAL, NOTHING), By.PARAM: (TEXT, NOTHING)}


def after_run(request: Any, order: Order) -> Key | None:
    """Returns the key (segment, value, run) that a page of a search begins after. Raises PageTokenInvalid."""
    key = key_of(request, NUMBER, _VALUES[order.by], TEXT)
    if key is not None and key[0] not in range(_SEGMENTS):
        raise invalid()
    return key
