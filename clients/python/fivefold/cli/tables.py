"""`fivefold tables`: lists, describes, creates, writes, reads and publishes feature tables."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from fivefold.cli.arguments import as_of, limit
from fivefold.cli.output import formats, listed, show, shown
from fivefold.cli.session import client


@click.group()
def tables() -> None:
    """Feature tables."""


@tables.command("list")
@limit
@listed
def list_(limit: int | None, output: str) -> None:
    """Lists feature tables by name."""
    with client() as connected:
        found = connected.features.list_tables(limit=limit)
    columns = ("name", "primary_keys", "timestamp_key", "current_version", "published", "update_time", "description")
    show([one.to_dict() for one in found], output, columns)


@tables.command()
@click.argument("table")
@shown
def describe(table: str, output: str) -> None:
    """Shows a table with its columns and its latest versions."""
    with client() as connected:
        found = connected.features.get_table(table).to_dict()
        found["versions"] = [one.to_dict() for one in connected.features.table_versions(table, limit=10)]
    show(found, output)


@tables.command()
@click.argument("table")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="COLUMN", help="Part of the primary key; may be repeated."
)
@click.option("--timestamp-key", default=None, metavar="COLUMN", help="Time from which a row is true.")
@click.option("--knowledge-key", default=None, metavar="COLUMN", help="Time at which a row became known.")
@click.option("--description", default="", help="What it holds.")
@shown
def create(
    table: str,
    file: Path,
    keys: tuple[str, ...],
    timestamp_key: str | None,
    knowledge_key: str | None,
    description: str,
    output: str,
) -> None:
    """Creates a table with the columns of a Parquet or CSV file; writes no rows."""
    from fivefold.sdk.frames import file_of

    with client() as connected:
        made = connected.features.create_table(
            table,
            file_of(file).schema,
            keys=keys,
            timestamp_key=timestamp_key,
            knowledge_key=knowledge_key,
            description=description,
        )
    show(made.to_dict(), output)


@tables.command()
@click.argument("table")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["merge", "overwrite"]),
    default="merge",
    show_default=True,
    help="What becomes of rows that are there.",
)
@shown
def write(table: str, file: Path, mode: str, output: str) -> None:
    """Writes the rows of a Parquet or CSV file, all or none."""
    from fivefold.sdk.frames import file_of

    with client() as connected:
        show(connected.features.write(table, file_of(file), mode=mode).to_dict(), output)


@tables.command()
@click.argument("table")
@click.option("--version", type=click.IntRange(0), default=0, help="0 is the newest.")
@click.option("--column", "columns", multiple=True, help="Only this one; may be repeated.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Rows at most; 0: all.")
@formats("json", "yaml", "csv")
def read(table: str, version: int, columns: tuple[str, ...], limit: int, output: str) -> None:
    """Prints rows, ordered by key and time."""
    with client() as connected:
        show(first_rows(connected.features.scan(table, version=version, columns=columns or None), limit), output)


@tables.command()
@click.argument("table")
@as_of
@click.option("--reset", is_flag=True, help="Clear what is online first.")
@shown
def publish(table: str, as_of: datetime | None, reset: bool, output: str) -> None:
    """Makes the newest values per key available online."""
    with client() as connected:
        show(connected.features.publish(table, as_of=as_of, reset=reset).to_dict(), output)


def first_rows(batches: Any, limit: int) -> list[dict[str, Any]]:
    """Returns the first rows of a stream, all with limit 0; reads no further."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        rows.extend(batch.slice(0, limit - len(rows) if limit else None).to_pylist())
        if limit and len(rows) >= limit:
            break
    return rows
