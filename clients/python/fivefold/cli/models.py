"""`fivefold models`: registered models, their versions and stages.

A model is given as MODEL, a version as MODEL/NUMBER, a transition request by its name or by its version.
"""

from __future__ import annotations

import json
from typing import Any

import click

from fivefold.cli.arguments import comment, limit, tags
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

_VERSION = ("name", "stage", "status", "create_time", "creator", "description")
_stage = click.Choice(["None", "Staging", "Production", "Archived"], case_sensitive=False)
_archive = click.option("--archive-existing", is_flag=True, help="Archive the other versions in that stage.")


@click.group()
def models() -> None:
    """Registered models, versions and stages."""


@models.command("list")
@limit
@listed
def list_(limit: int | None, output: str) -> None:
    """Lists models by name, with the newest version in each stage."""
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.list_models(limit=limit)]
    if output in ("json", "yaml"):
        return show(found, output)
    rows = [
        one | {"latest": {version["stage"]: version["version"] for version in one["latest_versions"]}} for one in found
    ]
    show(rows, output, ("name", "latest", "update_time", "description"))


@models.command("show")
@click.argument("model")
@shown
def show_(model: str, output: str) -> None:
    """Shows a model, or one version of it (MODEL/NUMBER)."""
    with client() as connected:
        if "/" in model.removeprefix("models/"):
            return show(connected.registry.get_version(model).to_dict(), output)
        show(connected.registry.get_model(model).to_dict(), output)


@models.command()
@click.argument("model")
@limit
@listed
def versions(model: str, limit: int | None, output: str) -> None:
    """Lists the versions of a model, newest first."""
    with client() as connected:
        found = connected.registry.list_versions(model, limit=limit)
    show([one.to_dict() for one in found], output, _VERSION)


@models.command()
@click.argument("model")
@click.argument("source")
@click.option("--description", default="", help="What the version is.")
@click.option("--training-set", default="", help="What it was trained on.")
@tags
@shown
def register(model: str, source: str, description: str, training_set: str, tags: dict[str, str], output: str) -> None:
    """Makes the next version of MODEL from SOURCE, runs/RUN/artifacts/PATH; makes the model if need be."""
    with client() as connected:
        connected.registry.create_model(model, allow_existing=True)
        made = connected.registry.create_version(
            model, source, description=description, training_set=training_set, tags=tags
        )
    show(made.to_dict(), output)


@models.command()
@click.argument("version")
@click.argument("stage", type=_stage)
@_archive
@comment
@shown
def promote(version: str, stage: str, archive_existing: bool, comment: str, output: str) -> None:
    """Moves a version to another stage."""
    with client() as connected:
        moved = connected.registry.transition(version, stage, archive_existing=archive_existing, comment=comment)
    _moved(moved.to_dict(), output)


@models.command()
@click.argument("version")
@click.argument("stage", type=_stage)
@comment
@shown
def request(version: str, stage: str, comment: str, output: str) -> None:
    """Asks the managers of a model to move a version."""
    with client() as connected:
        show(connected.registry.request_transition(version, stage, comment=comment).to_dict(), output)


@models.command()
@click.argument("model")
@click.option("--all", "settled", is_flag=True, help="Settled ones too.")
@listed
def requests(model: str, settled: bool, output: str) -> None:
    """Lists the transition requests of a model or version, newest first."""
    with client() as connected:
        found = connected.registry.transition_requests(model, show_settled=settled)
    columns = ("name", "stage", "state", "creator", "available_actions", "create_time", "comment")
    show([one.to_dict() for one in found], output, columns)


@models.command()
@click.argument("request")
@_archive
@comment
@shown
def approve(request: str, archive_existing: bool, comment: str, output: str) -> None:
    """Approves a transition request; the version moves at once."""
    with client() as connected:
        approved = connected.registry.approve(request, archive_existing=archive_existing, comment=comment)
    _moved(approved.to_dict(), output)


@models.command()
@click.argument("request")
@comment
@shown
def reject(request: str, comment: str, output: str) -> None:
    """Rejects a transition request."""
    with client() as connected:
        show(connected.registry.reject(request, comment=comment).to_dict(), output)


@models.command()
@click.argument("request")
@comment
@shown
def cancel(request: str, comment: str, output: str) -> None:
    """Takes a transition request back."""
    with client() as connected:
        show(connected.registry.cancel(request, comment=comment).to_dict(), output)


@models.command()
@click.argument("model")
@comment
@shown
def rollback(model: str, comment: str, output: str) -> None:
    """Puts the Production version before the present one back."""
    with client() as connected:
        _moved(connected.registry.roll_back(model, comment=comment).to_dict(), output)


@models.command()
@click.argument("model")
@listed
def history(model: str, output: str) -> None:
    """Lists what happened to a model or version, oldest first."""
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.activities(model)]
    rows = [one | {"version": "/".join(one["name"].split("/")[1:4:2])} for one in found]
    show(rows, output, ("create_time", "version", "type", "user", "from_stage", "to_stage", "comment"))


@models.command("comment")
@click.argument("version")
@click.argument("text")
@shown
def comment_(version: str, text: str, output: str) -> None:
    """Adds a comment to a version."""
    with client() as connected:
        show(connected.registry.comment(version, text).to_dict(), output)


@models.command()
@click.argument("version")
@click.argument("folder", type=click.Path(file_okay=False))
def download(version: str, folder: str) -> None:
    """Fetches all files of a version, verified, below FOLDER."""
    with client() as connected:
        click.echo(str(connected.registry.download(version, folder)))


@models.command()
@click.argument("names", nargs=-1)
@click.option("--after", type=click.IntRange(0), default=0, help="Events after this position; 0: from the first.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one event a line.")
def watch(names: tuple[str, ...], after: int, output: str) -> None:
    """Prints the registry's events as they happen, until Ctrl-C; only those of the models NAMES, if given."""
    with client() as connected:
        for event in connected.registry.watch(after, models=names):
            if output == "json":
                fields: dict[str, Any] = event.to_dict()
                click.echo(json.dumps(fields, default=str))
                continue
            stages = f"  {event.from_stage or '-'} -> {event.to_stage}" if event.to_stage else ""
            when = event.time.strftime("%H:%M:%S") if event.time else ""
            click.echo(
                f"{event.position:>6}  {when}  {event.type}  {event.model_version or event.model}{stages}  {event.user}"
            )


def _moved(result: dict[str, Any], output: str) -> None:
    if output != "table":
        return show(result, output)
    version = result["model_version"]
    click.echo(f"{version['name']} is in {version['stage']}")
    for name in result["archived"]:
        click.echo(f"{name} was archived")
