"""A watch over a connection that breaks: every event once, in order, wherever it broke."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fivefold.sdk.client import Client
from fivefold.sdk.registry import Event
from fivefold.sdk.transport import Access


class Cable:
    """A connection between a client and a service that can be cut; what connects later finds it whole again."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection that is open."""
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.create_connection(self._target)
                with self._lock:
                    self._open += [near, far]
                    self.connections += 1
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(addresses: dict[str, str]) -> Iterator[Cable]:
    made = Cable(addresses["registry"])
    yield made
    made.close()


def test_a_watch_goes_on_where_its_connection_broke(addresses: dict[str, str], client: Client, cable: Cable) -> None:
    model = client.registry.create_model("sdk-cable").name
    with Client({**addresses, "registry": cable.address}, Access()) as distant:
        events = distant.registry.watch(models=[model])
        seen = [next(events)]
        for step in range(4):
            client.registry.update_model(model, description=f"step {step}")
            if step % 2:
                cable.cut()
            client.registry.update_model(model, tags={"step": str(step)})
            seen += [next(events), next(events)]
        events.close()  # type: ignore[attr-defined]
    assert cable.connections >= 3
    assert [event.type for event in seen] == ["REGISTERED_MODEL_CREATED", *["REGISTERED_MODEL_UPDATED"] * 8]
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))


def test_a_watch_of_what_is_new_misses_nothing_when_its_connection_breaks(
    addresses: dict[str, str], client: Client, cable: Cable
) -> None:
    model = client.registry.create_model("sdk-cable-new").name
    both = [model, "models/sdk-cable-last"]
    seen: list[Event] = []
    steps = itertools.count()

    def read(events: Iterator[Event], name: str) -> None:
        """Takes the next event, while more of them happen, so that one that was missed does not mean waiting."""
        reader = threading.Thread(target=lambda: seen.append(next(events)))
        reader.start()
        while reader.is_alive():
            client.registry.update_model(name, description=f"step {next(steps)}")
            reader.join(0.2)

    with Client({**addresses, "registry": cable.address}, Access()) as distant:
        events = distant.registry.watch(models=both, only_new=True)
        read(events, model)
        cable.cut()
        client.registry.update_model(model, description="while nobody was connected")
        last = client.registry.rename_model(model, both[1]).name
        told = list(iter_until(client.registry.watch(seen[0].position - 1, models=both), "REGISTERED_MODEL_RENAMED"))
        while seen[-1].position < told[-1].position:
            read(events, last)
        events.close()  # type: ignore[attr-defined]
    assert seen[: len(told)] == told


def iter_until(events: Iterator[Event], kind: str) -> Iterator[Event]:
    """Yields events up to the first of a kind, then closes the watch."""
    for event in events:
        yield event
        if event.type == kind:
            events.close()  # type: ignore[attr-defined]
