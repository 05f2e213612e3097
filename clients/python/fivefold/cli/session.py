"""The client that a command talks through, made from the options that stand before the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fivefold.sdk.client import Client


@contextmanager
def client() -> Iterator[Client]:
    """Yields a client for --url and --timeout, else for what the environment says."""
    from fivefold.sdk.client import connect

    meta = click.get_current_context().meta
    with connect(meta.get("fivefold.url"), timeout=meta.get("fivefold.timeout", 30.0)) as connected:
        yield connected
