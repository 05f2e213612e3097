"""One service's connection: made at the first call, with deadlines, safe retries, identity and typed errors.

Retries: every method is safe to send again, since reads change nothing and each mutation carries a request_id that the
service remembers. So gRPC itself tries a call that was answered UNAVAILABLE again, up to four times within about two
seconds; streams are tried again until their first answer. Addresses behind one name share the calls round robin.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from fivefold.sdk.errors import InvalidArgument, Unavailable, of_call

Q = TypeVar("Q")
A = TypeVar("A")

BULK = 20  # what streams of data and copies of files get, in multiples of the timeout of other calls
FOREVER = 0.0  # as a timeout: no deadline, for watching
_LARGEST_ANSWER = 64 << 20  # bytes of one message
_RECONNECT_SECONDS = 60.0  # how long a watch looks for a service that went away

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # a service that is back is found soon, however long it was away
    ("grpc.primary_user_agent", "fivefold-python"),
]


@dataclass(frozen=True, slots=True)
class Access:
    """How to connect, the same for all services.

    timeout     seconds that a call gets; streams of data get twenty times that, watches have no end
    token       bearer token; "" and no token_file: none is sent
    token_file  file with the token, read again when it changes
    tls_ca      file of PEM authorities: turns TLS on. tls_cert and tls_key: the client's own certificate
    """

    timeout: float = 30.0
    token: str = ""
    token_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""


class Transport:
    """Calls one service at one address. Safe for use by many threads; `close` it when done."""

    def __init__(self, service: str, address: str, access: Access) -> None:
        self.service = service
        self.address = address
        self._access = access
        self._bearer = _Bearer(access)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stubs: dict[Any, Any] = {}

    def stub(self, kind: Callable[[grpc.Channel], A]) -> A:
        """Returns the stub of a generated class, on the one channel."""
        with self._lock:
            if self._channel is None:
                self._channel = _open(self.address, self._access)
            if kind not in self._stubs:
                self._stubs[kind] = kind(self._channel)
            stub: A = self._stubs[kind]
            return stub

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, *, bulk: bool = False) -> A:
        """Returns the answer. Raises FivefoldError."""
        timeout = self._timeout(bulk)
        try:
            return method(request, timeout=timeout, metadata=self._bearer.metadata())
        except grpc.RpcError as error:
            raise self._typed(error, timeout) from None

    def send(self, method: grpc.StreamUnaryMultiCallable[Q, A], requests: Iterable[Q]) -> A:
        """Streams requests and returns the one answer. An error while making a request is raised as it is.

        Raises FivefoldError.
        """
        timeout = self._timeout(bulk=True)
        source = _Source(requests)
        try:
            return method(source, timeout=timeout, metadata=self._bearer.metadata())
        except grpc.RpcError as error:
            if source.failure is not None:
                raise source.failure from None
            raise self._typed(error, timeout) from None

    def receive(
        self, method: grpc.UnaryStreamMultiCallable[Q, A], request: Q, *, timeout: float | None = None
    ) -> Iterator[A]:
        """Yields the answers of a stream; leaving the loop early cancels it. Raises FivefoldError while iterated."""
        seconds = self._timeout(bulk=True) if timeout is None else (timeout or None)
        answers = method(request, timeout=seconds, metadata=self._bearer.metadata())
        try:
            yield from answers
        except grpc.RpcError as error:
            raise self._typed(error, seconds) from None
        finally:
            answers.cancel()

    def exchange(self, method: grpc.StreamStreamMultiCallable[Q, A], requests: Iterator[Q]) -> Iterator[A]:
        """Yields the answers to a stream of requests, which gRPC draws in a thread of its own; there is no deadline.

        Raises FivefoldError while iterated.
        """
        answers = method(requests, metadata=self._bearer.metadata())
        try:
            yield from answers
        except grpc.RpcError as error:
            raise self._typed(error, None) from None
        finally:
            answers.cancel()

    def follow(self, open_stream: Callable[[], Iterator[A]]) -> Iterator[A]:
        """Yields from a stream and opens it again when the service goes away, for a minute since its last answer.

        open_stream  opens it where the last answer left off; called again after each break
        """
        lost_since: float | None = None
        while True:
            try:
                for answer in open_stream():
                    lost_since = None
                    yield answer
                return
            except Unavailable:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > _RECONNECT_SECONDS:
                    raise
                time.sleep(0.5)

    def pages(
        self, method: grpc.UnaryUnaryMultiCallable[Q, Any], request: Q, items: str, limit: int | None = None
    ) -> Iterator[Any]:
        """Yields the items of all pages, at most `limit` of them. `request` is changed on the way."""
        left = limit
        while left is None or left > 0:
            request.page_size = 1000 if left is None else min(left, 1000)  # type: ignore[attr-defined]
            answer = self.call(method, request)
            found = getattr(answer, items)[:left]
            yield from found
            left = None if left is None else left - len(found)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token  # type: ignore[attr-defined]

    def health(self, timeout: float) -> str:
        """Returns what the service says of itself: "SERVING", "NOT_SERVING" or "UNKNOWN".

        Raises Unreachable or DeadlineExceeded when nobody answers within `timeout` seconds.
        """
        with self._lock:
            if self._channel is None:
                self._channel = _open(self.address, self._access)
        # grpc.health.v1: an empty message asks for the whole server; field 1 of the answer is the state.
        check: Any = self._channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer: bytes = check(b"", timeout=timeout)
        except grpc.RpcError as error:
            raise self._typed(error, timeout) from None
        states = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}
        return states.get(answer, "UNKNOWN")

    @property
    def has_token(self) -> bool:
        """Whether calls say who makes them."""
        return bool(self._bearer.metadata())

    def close(self) -> None:
        """Closes the connection; calls that are under way are cancelled."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = None
            self._stubs.clear()

    def _timeout(self, bulk: bool) -> float:
        return self._access.timeout * BULK if bulk else self._access.timeout

    def _typed(self, error: grpc.RpcError, timeout: float | None) -> Exception:
        return of_call(error, service=self.service, address=self.address, timeout=timeout)


