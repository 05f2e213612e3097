"""`fivefold training-sets`: shows and reads training sets."""

from __future__ import annotations

import click

from fivefold.cli.output import formats, show, shown
from fivefold.cli.session import client


@click.group("training-sets")
def training_sets() -> None:
    """Point-in-time training sets."""


@training_sets.command("show")
@click.argument("training_set")
@shown
def show_(training_set: str, output: str) -> None:
    """Shows how a training set was made: spec, table versions, columns, digests."""
    with client() as connected:
        show(connected.features.get_training_set(training_set).to_dict(), output)


@training_sets.command()
@click.argument("training_set")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Rows at most; 0: all.")
@formats("json", "yaml", "csv")
def read(training_set: str, limit: int, output: str) -> None:
    """Prints rows, in the order of the labels."""
    from fivefold.cli.tables import first_rows

    with client() as connected:
        show(first_rows(connected.features.get_training_set(training_set).batches(), limit), output)
