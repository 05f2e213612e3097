"""`fivefold models`: registered models. Versions, stages, requests and history have modules of their own beside this.

A model is given as MODEL, a version as MODEL/NUMBER, MODEL@ALIAS or MODEL/STAGE (the newest there), a transition
request by its name, MODEL/NUMBER/REQUEST, or by its version. Stages may be the model's own names for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from fivefold.cli.arguments import limit, pairs, tags
from fivefold.cli.failures import USAGE, Failure
from fivefold.cli.models.cards import VERSION, advise, is_version, model_card, model_row, version_card, version_row
from fivefold.cli.models.history import HISTORY
from fivefold.cli.models.stages import STAGES
from fivefold.cli.models.subscriptions import SUBSCRIPTIONS
from fivefold.cli.models.versions import VERSIONS
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

_SECTIONS = {
    "Models": ("list", "search", "show", "create", "update", "rename", "delete", "permissions"),
    "Versions": ("versions", "register", "copy", "download", "alias", "production"),
    "Stages": ("promote", "transition", "rollback", "stage-at", "request", "requests", "approve", "reject", "cancel"),
    "History": ("history", "verify", "comment", "comments", "watch"),
    "Mail": ("subscribe", "subscriptions", "follow", "unfollow", "mute"),
}
_COLUMNS = ("name", "stages", "aliases", "update_time", "description")
_REGISTER = "no model yet; make one with: fivefold models register MODEL SOURCE"
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_stage_names = pairs("--stage-name", "stage_names", "An own name of a stage; may be repeated.", "STAGE=NAME")


class Sections(click.Group):
    """Lists its commands by what they are about. Those that no section names come last."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rest = set(self.commands)
        for title, names in _SECTIONS.items():
            rest -= set(names)
            _section(self, formatter, title, names)
        if rest:
            _section(self, formatter, "More", sorted(rest))


@click.group(cls=Sections)
def models() -> None:
    """Registered models, versions and stages."""


@models.command("list")
@limit
@listed
def list_(limit: int | None, output: str) -> None:
    """Lists models, with the newest version in each stage."""
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.list_models(limit=limit)]
    show(found if output in ("json", "yaml") else map(model_row, found), output, _COLUMNS, empty=_REGISTER)


@models.command()
@click.argument("filter", default="")
@click.option("--versions", "of_versions", is_flag=True, help="Search versions of all models, not models.")
@click.option("--order-by", default="", help='Such as "update_time DESC".')
@limit
@listed
def search(filter: str, of_versions: bool, order_by: str, limit: int | None, output: str) -> None:
    """Lists the models or versions that fit FILTER.

    \b
    fivefold models search "name LIKE 'churn%' AND tags.team = 'growth'"
    fivefold models search --versions "stage = 'Production' AND tags.reviewed = 'yes'"
    """
    with client() as connected:
        if of_versions:
            versions = [
                one.to_dict() for one in connected.registry.search_versions(filter, order_by=order_by, limit=limit)
            ]
            rows = versions if output in ("json", "yaml") else map(version_row, versions)
            return show(rows, output, VERSION, empty="no version fits; see models with: fivefold models list")
        found = [one.to_dict() for one in connected.registry.search_models(filter, order_by=order_by, limit=limit)]
    rows = found if output in ("json", "yaml") else map(model_row, found)
    show(rows, output, _COLUMNS, empty="no model fits; see all with: fivefold models list")


@models.command("show")
@click.argument("model")
@shown
def show_(model: str, output: str) -> None:
    """Shows a model or version: stages, requests, lineage.

    A version is MODEL/NUMBER, MODEL@ALIAS or MODEL/STAGE. Open requests are shown with what you may do.
    """
    with client() as connected:
        one = is_version(model)
        found = connected.registry.get_version(model) if one else connected.registry.get_model(model)
        waiting = [request.to_dict() for request in connected.registry.transition_requests(found.name)]
    if output != "table":
        return show(found.to_dict() | {"open_requests": waiting}, output)
    show((version_card if one else model_card)(found.to_dict(), waiting), output)
    advise(waiting)


@models.command()
@click.argument("model")
@click.option("--description", default="", help="What it is for.")
@click.option("--one-production", is_flag=True, help="At most one version in Production.")
@click.option("--stepwise", is_flag=True, help="None, Staging, Production, and back; instead of any move.")
@click.option("--no-self-approval", is_flag=True, help="Nobody approves a request of their own.")
@_stage_names
@tags
@shown
def create(
    model: str,
    description: str,
    one_production: bool,
    stepwise: bool,
    no_self_approval: bool,
    stage_names: dict[str, str],
    tags: dict[str, str],
    output: str,
) -> None:
    """Registers a model without a version yet; you manage it."""
    with client() as connected:
        made = connected.registry.create_model(
            model,
            description=description,
            tags=tags,
            one_production=one_production,
            stepwise=stepwise,
            no_self_approval=no_self_approval,
            stage_names=stage_names,
        ).to_dict()
    show(model_card(made, []) if output == "table" else made, output)


