"""Sends one POST to a target: checks the addresses that its host has now, and connects to exactly those.

The name is resolved once per attempt; the check and the connection use that one answer, so that a name which changes
between the two changes nothing. TLS still verifies the name. Redirects are not followed, proxies of the environment are
not used, and an attempt has one time limit over all its parts, however slowly the receiver drips.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpcore

from fivefold_registry.webhooks.addresses import Rules, Target
from fivefold_runtime.settings import StartError

Resolve = Callable[[str, int], Sequence[str]]

MAX_ANSWER = 4096  # bytes of an answer's body that are read
_PIECE = 4096  # bytes that are written at once
_CONNECTIONS = 3  # addresses of one host that are tried


class SendFailed(Exception):
    """There was no answer. The message says why, in words for the webhook's owner."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said. `body` is its beginning."""

    status_code: int
    body: str

    @property
    def taken(self) -> bool:
        return 200 <= self.status_code < 300


def system(host: str, port: int) -> list[str]:
    """Returns the addresses of a host as this machine resolves it; empty when it does not."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def trust(ca_file: str = "") -> ssl.SSLContext:
    """Returns how receivers are verified: by public authorities, and those of a PEM file. Raises StartError."""
    context = httpcore.default_ssl_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError):
            raise StartError(f"--webhook-ca {ca_file} cannot be read as PEM certificates.") from None
    return context


class Sender:
    """Safe for use by many threads."""

    def __init__(
        self, rules: Rules, timeout_seconds: float, context: ssl.SSLContext, resolve: Resolve = system
    ) -> None:
        self._rules = rules
        self._timeout = timeout_seconds
        self._context = context
        self._resolve = resolve
        self._lock = threading.Lock()
        self._open: set[_Stream] = set()
        self._closed = False

    def check(self, target: Target) -> list[str]:
        """Returns the addresses of a target, all of them checked. Raises AddressRefused."""
        addresses = [target.host] if target.literal else self._resolved(target)
        self._rules.check(target, addresses)
        return addresses

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Returns what the receiver answered, whatever its status. Raises SendFailed, AddressRefused."""
        until = time.monotonic() + self._timeout
        addresses = self.check(target)
        try:
            with httpcore.ConnectionPool(
                ssl_context=self._context,
                max_connections=1,
                network_backend=_Checked(self, addresses, until),
            ) as pool:
                return self._exchange(pool, target, headers, body)
        except httpcore.TimeoutException:
            raise SendFailed(f"no answer within {self._timeout:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            raise SendFailed(f"the certificate does not verify: {error.verify_message}") from None
        except httpcore.ConnectError as error:
            raise SendFailed(_cause(error)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError):
            raise SendFailed("the connection broke off, or the answer was no HTTP") from None

    def close(self) -> None:
        """Breaks off what is being sent."""
        with self._lock:
            self._closed = True
            streams = list(self._open)
        for stream in streams:
            stream.abort()

    def _resolved(self, target: Target) -> list[str]:
        """Returns the addresses of a name, none when there is no answer in time: the system's resolver has no limit."""
        found: list[str] = []
        asking = threading.Thread(
            target=lambda: found.extend(self._resolve(target.host, target.port)), name="resolve", daemon=True
        )
        asking.start()
        asking.join(self._timeout)
        return [] if asking.is_alive() else found

    def _exchange(
        self, pool: httpcore.ConnectionPool, target: Target, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        # No body is worth decompressing to find out whether a delivery was taken.
        sent = {**headers, "Host": _authority(target), "Connection": "close", "Accept-Encoding": "identity"}
        sent["Content-Length"] = str(len(body))
        with pool.stream("POST", url, headers=list(sent.items()), content=body) as response:
            read = b""
            for chunk in response.iter_stream():
                read += chunk
                if len(read) >= MAX_ANSWER:
                    break
            return Answer(response.status, read[:MAX_ANSWER].decode("utf-8", "replace"))

    def opened(self, stream: _Stream) -> None:
        with self._lock:
            self._open.add(stream)
            closed = self._closed
        if closed:
            stream.abort()

    def gone(self, stream: _Stream) -> None:
        with self._lock:
            self._open.discard(stream)


class _Checked(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever host it is told."""

    def __init__(self, sender: Sender, addresses: Sequence[str], until: float) -> None:
        self._sender = sender
        self._addresses = addresses
        self._until = until
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses[:_CONNECTIONS]:
            try:
                return _Stream(self._sender, self._system.connect_tcp(address, port, _left(self._until)), self._until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("no sockets of files")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection all of whose reads and writes end by one point in time, and that another thread can break off."""

    def __init__(self, sender: Sender, inner: httpcore.NetworkStream, until: float) -> None:
        self._sender = sender
        self._inner = inner
        self._until = until
        sender.opened(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:  # In pieces, since the limit holds for each.
            self._inner.write(bytes(view[:_PIECE]), _left(self._until))
            view = view[_PIECE:]

    def close(self) -> None:
        self._sender.gone(self)
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._sender.gone(self)
        secured = self._inner.start_tls(ssl_context, server_hostname, _left(self._until))
        return _Stream(self._sender, secured, self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def abort(self) -> None:
        connection = self._inner.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # It may have ended by itself.
                connection.shutdown(socket.SHUT_RDWR)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("time is up")
    return left


def _authority(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = {"https": 443, "http": 80}[target.scheme]
    return host if target.port == usual else f"{host}:{target.port}"


def _cause(error: Exception) -> str:
    """Returns why there is no connection: httpcore keeps the system's error behind its own."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection could be made"
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror}"
    return "no connection"
