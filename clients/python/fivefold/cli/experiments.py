"""`fivefold experiments`: lists, creates and shows experiments."""

from __future__ import annotations

import click

from fivefold.cli.arguments import limit, tags
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client


@click.group()
def experiments() -> None:
    """Experiments of the tracking service."""


@experiments.command("list")
@limit
@click.option("--deleted", is_flag=True, help="Deleted ones too.")
@listed
def list_(limit: int | None, deleted: bool, output: str) -> None:
    """Lists experiments, newest first."""
    with client() as connected:
        found = connected.tracking.list_experiments(limit=limit, view="all" if deleted else "active")
    show([one.to_dict() for one in found], output, ("name", "display_name", "create_time", "update_time"))


@experiments.command()
@click.argument("display_name")
@tags
@click.option("--allow-existing", is_flag=True, help="Show the one that has the name already, instead of an error.")
@shown
def create(display_name: str, tags: dict[str, str], allow_existing: bool, output: str) -> None:
    """Creates an experiment."""
    with client() as connected:
        made = connected.tracking.create_experiment(display_name, tags=tags, allow_existing=allow_existing)
    show(made.to_dict(), output)


@experiments.command("show")
@click.argument("experiment")
@shown
def show_(experiment: str, output: str) -> None:
    """Shows one experiment, by number, by name ("experiments/3") or by display name."""
    with client() as connected:
        show(connected.tracking.find_experiment(experiment).to_dict(), output)
