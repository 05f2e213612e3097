"""Tracking, features and registry in this process, a client that talks to them, and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import fivefold_features.__main__ as features
import fivefold_registry.__main__ as registry
import fivefold_tracking.__main__ as tracking
from fivefold.cli import main
from fivefold.sdk.client import Client
from fivefold.sdk.transport import Access
from fivefold_runtime.testing import serve

NOBODY = "127.0.0.1:9"  # the discard service's port, where nobody listens


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the services are; automl and serving are not there."""
    root = tmp_path_factory.mktemp("services")
    with (
        serve(tracking.build, tracking.Config(data=str(root / "tracking"))) as first,
        serve(features.build, features.Config(data=str(root / "features"))) as second,
        serve(registry.build, registry.Config(data=str(root / "registry"), tracking=first.address, copies=2)) as third,
    ):
        yield {
            "tracking": first.address,
            "features": second.address,
            "registry": third.address,
            "automl": NOBODY,
            "serving": NOBODY,
        }


@pytest.fixture
def client(addresses: dict[str, str]) -> Iterator[Client]:
    """A client of those services."""
    with Client(addresses, Access()) as connected:
        yield connected


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def fivefold(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs a command in this process against those services."""
    for service, address in addresses.items():
        monkeypatch.setenv(f"FIVEFOLD_URL_{service.upper()}", address)

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run
