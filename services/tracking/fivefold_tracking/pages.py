"""Page tokens of tracking's lists: a key in, checked part by part, and a key out."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from fivefold_runtime import paging
from fivefold_runtime.paging import PageTokenInvalid
from fivefold_tracking.ordering import By, Order
from fivefold_tracking.store.records import Key

_MOST = 2**63
_SEGMENTS = 3  # of a search's order: with a value, with NaN, without
NUMBER, REAL, TEXT, NOTHING = int, float, str, type(None)
Kind = type | tuple[type, ...]

_VALUES: dict[By, Kind] = {By.START_TIME: NUMBER, By.METRIC: (REAL, NOTHING), By.PARAM: (TEXT, NOTHING)}


def after(request: Any, *kinds: Kind) -> Key | None:
    """Returns the key that a page begins after, None for the first page.

    kinds  what each part of the key must be. A token is no secret, so whatever it holds may have been made up.

    Raises PageTokenInvalid.
    """
    key = paging.after(request.page_token, paging.query_of(request))
    if key is None:
        return None
    if len(key) != len(kinds) or not all(_fits(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise _invalid()
    return tuple(key)


def after_run(request: Any, order: Order) -> Key | None:
    """Returns the key (segment, value, run) that a page of a search begins after. Raises PageTokenInvalid."""
    key = after(request, NUMBER, _VALUES[order.by], TEXT)
    if key is not None and key[0] not in range(_SEGMENTS):
        raise _invalid()
    return key


def token(request: Message, more: Key | None) -> str:
    """Returns the token of the page after `more`, "" when nothing follows."""
    return "" if more is None else paging.token(more, paging.query_of(request))


def _invalid() -> PageTokenInvalid:
    return PageTokenInvalid.at("page_token", "is not of this list; begin without one")


def _fits(part: object, kind: Kind) -> bool:
    if type(part) not in (kind if isinstance(kind, tuple) else (kind,)):
        return False
    if isinstance(part, str):
        return "\0" not in part and part.encode("utf-8", "replace").decode() == part
    return not isinstance(part, int) or -_MOST <= part < _MOST