def request_id() -> str:
    """Returns a new id for a mutation."""
    return uuid.uuid4().hex


class _Source:
    """Requests on their way into gRPC, which swallows what they raise; kept here so that the caller can raise it."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self._requests = iter(requests)
        self.failure: Exception | None = None

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as error:
            self.failure = error
            raise


class _Bearer:
    """The token that goes with each call."""

    def __init__(self, access: Access) -> None:
        self._token = access.token
        self._file = Path(access.token_file) if access.token_file and not access.token else None
        self._stamp = -1

    def metadata(self) -> tuple[tuple[str, str], ...]:
        if self._file is not None:
            try:
                stamp = self._file.stat().st_mtime_ns
                if stamp != self._stamp:
                    self._token, self._stamp = self._file.read_text().strip(), stamp
            except OSError as error:
                raise InvalidArgument(
                    f"the token file {self._file} cannot be read: {error.strerror}", reason="FIELD_INVALID"
                ) from None
        return (("authorization", f"Bearer {self._token}"),) if self._token else ()


def _open(address: str, access: Access) -> grpc.Channel:
    if not access.tls_ca:
        return grpc.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_pem(access.tls_ca, "tls_ca"),
        private_key=_pem(access.tls_key, "tls_key") if access.tls_key else None,
        certificate_chain=_pem(access.tls_cert, "tls_cert") if access.tls_cert else None,
    )
    return grpc.secure_channel(address, credentials, options=_OPTIONS)


def _pem(path: str, field: str) -> bytes:
    try:
        return Path(os.path.expanduser(path)).read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"{field} is {path!r}, which cannot be read: {error.strerror}",
            reason="FIELD_INVALID",
            facts={"field": field},
        ) from None
