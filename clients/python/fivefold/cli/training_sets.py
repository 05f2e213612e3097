"""`fivefold training-sets`: creates, shows and reads training sets."""

from __future__ import annotations

from pathlib import Path

import click

from fivefold.cli.output import formats, show, shown
from fivefold.cli.rows import frame_of
from fivefold.cli.session import client


@click.group("training-sets")
def training_sets() -> None:
    """Point-in-time training sets."""


@training_sets.command()
@click.argument("spec")
@click.argument("labels", metavar="LABELS_FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--timestamp", required=True, metavar="COLUMN", help="Time at which each row asks, with a zone.")
@click.option(
    "--label", "label_columns", multiple=True, required=True, metavar="COLUMN", help="To predict; may be repeated."
)
@click.option("--exclude", multiple=True, metavar="COLUMN", help="Stays out, such as a key; may be repeated.")
@shown
def create(
    spec: str, labels: Path, timestamp: str, label_columns: tuple[str, ...], exclude: tuple[str, ...], output: str
) -> None:
    """Joins features to the rows of a Parquet, CSV or JSON file, each at its own time.

    The file has the keys of the spec, the time, the labels, and what else the model is to see.

    Example: fivefold training-sets create flights late.csv --timestamp scheduled --label late --exclude tailnum
    """
    with client() as connected:
        kinds = {key.name: key.type for key in connected.features.get_spec(spec).keys} | {timestamp: "TIMESTAMP"}
        made = connected.features.training_set(
            spec,
            frame_of(labels, kinds),
            timestamp_column=timestamp,
            label_columns=label_columns,
            exclude=exclude,
        )
    show(made.to_dict(), output)


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
