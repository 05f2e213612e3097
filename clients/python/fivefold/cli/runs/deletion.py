"""`fivefold runs delete|restore|gc`: softly, back, and for good."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fivefold.cli.arguments import span
from fivefold.cli.session import client


@click.command()
@click.argument("run", nargs=-1, required=True)
def delete(run: tuple[str, ...]) -> None:
    """Deletes runs softly; their parents and children stay."""
    with client() as connected:
        for each in run:
            gone = connected.tracking.delete_run(each)
            click.echo(f"{gone.name} ({gone.display_name}) is deleted")


@click.command()
@click.argument("run", nargs=-1, required=True)
def restore(run: tuple[str, ...]) -> None:
    """Brings deleted runs back."""
    with client() as connected:
        for each in run:
            back = connected.tracking.restore_run(each)
            click.echo(f"{back.name} ({back.display_name}) is back")


@click.command()
@click.argument("experiment")
@click.option("--older-than", default="", metavar="SPAN", help="Only what was deleted so long ago, such as 30d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def gc(experiment: str, older_than: str, yes: bool) -> None:
    """Deletes the deleted runs and logged models of an experiment for good; the service then frees their files."""
    before = datetime.now(UTC) - span(older_than, "--older-than") if older_than else None
    with client() as connected:
        home = connected.tracking.experiments.find(experiment)
        if not yes:
            deleted = connected.tracking.search(home.name, view="deleted", limit=1).total
            which = (
                f"those of {deleted} deleted runs that were deleted over {older_than} ago" if older_than else deleted
            )
            noun = "" if older_than else " deleted runs"
            click.confirm(f"Remove {which}{noun} of {home.display_name!r} for good?", abort=True, err=True)
        runs, models = connected.tracking.purge_runs(home.name, deleted_before=before)
    click.echo(f"{runs} runs and {models} logged models are gone")


DELETION = (delete, restore, gc)