@models.command()
@click.argument("model")
@click.option("--description", default=None, help="What it is.")
@tags
@click.option("--untag", multiple=True, metavar="NAME", help="Remove a label; may be repeated.")
@click.option("--one-production/--many-production", default=None, help="At most one version in Production, or any.")
@click.option("--stepwise/--any-move", default=None, help="None, Staging, Production, and back; or any move.")
@click.option("--no-self-approval/--self-approval", default=None, help="Whether another person must approve a request.")
@_stage_names
@shown
def update(
    model: str,
    description: str | None,
    tags: dict[str, str],
    untag: tuple[str, ...],
    one_production: bool | None,
    stepwise: bool | None,
    no_self_approval: bool | None,
    stage_names: dict[str, str],
    output: str,
) -> None:
    """Changes description, labels or rules of a model or version.

    Rules belong to a model; a version (MODEL/NUMBER) has a description and labels.
    """
    labels: dict[str, str | None] = {**tags, **dict.fromkeys(untag)}
    rules = {"one_production": one_production, "stepwise": stepwise, "no_self_approval": no_self_approval}
    ruled = bool(stage_names) or any(value is not None for value in rules.values())
    if not ruled and description is None and not labels:
        raise Failure("nothing to change", "give --description, --tag, --untag or a rule; see --help", code=USAGE)
    with client() as connected:
        if is_version(model):
            if ruled:
                raise Failure("rules belong to a model, not to a version", f"{model.split('/')[0]} alone", code=USAGE)
            version = connected.registry.update_version(model, description=description, tags=labels).to_dict()
            return show(version_card(version, []) if output == "table" else version, output)
        if ruled:
            changed = connected.registry.set_policy(model, **rules, stage_names=stage_names or None)
        if description is not None or labels:
            changed = connected.registry.update_model(model, description=description, tags=labels)
    show(model_card(changed.to_dict(), []) if output == "table" else changed.to_dict(), output)


@models.command()
@click.argument("model")
@click.argument("name")
def rename(model: str, name: str) -> None:
    """Gives a model another NAME.

    Versions, history, aliases and rights stay with it.
    """
    with client() as connected:
        click.echo(f"{model.removeprefix('models/')} is {connected.registry.rename_model(model, name).name} now")


@models.command()
@click.argument("model")
@_yes
def delete(model: str, yes: bool) -> None:
    """Deletes a model with all its versions, or one version.

    For good; a version is MODEL/NUMBER.
    """
    with client() as connected:
        one = is_version(model)
        name = connected.registry.get_version(model).name if one else connected.registry.get_model(model).name
        if not yes:
            click.confirm(f"Delete {name}{'' if one else ' with all its versions'}, for good?", abort=True, err=True)
        if one:
            connected.registry.delete_version(name)
        else:
            connected.registry.delete_model(name)
    click.echo(f"{name} is deleted")


@models.command()
@click.argument("model")
@pairs("--grant", "given", "Give a level to a person or group:NAME; may be repeated.", "WHO=LEVEL")
@click.option("--revoke", multiple=True, metavar="WHO", help="Take a grant away; may be repeated.")
@listed
def permissions(model: str, given: dict[str, str], revoke: tuple[str, ...], output: str) -> None:
    """Shows who may do what with a model, or changes it.

    Levels: CAN_READ, CAN_EDIT, CAN_MANAGE_STAGING_VERSIONS, CAN_MANAGE_PRODUCTION_VERSIONS, CAN_MANAGE; each includes
    those before it. CAN_ may be left out.
    """
    with client() as connected:
        now = connected.registry.regrant(model, given, revoke) if given or revoke else None
        now = now or connected.registry.permissions(model)
    if output in ("json", "yaml"):
        return show(now.to_dict(), output)
    rows = [{"principal": who, "level": level} for who, level in sorted(now.grants.items())]
    show(
        rows,
        output,
        ("principal", "level"),
        empty="nobody holds a grant; whoever may manage all may give one: --grant WHO=CAN_MANAGE",
    )


def _section(group: click.Group, formatter: click.HelpFormatter, title: str, names: Sequence[str]) -> None:
    with formatter.section(title):
        formatter.write_dl([(name, group.commands[name].get_short_help_str(80)) for name in names])


for _command in (*VERSIONS, *STAGES, *HISTORY, *SUBSCRIPTIONS):
    models.add_command(_command)
