"""Prometheus metrics of calls, and the small HTTP server that shows them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from fivefold_runtime import ports
from fivefold_runtime.settings import host_of

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one server. A service adds its own to `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["service", "method", "code"]
        self.handled = Counter("fivefold_calls", "Calls that ended, by gRPC code", labels, registry=self.registry)
        self.seconds = Histogram(
            "fivefold_call_seconds", "Time that calls took", labels[:2], buckets=_BUCKETS, registry=self.registry
        )
        self.running = Gauge("fivefold_calls_running", "Calls that run", labels[:2], registry=self.registry)

    def serve(self, listen: str) -> Callable[[], None]:
        """Answers GET /metrics on `listen` and returns what stops it. Raises StartError when the port is taken."""
        host, port = host_of(listen, "metrics_listen")
        try:
            server, thread = start_http_server(port, host, registry=self.registry)
        except OSError:
            raise ports.refusal(listen, "metrics_listen") from None

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop
