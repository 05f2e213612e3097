"""A receiver of webhooks on loopback, which answers as the test wants and remembers what came."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "sixteen bytes or more"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`answer` is asked for each request and returns a status, or (status, headers, body)."""

    answer: Callable[[Received], Any] = lambda _: 200
    received: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)  # those that were answered 200
    url: str = ""
    news: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, until: Callable[[], bool]) -> None:
        """Waits until something holds, which is asked whenever a request has been answered."""
        with self.news:
            assert self.news.wait_for(until, PATIENCE_SECONDS), f"received {len(self.received)} requests"

    def take(self, count: int) -> list[dict[str, Any]]:
        """Waits until so many different deliveries were taken; returns the fields of each, in the order of the first."""
        self.wait(lambda: len({one.headers["Fivefold-Delivery"] for one in self.taken}) >= count)
        return list({one.headers["Fivefold-Delivery"]: one.fields for one in reversed(self.taken)}.values())[::-1]

    @contextmanager
    def served(self, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
        server = _Server(("127.0.0.1", 0), _handler(self))
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that breaks off is part of the tests."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received = Received(self.path, dict(self.headers.items()), body)
            answer = receiver.answer(received)
            status, headers, content = answer if isinstance(answer, tuple) else (answer, {}, b"thank you")
            with receiver.news:
                receiver.received.append(received)
                if status == 200:
                    receiver.taken.append(received)
                receiver.news.notify_all()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
