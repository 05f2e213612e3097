"""The gRPC server of one App: ports, limits, health, reflection, and a drain that loses no call.

`Server.start` takes the ports, `Server.drain` ends it: health says NOT_SERVING, after `notice_seconds` no new call is
taken (GOAWAY), running calls get `drain_seconds`, then everything is closed. `main.run` and `testing.serve` both use
it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import grpc
from google.protobuf import descriptor_pool

from fivefold_runtime import ports
from fivefold_runtime.answering import Answering
from fivefold_runtime.app import App
from fivefold_runtime.handlers import Around, Handlers
from fivefold_runtime.health import SERVICE as HEALTH
from fivefold_runtime.health import Health
from fivefold_runtime.identity import Verifier
from fivefold_runtime.metrics import Metrics
from fivefold_runtime.pools import BoundedPool
from fivefold_runtime.settings import ServerConfig
from fivefold_runtime.tls import server_credentials

log = logging.getLogger(__name__)

_QUEUE = 16  # unary calls that may wait, per thread
_EXPRESS_THREADS = 4


class Server:
    """One running service."""

    def __init__(self, config: ServerConfig, app: App) -> None:
        """Composes all handlers. Raises StartError for a method without policy or implementation, or unusable keys."""
        self.app = app
        self.port = 0  # of `listen`, once started
        self.health_port = 0  # of `health_listen`, once started
        self.metrics = Metrics()
        self._config = config
        self._draining = threading.Event()
        self._ending: list[Callable[[], None]] = []
        unary = BoundedPool(config.threads, config.threads * _QUEUE, "unary")
        streams = BoundedPool(config.stream_threads, config.stream_threads, "stream")
        express = BoundedPool(_EXPRESS_THREADS, 1024, "express")
        self._pools = [unary, streams, express]
        around = Around(Verifier.of(config), app.authorizer, self.metrics, unary, streams, express, self._draining)
        named = [key if isinstance(key, tuple) else (key, key) for key in app.servicers]
        handlers: list[grpc.GenericRpcHandler] = [
            Handlers(served, descriptor_pool.Default().FindServiceByName(contract), servicer, around)
            for (served, contract), servicer in zip(named, app.servicers.values(), strict=True)
        ]
        self._answering = Answering(app.database) if app.database is not None else None
        self.health = Health([served for served, _ in named], self._why_not, express)
        handlers.append(self.health.handler())
        if not config.production:
            from fivefold_runtime import reflection

            handlers.append(reflection.handler([*named, (HEALTH, HEALTH)], streams))
        for collector in app.collectors:
            self.metrics.registry.register(collector)
        self._server = grpc.server(unary, handlers=handlers, options=_options(config))
        self._health_server: grpc.Server | None = None
        if config.health_listen:
            self._health_server = grpc.server(express, handlers=[self.health.handler()], options=_options(config))

    def start(self) -> None:
        """Takes the ports, starts the background work, answers calls. Raises StartError when a port is taken."""
        credentials = server_credentials(self._config)
        self.port = _bind(self._server, self._config.listen, "listen", credentials)
        if self._health_server is not None:
            self.health_port = _bind(self._health_server, self._config.health_listen, "health_listen", None)
        if self._config.metrics_listen:
            self._ending.append(self.metrics.serve(self._config.metrics_listen))
        for work in self.app.background:
            work.start()
            self._ending.append(work.stop)
        if self._health_server is not None:
            self._health_server.start()
        self._server.start()
        self.health.start()

    def drain(self) -> None:
        """Ends the server as a load balancer wants it: nothing that was accepted is lost before its time is up."""
        until = time.monotonic() + self._config.drain_seconds
        self.health.drain()
        if self._config.notice_seconds:
            time.sleep(min(self._config.notice_seconds, self._config.drain_seconds))
        self._draining.set()  # Streams that wait end by themselves and tell their clients to go elsewhere.
        self.health.end_watches()
        stopped = self._server.stop(max(0.0, until - time.monotonic()))
        stopped.wait()
        self.close()

    def _why_not(self) -> str:
        """Returns "" while the service can serve, else why not."""
        return (self._answering.why_not() if self._answering else "") or self.app.ready()

    def busy(self) -> bool:
        """Says whether calls still run, which after `drain` means that they did not end when told to."""
        return any(pool.taken for pool in self._pools)

    def close(self) -> None:
        """Stops what is left at once: background work, pools, what the app asked for, the database."""
        self.health.drain()
        self._draining.set()
        self._server.stop(0).wait()
        if self._health_server is not None:
            self._health_server.stop(0).wait()
        for end in [*reversed(self._ending), *reversed(self.app.close)]:
            try:
                end()
            except Exception:
                log.exception("closing failed")
        self._ending.clear()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        if self._answering is not None:
            self._answering.close()
        if self.app.database is not None:
            self.app.database.close()


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", 0),  # else a second server binds the same port without a word
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 32 * 1024),
        ("grpc.max_concurrent_streams", 1024),  # on one connection
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 4),
    ]
    if config.connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", int(config.connection_age_seconds * 1000)))
    return options


def _bind(server: grpc.Server, address: str, name: str, credentials: grpc.ServerCredentials | None) -> int:
    ports.check_free(address, name)
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise ports.refusal(address, name)
    return port
