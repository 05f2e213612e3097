"""`fivefold features`: looks features up by key, online."""

from __future__ import annotations

from datetime import datetime

import click

from fivefold.cli.arguments import as_of, pairs
from fivefold.cli.output import formats, show
from fivefold.cli.rows import typed
from fivefold.cli.session import client


@click.group()
def features() -> None:
    """Features by key, online."""


@features.command()
@click.argument("spec")
@pairs("--key", "keys", "A key of the spec; may be repeated.")
@as_of
@click.option("--statuses", is_flag=True, help="Also say why a value is what it is.")
@formats("json", "yaml", "csv")
def get(spec: str, keys: dict[str, str], as_of: datetime | None, statuses: bool, output: str) -> None:
    """Looks up the features of one key.

    Example: fivefold features get flights --key origin=JFK --key tailnum=N14228
    """
    with client() as connected:
        kinds = {column.name: column.type for column in connected.features.get_spec(spec).keys}
        given = {name: typed(text, kinds.get(name, "STRING"), name) for name, text in keys.items()}
        found = connected.features.get(spec, given, as_of=as_of, with_statuses=statuses)
    row = found.to_dicts()[0]
    if output in ("json", "yaml"):
        told = {name: codes[0] for name, codes in found.statuses.items()}
        return show({"features": row, "statuses": told} if statuses else row, output)
    rows = [{"feature": name, "value": value, "status": found.statuses[name][0]} for name, value in row.items()]
    show(rows, output, ("feature", "value", "status") if statuses else ("feature", "value"))
