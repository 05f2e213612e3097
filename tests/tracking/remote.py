"""Calls of a gRPC client that raises typed errors and pages by tokens, as the stores' contracts expect of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from fivefold_runtime import errors


class Remote(errors.FivefoldError):
    """What the service answered; `reason` is the one that came."""

    reason = "REMOTE"


@contextmanager
def typed() -> Iterator[None]:
    """Turns a failed call into an error with the reason that came."""
    try:
        yield
    except grpc.RpcError as error:
        remote = Remote(error.details())
        remote.reason = errors.parse(error)[0]  # type: ignore[misc]
        raise remote from None


def token(after: Any) -> str:
    return "" if after is None else after[0]


def more(answer: Any) -> Any:
    return (answer.next_page_token,) if answer.next_page_token else None
