"""Page tokens: where a list goes on, opaque to callers and bound to the query they belong to.

A token is no secret and no capability (the query is checked again for the caller who brings it); its check sum only
tells a damaged token, or one of another query, from a good one. So what it holds may have been made up: servicers read
it with `key_of`, which checks every part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from fivefold_runtime.errors import InvalidArgument

Part = str | int | float | bool | None
Key = Sequence[Part]
Kind = type | tuple[type, ...]

NUMBER, REAL, TEXT, NOTHING = int, float, str, type(None)

_FREE = ("page_token", "page_size", "skip_total_size")  # fields that may change from one page to the next
_SUM = 8  # bytes
_MOST = 2**63  # no database keeps a larger whole number


class PageTokenInvalid(InvalidArgument):
    """A page token that this list did not give out, or gave out for another query."""

    reason = "PAGE_TOKEN_INVALID"


def size(asked: int, default: int, largest: int) -> int:
    """Returns how many rows a page has: `default` for 0, at most `largest`. Raises InvalidArgument below 0."""
    if asked < 0:
        raise InvalidArgument.at("page_size", f"is {asked}; it must be 0 (the default, {default}) or more", value=asked)
    return min(asked or default, largest)


def key_of(request: Any, *kinds: Kind) -> tuple[Any, ...] | None:
    """Returns the key that the page asked for begins after, None for the first page. Raises PageTokenInvalid.

    kinds  what each part of the key must be: NUMBER, REAL, TEXT, NOTHING, or a tuple of these
    """
    key = after(request.page_token, query_of(request))
    if key is None:
        return None
    if len(key) != len(kinds) or not all(_fits(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise invalid()
    return tuple(key)


def token_of(request: Message, more: Key | None) -> str:
    """Returns the token of the page after the row with the key `more`, "" when nothing follows."""
    return "" if more is None else token(more, query_of(request))


def token(key: Key, query: str | bytes) -> str:
    """Returns the token of the page after the row with this key.

    key    the sort key of the last row sent: texts, numbers, None
    query  what must stay the same between pages; `query_of(request)` makes it
    """
    body = json.dumps(list(key), separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_sum(body, query) + body).decode().rstrip("=")


def after(page_token: str, query: str | bytes) -> list[Part] | None:
    """Returns the key to go on after, unchecked; None for the first page. Raises PageTokenInvalid."""
    if not page_token:
        return None
    try:
        raw = base64.b64decode(page_token + "=" * (-len(page_token) % 4), altchars=b"-_", validate=True)
        body = raw[_SUM:]
        if len(page_token) <= 8192 and raw[:_SUM] == _sum(body, query):
            key = json.loads(body)
            if isinstance(key, list):
                return key
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise invalid()


def invalid() -> PageTokenInvalid:
    return PageTokenInvalid.at(
        "page_token", "is not of this list; begin without one, and change nothing else between pages"
    )


def query_of(request: Message) -> bytes:
    """Returns what binds a token to a request: its type, which each method has for itself, and everything in it but
    what may change from one page to the next."""
    copy = type(request)()
    copy.CopyFrom(request)
    for field in _FREE:
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    return copy.DESCRIPTOR.full_name.encode() + b"\0" + copy.SerializeToString(deterministic=True)


def _fits(part: object, kind: Kind) -> bool:
    if type(part) not in (kind if isinstance(kind, tuple) else (kind,)):
        return False
    if isinstance(part, str):
        return "\0" not in part and part.encode("utf-8", "replace").decode() == part
    return not isinstance(part, int) or -_MOST <= part < _MOST


def _sum(body: bytes, query: str | bytes) -> bytes:
    bound = query.encode() if isinstance(query, str) else query
    return hashlib.blake2b(body, digest_size=_SUM, key=hashlib.blake2b(bound, digest_size=32).digest()).digest()
