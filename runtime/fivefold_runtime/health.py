"""Health (grpc.health.v1): per service and overall (""), on the main port and on a plaintext port that serves nothing
else.

The name of a service, or "" for the whole, is SERVING while the app is ready. LIVE is SERVING as long as the process
answers at all: a server whose database is away is not ready, but starting it again would not bring the database back.

A Watch holds no thread while it waits, and ends when the server drains, so that it never holds the drain up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2 as pb

from fivefold_runtime import pools

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name

LIVE = "live"

_EVERY = 1.0  # seconds between two questions whether the service is ready
_Send = Callable[[pb.HealthCheckResponse | None], None]  # sends one answer of a Watch; None ends it


class Health:
    """Keeps the answers of health up to date with the app's `ready`."""

    def __init__(self, services: Iterable[str], ready: Callable[[], str], pool: ThreadPoolExecutor) -> None:
        """
        services  full names on the wire
        ready     "" or why not, asked every second
        pool      where health is answered, so that busy calls never delay it
        """
        self._services = frozenset(["", *services])
        self._ready = ready
        self._pool = pool
        self._why = "starting"
        self._watchers: dict[_Send, str] = {}
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, name="health", daemon=True)

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns what a gRPC server needs to answer health."""

        def check(request: pb.HealthCheckRequest, context: grpc.ServicerContext) -> pb.HealthCheckResponse:
            if request.service == LIVE:
                return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING)
            if request.service not in self._services:
                context.abort(grpc.StatusCode.NOT_FOUND, "this server has no such service")
            return self._status()

        def watch(request: pb.HealthCheckRequest, context: grpc.ServicerContext, send: _Send) -> None:
            with self._lock:
                if request.service in self._services:
                    send(self._status())
                else:
                    send(pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN))
                self._watchers[send] = request.service
            if not context.add_callback(lambda: self._forget(send)):
                self._forget(send)

        parse, serialize = pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
        pools.run_on(self._pool, check)
        pools.run_on(self._pool, watch)
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]  # grpcio then hands it `send`
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(check, parse, serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, parse, serialize),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def start(self) -> None:
        """Begins to answer for the app, and to ask it every second."""
        self._ask()
        self._thread.start()

    def drain(self) -> None:
        """Says NOT_SERVING from now on, whatever the app says."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._say("draining")

    def end_watches(self) -> None:
        """Ends every open Watch."""
        with self._lock:
            for send in list(self._watchers):
                send(None)

    def _keep_asking(self) -> None:
        while not self._stopped.wait(_EVERY):
            self._ask()

    def _ask(self) -> None:
        try:
            self._say(self._ready())
        except Exception:
            log.exception("cannot tell whether the service is ready")
            self._say("the check of readiness failed")

    def _say(self, why: str) -> None:
        with self._lock:
            changed, self._why = bool(why) != bool(self._why), why
            if changed:
                log.info("readiness changed", extra={"ready": not why, "why": why})
                for send, service in list(self._watchers.items()):
                    if service in self._services:
                        send(self._status())

    def _status(self) -> pb.HealthCheckResponse:
        status = pb.HealthCheckResponse.NOT_SERVING if self._why else pb.HealthCheckResponse.SERVING
        return pb.HealthCheckResponse(status=status)

    def _forget(self, send: _Send) -> None:
        with self._lock:
            self._watchers.pop(send, None)
