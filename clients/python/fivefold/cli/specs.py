"""`fivefold specs`: lists and shows feature specs."""

from __future__ import annotations

import click

from fivefold.cli.arguments import limit
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client


@click.group()
def specs() -> None:
    """Feature specs."""


@specs.command("list")
@limit
@listed
def list_(limit: int | None, output: str) -> None:
    """Lists feature specs by name."""
    with client() as connected:
        found = [one.to_dict() for one in connected.features.list_specs(limit=limit)]
    if output in ("json", "yaml"):
        return show(found, output)
    rows = [
        one | {"tables": [lookup["table"] for lookup in one["lookups"]], "keys": [key["name"] for key in one["keys"]]}
        for one in found
    ]
    show(rows, output, ("name", "tables", "keys", "create_time", "description"))


@specs.command("show")
@click.argument("spec")
@shown
def show_(spec: str, output: str) -> None:
    """Shows a spec: its lookups, the keys that go in, the features that come out."""
    with client() as connected:
        show(connected.features.get_spec(spec).to_dict(), output)
