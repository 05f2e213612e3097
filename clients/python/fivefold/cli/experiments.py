"""`fivefold experiments`: lists, makes, shows, renames, deletes and brings back experiments."""

from __future__ import annotations

import click

from fivefold.cli.arguments import limit, tags
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

_EMPTY = "no experiment yet; make one with: fivefold experiments create NAME"


@click.group()
def experiments() -> None:
    """Experiments of the tracking service."""


@experiments.command("list")
@click.argument("filter", default="")
@click.option("--order-by", default="", help='Such as "name" or "last_update_time desc"; newest first otherwise.')
@click.option("--deleted", is_flag=True, help="Deleted ones too.")
@limit
@listed
def list_(filter: str, order_by: str, deleted: bool, limit: int | None, output: str) -> None:
    """Lists experiments, or those that fit FILTER.

    \b
    fivefold experiments list "name LIKE 'late%' AND tags.team = 'growth'"
    """
    with client() as connected:
        found = connected.tracking.experiments.search(
            filter, order_by=order_by, view="all" if deleted else "active", limit=limit
        )
    columns = ("name", "display_name", "create_time", "update_time", *(("delete_time",) if deleted else ()))
    empty = "no experiment fits; see all with: fivefold experiments list" if filter else _EMPTY
    show([one.to_dict() for one in found], output, columns, empty=empty)


@experiments.command()
@click.argument("display_name")
@tags
@click.option("--allow-existing", is_flag=True, help="Show the one that has the name already, instead of an error.")
@shown
def create(display_name: str, tags: dict[str, str], allow_existing: bool, output: str) -> None:
    """Creates an experiment."""
    with client() as connected:
        made = connected.tracking.experiments.create(display_name, tags=tags, allow_existing=allow_existing)
    show(made.to_dict(), output)


@experiments.command("show")
@click.argument("experiment")
@shown
def show_(experiment: str, output: str) -> None:
    """Shows one experiment, by number, by name ("experiments/3") or by display name."""
    with client() as connected:
        show(connected.tracking.experiments.find(experiment).to_dict(), output)


@experiments.command()
@click.argument("experiment")
@click.argument("display_name")
@shown
def rename(experiment: str, display_name: str, output: str) -> None:
    """Gives an experiment another display name."""
    with client() as connected:
        show(connected.tracking.experiments.rename(experiment, display_name).to_dict(), output)


@experiments.command()
@click.argument("experiment")
def delete(experiment: str) -> None:
    """Deletes an experiment with its runs, softly; `restore` brings both back."""
    with client() as connected:
        gone = connected.tracking.experiments.delete(experiment)
    number = gone.name.partition("/")[2]
    click.echo(
        f"{gone.name} ({gone.display_name}) is deleted; bring it back with: fivefold experiments restore {number}"
    )


@experiments.command()
@click.argument("experiment", metavar="NUMBER")
@shown
def restore(experiment: str, output: str) -> None:
    """Brings a deleted experiment back, with the runs that were deleted with it."""
    with client() as connected:
        show(connected.tracking.experiments.restore(experiment).to_dict(), output)


@experiments.command()
@click.argument("experiment", metavar="NUMBER")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(experiment: str, yes: bool) -> None:
    """Deletes a deleted experiment for good, with its runs, logged models and artifacts."""
    with client() as connected:
        there = connected.tracking.experiments.get(experiment)
        if not yes:
            click.confirm(
                f"Delete {there.name} ({there.display_name}) and everything in it for good?", abort=True, err=True
            )
        connected.tracking.experiments.purge(there.name)
    click.echo(f"{there.name} ({there.display_name}) is gone")
