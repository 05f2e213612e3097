"""Real tracking, features, registry and serving in one process, and a client of them all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fivefold.sdk.addresses import resolve
from fivefold.sdk.client import Client, access_from
from fivefold_features import __main__ as features
from fivefold_registry import __main__ as registry
from fivefold_runtime.testing import Running, serve
from fivefold_serving import __main__ as serving
from fivefold_tracking import __main__ as tracking
from tests.serving import fitted

PATIENCE = 60.0  # seconds that a condition may take to come true; reached only when a test fails


@dataclass
class World:
    """The services. `serving` is None until `serve` has been called."""

    folder: Path
    tracking: Running
    features: Running
    registry: Running
    client: Client
    stack: ExitStack
    run: str = ""
    packages: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[World]:
        with ExitStack() as stack:
            one = stack.enter_context(serve(tracking.build, tracking.Config(data=str(folder / "tracking"))))
            two = stack.enter_context(
                serve(features.build, features.Config(data=str(folder / "features"), functions="tests.features.shop"))
            )
            three = stack.enter_context(
                serve(registry.build, registry.Config(data=str(folder / "registry"), tracking=one.address))
            )
            client = client_of(tracking=one.address, features=two.address, registry=three.address)
            stack.callback(client.close)
            yield cls(folder, one, two, three, client, stack)

    def uploaded(self, folder: Path) -> str:
        """Uploads a package as an artifact of a run; returns its source."""
        if not self.run:
            experiment = self.client.tracking.create_experiment("models", allow_existing=True)
            self.run = self.client.tracking.create_run(experiment.name).name
        name = f"{folder.name}-{len(self.packages)}"
        self.client.tracking.upload(self.run, folder, name)
        self.packages[name] = f"{self.run}/artifacts/{name}"
        return self.packages[name]

    def version(self, model: str, folder: Path) -> str:
        """Registers a package as a model's next version; returns its name."""
        self.client.registry.create_model(model, allow_existing=True)
        return self.client.registry.create_version(model, self.uploaded(folder)).name

    def promote(self, version: str) -> None:
        self.client.registry.transition(version, "Production", archive_existing=True)

    def demote(self, version: str) -> None:
        self.client.registry.transition(version, "Archived")

    @contextmanager
    def serve(self, name: str = "serving", **settings: Any) -> Iterator[Server]:
        given = {"registry": self.registry.address, "features": self.features.address, **settings}
        with serve(serving.build, serving.Config(data=str(self.folder / name), **given)) as running:
            client = client_of(serving=running.address)
            yield Server(running, client)
            client.close()


@dataclass
class Server:
    """A running serving service with a client."""

    running: Running
    client: Client

    def state(self, version: str) -> str:
        """Returns the state of a version: LIVE …, "" when it is not there."""
        found = {served.model_version: served.state for served in self.client.serving.state().served_models}
        return found.get(version, "")

    def until(self, version: str, state: str = "LIVE") -> None:
        """Waits until a version is in a state."""
        until(lambda: self.state(version) == state, f"{version} is {state}")

    def served(self, version: str) -> Any:
        return next(one for one in self.client.serving.served_models() if one.model_version == version)


def until(true: Callable[[], bool], what: str) -> None:
    """Waits until a condition is true; fails after PATIENCE."""
    pause, end = threading.Event(), time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        pause.wait(0.02)


def free_port() -> int:
    """Returns a port that was free a moment ago, for a server that has to come back under its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def client_of(**addresses: str) -> Client:
    environ = {f"FIVEFOLD_URL_{service.upper()}": address for service, address in addresses.items()}
    return Client(resolve(None, environ), access_from(None, None, None, None, None, timeout=30.0))


def row(place: int = 0, count: int = 1) -> dict[str, list[Any]]:
    """Returns some rows of the table as a request has them."""
    frame = fitted.table().iloc[place : place + count]
    return {name: [None if value != value else value for value in frame[name].tolist()] for name in frame}
