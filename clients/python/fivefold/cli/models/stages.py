"""`fivefold models`, the commands about stages: moves, rollback, what was where when, and requests for moves."""

from __future__ import annotations

from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fivefold.cli.arguments import Moment, comment
from fivefold.cli.models.cards import REQUEST, advise, request_row, short, stage_of
from fivefold.cli.output import listed, show, shown, text
from fivefold.cli.session import client

if TYPE_CHECKING:
    from fivefold.sdk.registry import Registry


class StageName(click.ParamType):
    """A stage by its standard name or by the model's own; the service knows which there are."""

    name = "stage"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = ("None", "Staging", "Production", "Archived")
        return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]


_stage = click.argument("stage", type=StageName())
_or_production = click.argument("stage", type=StageName(), default="Production")
_archive = click.option("--archive-existing", is_flag=True, help="Archive the other versions in that stage.")


@click.command()
@click.argument("version")
@_or_production
@_archive
@comment
@shown
def promote(version: str, stage: str, archive_existing: bool, comment: str, output: str) -> None:
    """Moves a version to Production, or to another STAGE."""
    with client() as connected:
        moved = connected.registry.transition(version, stage, archive_existing=archive_existing, comment=comment)
        _moved(connected.registry, moved.to_dict(), output)


@click.command()
@click.argument("version")
@_stage
@_archive
@comment
@shown
def transition(version: str, stage: str, archive_existing: bool, comment: str, output: str) -> None:
    """Moves a version to STAGE."""
    with client() as connected:
        moved = connected.registry.transition(version, stage, archive_existing=archive_existing, comment=comment)
        _moved(connected.registry, moved.to_dict(), output)


@click.command()
@click.argument("model")
@comment
@shown
def rollback(model: str, comment: str, output: str) -> None:
    """Puts the Production version before the present one back."""
    with client() as connected:
        _moved(connected.registry, connected.registry.roll_back(model, comment=comment).to_dict(), output)


@click.command("stage-at")
@click.argument("model")
@_or_production
@click.option("--time", type=Moment(), default="now", metavar="TIME", help="ISO 8601 with a zone, or now.  [now]")
@listed
def stage_at(model: str, stage: str, time: datetime, output: str) -> None:
    """Tells what was in a stage at a time, and who put it there.

    In Production, unless another STAGE is named.
    """
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.stage_at(model, stage, time)]
    rows = found if output in ("json", "yaml") else [one | {"version": short(one["model_version"])} for one in found]
    bare = quote(model.removeprefix("models/"))
    empty = f"no version of {bare} was in {stage} at {text(time)}; see: fivefold models history {bare}"
    show(rows, output, ("version", "since", "user"), empty=empty)


@click.command()
@click.argument("version")
@_stage
@comment
@shown
def request(version: str, stage: str, comment: str, output: str) -> None:
    """Asks the managers of a model to move a version to STAGE."""
    with client() as connected:
        made = connected.registry.request_transition(version, stage, comment=comment).to_dict()
    if output != "table":
        return show(made, output)
    which = short(made["name"])
    click.echo(f"{which}: {made['creator']} asks to move {which.rpartition('/')[0]} to {made['stage']}")
    advise([made])


@click.command()
@click.argument("model")
@click.option("--all", "settled", is_flag=True, help="Settled ones too.")
@listed
def requests(model: str, settled: bool, output: str) -> None:
    """Lists transition requests, and what you may do with each.

    Those of a model or of one version, newest first.
    """
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.transition_requests(model, show_settled=settled)]
    bare = quote(model.removeprefix("models/"))
    empty = f"no {'' if settled else 'open '}request; make one with: fivefold models request {bare} Production"
    if "/" not in bare:
        empty = empty.replace(f"request {bare}", f"request {bare}/NUMBER")
    show(found if output in ("json", "yaml") else map(request_row, found), output, REQUEST, empty=empty)
    if output == "table":
        advise(found)


@click.command()
@click.argument("request")
@_archive
@comment
@shown
def approve(request: str, archive_existing: bool, comment: str, output: str) -> None:
    """Approves a transition request; the version moves at once."""
    with client() as connected:
        approved = connected.registry.approve(request, archive_existing=archive_existing, comment=comment)
        _moved(connected.registry, approved.to_dict(), output)


@click.command()
@click.argument("request")
@comment
@shown
def reject(request: str, comment: str, output: str) -> None:
    """Rejects a transition request."""
    with client() as connected:
        _settled(connected.registry.reject(request, comment=comment).to_dict(), output)


@click.command()
@click.argument("request")
@comment
@shown
def cancel(request: str, comment: str, output: str) -> None:
    """Takes a transition request back."""
    with client() as connected:
        _settled(connected.registry.cancel(request, comment=comment).to_dict(), output)


def _moved(registry: Registry, result: dict[str, Any], output: str) -> None:
    """Tells what moved, and on stderr what else is in Production, since serving takes the highest number there."""
    if output != "table":
        return show(result, output)
    version = result["model_version"]
    click.echo(f"{version['name']} is in {stage_of(version)}")
    for name in result["archived"]:
        click.echo(f"{name} was archived")
    if version["stage"] != "Production":
        return
    there = registry.list_versions(version["name"].split("/")[1], stages=["Production"])
    for other in there:
        if other.name != version["name"]:
            click.echo(
                f"{other.name} is in Production too; version {max(one.version for one in there)} is served, the "
                f"highest. `fivefold models transition {quote(short(other.name))} Archived` takes it out",
                err=True,
            )


def _settled(request: dict[str, Any], output: str) -> None:
    if output != "table":
        return show(request, output)
    click.echo(f"{short(request['name'])} is {request['state'].lower()} by {request['settled_by']}")


STAGES = (promote, transition, rollback, stage_at, request, requests, approve, reject, cancel)
