"""Fivefold's SDK: `client = fivefold.connect("127.0.0.1:7100")`, or `connect_async` for asyncio.

Then `client.tracking`, `.features`, `.registry`, `.automl` and `.serving`; `except fivefold.NotFound` and its like for
what they raise. Importing this package imports nothing else: gRPC comes with the first `connect`, pandas or pyarrow
with the first frame.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivefold.sdk.asynchronous import AsyncClient, connect_async
    from fivefold.sdk.client import Client, connect
    from fivefold.sdk.errors import (
        Aborted,
        AlreadyExists,
        Cancelled,
        DeadlineExceeded,
        FailedPrecondition,
        FivefoldError,
        Internal,
        InvalidArgument,
        MissingExtra,
        NotFound,
        OutOfRange,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        Unreachable,
    )
    from fivefold.sdk.functions import on_demand
    from fivefold.sdk.lookups import Lookup

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FivefoldError",
    "Internal",
    "InvalidArgument",
    "Lookup",
    "MissingExtra",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unreachable",
    "connect",
    "connect_async",
    "on_demand",
]

_HOME = {
    "AsyncClient": "fivefold.sdk.asynchronous",
    "Client": "fivefold.sdk.client",
    "Lookup": "fivefold.sdk.lookups",
    "connect": "fivefold.sdk.client",
    "connect_async": "fivefold.sdk.asynchronous",
    "on_demand": "fivefold.sdk.functions",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fivefold' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME.get(name, "fivefold.sdk.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
