"""Channels to other services, for a service's `clients.py`: balancing, keepalive, TLS, retries, identity, deadlines.

A channel acts for the caller (their token goes along, and so does what is left of their time) or for this server itself
(the token of `token_file`, read again when it changes). Work that outlives a call acts for the server.
"""

from __future__ import annotations

import json
import os
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import grpc

from fivefold_runtime import calls
from fivefold_runtime.errors import FivefoldError, Unavailable, parse
from fivefold_runtime.settings import ServerConfig, StartError
from fivefold_runtime.tls import channel_credentials

_SECONDS = 30.0  # deadline of a unary call that has none
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


def channel(address: str, config: ServerConfig, *, acting_for: Literal["caller", "self"]) -> grpc.Channel:
    """Opens a channel; connects with the first call, and again by itself.

    address  host:port, or dns:///NAME:PORT of a headless Service, whose addresses take turns
    Raises StartError when the certificates or the token file of the settings cannot be read.
    """
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials = channel_credentials(config)
    plain = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    token = (lambda: calls.caller().token) if acting_for == "caller" else TokenFile(config.token_file)
    return grpc.intercept_channel(plain, _Outgoing(token))


class TokenFile:
    """The token in a file, read again when the file changes. An empty path: no token."""

    def __init__(self, path: str) -> None:
        """Raises StartError when the file cannot be read."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""
        try:
            self()
        except OSError as error:
            raise StartError(f"cannot read {path}: {error.strerror}. Check --token-file.") from None

    def __call__(self) -> str:
        """Returns the token. Raises OSError when the file is gone."""
        if self._path:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._seen:
                self._token = Path(self._path).read_text("ascii").strip()
                self._seen = stamp
        return self._token


@contextmanager
def passed_on(service: str) -> Iterator[None]:
    """Turns what a call to another service fails with into an error of ours.

    Its refusals keep their code, reason and facts. When it cannot be reached, or breaks, that is SERVICE_UNAVAILABLE
    and names the service, so that its defect does not look like ours.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise refusal_of(error, service) from error


def refusal_of(error: Any, service: str) -> FivefoldError:
    """Returns the error that `passed_on` raises for a grpc.RpcError."""
    code, (reason, facts) = error.code(), parse(error)
    if reason and code not in _BROKEN:
        kind = type("PassedOn", (FivefoldError,), {"code": code, "reason": reason})
        return kind(error.details() or reason, **facts)
    call = calls.current.get()
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and call is not None and call.remaining() <= 0:
        return calls.gone()
    return Unavailable(f"the {service} service does not answer at the moment", retry_after=1.0, service=service)


_BROKEN = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED,
}  # fmt: skip

_Details = namedtuple("_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression"))


class _Outgoing(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds identity, trace and deadline to each call."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def _more(self, details: Any, default: float | None) -> Any:
        call = calls.current.get()
        metadata = list(details.metadata or ())
        token = self._token()
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        if call is not None and call.traceparent:
            metadata.append(("traceparent", call.traceparent))
        seconds = details.timeout if details.timeout is not None else default
        if call is not None and call.remaining() < (float("inf") if seconds is None else seconds):
            seconds = call.remaining()
        return _Details(
            details.method, seconds, metadata, details.credentials, details.wait_for_ready, details.compression
        )

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._more(client_call_details, _SECONDS), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._more(client_call_details, None), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._more(client_call_details, None), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._more(client_call_details, None), request_iterator)
