"""`fivefold artifacts`: lists, fetches, stores and deletes files of runs and logged models."""

from __future__ import annotations

from typing import Any

import click

from fivefold.cli.output import listed, show
from fivefold.cli.progress import bar
from fivefold.cli.session import client


@click.group()
def artifacts() -> None:
    """Files among a run's artifacts."""


@artifacts.command("list")
@click.argument("run")
@click.argument("path", default="")
@click.option("-r", "--recursive", is_flag=True, help="All files below, instead of one level.")
@listed
def list_(run: str, path: str, recursive: bool, output: str) -> None:
    """Lists the files and folders below PATH of a run or logged model."""
    with client() as connected:
        found = connected.tracking.artifacts.list(run, path, recursive=recursive)
    rows: list[dict[str, Any]] = [one.to_dict() for one in found]
    if output == "table":
        rows = [
            {
                "path": f"{row['path']}/" if row["folder"] else row["path"],
                "size": "" if row["folder"] else size_text(row["size_bytes"]),
                "sha256": row["sha256"][:12],
            }
            for row in rows
        ]
        where = f"{path} of {run}" if path else run
        return show(rows, output, empty=f"{where} has no files; store some with: fivefold artifacts put {run} LOCAL")
    show(rows, output, ("path", "folder", "size_bytes", "sha256"))


@artifacts.command()
@click.argument("run")
@click.argument("path", default="")
@click.argument("local", default="")
def get(run: str, path: str, local: str) -> None:
    """Fetches a file, or all files of a folder, to LOCAL; to its own name here by default.

    Without PATH, all files of the run. What is there already, byte for byte, is not fetched again.
    """
    target = local or path.rstrip("/").rpartition("/")[2] or run.rpartition("/")[2]
    with client() as connected, bar() as progress:
        where = connected.tracking.artifacts.get(run, path, target, progress=progress)
    click.echo(str(where))


@artifacts.command()
@click.argument("run")
@click.argument("local", type=click.Path(exists=True))
@click.argument("path", default="")
def put(run: str, local: str, path: str) -> None:
    """Stores a file, or all files of a folder, at PATH; a file under its own name by default.

    A transfer that broke off goes on where it stopped when the command is given again, for a day.
    """
    with client() as connected, bar() as progress:
        stored = connected.tracking.artifacts.put(run, local, path, progress=progress)
    for one in stored:
        click.echo(one.path)


@artifacts.command()
@click.argument("run")
@click.argument("path")
def delete(run: str, path: str) -> None:
    """Deletes a file, or a folder with everything below it."""
    with client() as connected:
        connected.tracking.artifacts.delete(run, path)
    click.echo(f"{path} is deleted")


def size_text(size: float) -> str:
    """Returns a number of bytes as people read it: "12 B", "3.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
