"""One service's connection for a whole process: shared by threads, made anew after a fork and when the token changes.

MLflow keeps a store as long as the process lives, and expects to use it in children too.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlflow.protos import databricks_pb2 as codes

from fivefold.sdk.client import access_from
from fivefold.sdk.errors import FivefoldError
from fivefold.sdk.transport import Transport, request_id
from fivefold_mlflow.failures import Failure, translated

_ACCESS = ("FIVEFOLD_TOKEN", "FIVEFOLD_TOKEN_FILE", "FIVEFOLD_TLS_CA", "FIVEFOLD_TLS_CERT", "FIVEFOLD_TLS_KEY")
_TIMEOUT_SECONDS = 30.0  # of a call; streams of data get twenty times that


class Connection:
    """Calls one service at one address. Raises MlflowException."""

    def __init__(self, service: str, address: str, stub: Callable[[Any], Any]) -> None:
        self._made_of = (service, address, stub)
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._made_for: tuple[object, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return Connection, self._made_of

    def ask(self, method: str, request: Any, *, missing: str = "") -> Any:
        """Returns the answer of a method that changes nothing.

        missing  what MLflow says where the thing that the call is about does not exist
        """
        transport = self._current()
        try:
            return transport.call(getattr(transport.stub(self._made_of[2]), method), request)
        except FivefoldError as error:
            raise translated(error, missing) from error

    def change(self, method: str, request: Any, *, missing: str = "", bulk: bool = False) -> Any:
        """Returns the answer of a mutation, which happens once however often it is sent."""
        request.request_id = request_id()
        transport = self._current()
        try:
            return transport.call(getattr(transport.stub(self._made_of[2]), method), request, bulk=bulk)
        except FivefoldError as error:
            raise translated(error, missing) from error

    def send(self, method: str, requests: Iterable[Any]) -> Any:
        """Streams requests and returns the one answer. Raises FivefoldError, so that a caller can go on with it."""
        transport = self._current()
        return transport.send(getattr(transport.stub(self._made_of[2]), method), requests)

    def receive(self, method: str, request: Any) -> Iterator[Any]:
        """Yields the answers of a stream. Raises FivefoldError, so that a caller can go on with it."""
        transport = self._current()
        return transport.receive(getattr(transport.stub(self._made_of[2]), method), request)

    def _current(self) -> Transport:
        wanted = (os.getpid(), *map(os.environ.get, _ACCESS))
        if wanted == self._made_for and self._transport is not None:
            return self._transport
        with self._lock:
            if self._made_for and self._made_for[0] != wanted[0]:
                _check_fork()
            if wanted != self._made_for:
                # What a parent process made must not be closed here, and other threads may still use the one before.
                service, address, _ = self._made_of
                self._transport = Transport(service, address, access_from(timeout=_TIMEOUT_SECONDS))
                self._made_for = wanted
        assert self._transport is not None
        return self._transport


_connections: dict[tuple[str, str], Connection] = {}
_lock = threading.Lock()


def connection(service: str, address: str, stub: Callable[[Any], Any]) -> Connection:
    """Returns the process's connection to a service at an address."""
    with _lock:
        if (service, address) not in _connections:
            _connections[service, address] = Connection(service, address, stub)
        return _connections[service, address]


def _check_fork() -> None:
    """Raises Failure in a child where a call would hang, instead of hanging."""
    core = sys.modules.get("grpc._cython.cygrpc")  # which has no public name
    enabled = getattr(core, "is_fork_support_enabled", None)
    if enabled is not None and not enabled():
        raise Failure(
            "this process was forked from one that has called Fivefold, and gRPC was not told to expect that: set "
            "GRPC_ENABLE_FORK_SUPPORT=1 before Python starts, import mlflow before grpc, or start processes by spawn",
            codes.INVALID_STATE,
        )


def _after_fork() -> None:
    """A thread of the parent may have held a lock when it forked."""
    global _lock
    _lock = threading.Lock()
    for kept in _connections.values():
        kept._lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
