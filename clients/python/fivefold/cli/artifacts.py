"""`fivefold artifacts`: lists, fetches and stores files among a run's artifacts."""

from __future__ import annotations

import click

from fivefold.cli.output import listed, show
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
    """Lists the files and folders below PATH."""
    with client() as connected:
        found = connected.tracking.list_artifacts(run, path, recursive=recursive)
    show([one.to_dict() for one in found], output, ("path", "folder", "size_bytes", "sha256"))


@artifacts.command()
@click.argument("run")
@click.argument("path")
@click.argument("local", default="")
def get(run: str, path: str, local: str) -> None:
    """Fetches a file, or all files of a folder, to LOCAL; to its own name here by default."""
    with client() as connected:
        where = connected.tracking.download(run, path, local or path.rstrip("/").rpartition("/")[2])
    click.echo(str(where))


@artifacts.command()
@click.argument("run")
@click.argument("local", type=click.Path(exists=True))
@click.argument("path", default="")
def put(run: str, local: str, path: str) -> None:
    """Stores a file, or all files of a folder, at PATH; a file under its own name by default."""
    with client() as connected:
        for stored in connected.tracking.upload(run, local, path):
            click.echo(stored.path)
