"""`fivefold models`, the commands about versions: register, list, copy, fetch, and aliases."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from fivefold.cli.arguments import limit, tags
from fivefold.cli.failures import OK, REFUSED, USAGE, Failure
from fivefold.cli.models.cards import VERSION, files_of, is_version, short, stage_of, version_card, version_row
from fivefold.cli.output import listed, show, shown
from fivefold.cli.progress import bar
from fivefold.cli.session import client


@click.command()
@click.argument("model")
@click.option("--stage", "stages", multiple=True, help="Only those in this stage; may be repeated.")
@click.option("--filter", default="", help="""Such as "status = 'READY' AND tags.reviewed = 'yes'".""")
@click.option("--order-by", default="", help='Such as "update_time DESC".')
@limit
@listed
def versions(model: str, stages: tuple[str, ...], filter: str, order_by: str, limit: int | None, output: str) -> None:
    """Lists the versions of a model, newest first."""
    with client() as connected:
        found = [
            one.to_dict()
            for one in connected.registry.search_versions(
                filter, model=model, stages=stages, order_by=order_by, limit=limit
            )
        ]
    rows = found if output in ("json", "yaml") else map(version_row, found)
    which = "such version" if stages or filter else "version yet"
    empty = (
        f"no {which}; make the next one with: fivefold models register {quote(model.removeprefix('models/'))} SOURCE"
    )
    show(rows, output, VERSION, empty=empty)


@click.command()
@listed
def production(output: str) -> None:
    """Lists what is in Production, everywhere."""
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.production()]
    rows = found if output in ("json", "yaml") else map(version_row, found)
    empty = "nothing is in Production; move a version there with: fivefold models promote MODEL/NUMBER"
    show(rows, output, ("version", "stage", "aliases", "update_time", "creator", "description"), empty=empty)


@click.command()
@click.argument("model")
@click.argument("source", default="")
@click.option("--external", "external_uri", default="", metavar="URI", help="Instead of SOURCE: files kept elsewhere.")
@click.option("--description", default="", help="What the version is.")
@click.option("--training-set", default="", help="What it was trained on.")
@tags
@shown
def register(
    model: str,
    source: str,
    external_uri: str,
    description: str,
    training_set: str,
    tags: dict[str, str],
    output: str,
) -> int:
    """Makes the next version of MODEL from SOURCE.

    Registers the model, too, if there is no such model.

    SOURCE is runs/RUN/artifacts/PATH, logged_models/ID/artifacts, MLflow's runs:/RUN/PATH, or a folder here.
    """
    if bool(source) == bool(external_uri):
        raise Failure("give either SOURCE or --external URI", "see: fivefold models register --help", code=USAGE)
    folder = Path(source)
    with client() as connected, bar() as progress:
        connected.registry.create_model(model, allow_existing=True)
        made = connected.registry.create_version(
            model,
            folder if source and folder.is_dir() else source,
            external_uri=external_uri,
            description=description,
            training_set=training_set,
            tags=tags,
            progress=progress,
        )
    show(version_card(made.to_dict(), []) if output == "table" else made.to_dict(), output)
    return REFUSED if made.status == "FAILED" else OK


@click.command()
@click.argument("version")
@click.argument("model")
@click.option("--create", is_flag=True, help="Register MODEL if there is no such model.")
@shown
def copy(version: str, model: str, create: bool, output: str) -> None:
    """Makes the next version of MODEL from another version.

    The copy has its files, which are not moved, its lineage, description and labels.
    """
    with client() as connected:
        made = connected.registry.copy_version(version, model, create_model=create).to_dict()
    if output != "table":
        return show(made, output)
    click.echo(f"{short(made['name'])} is a copy of {short(made['copied_from'])}, in stage {stage_of(made)}")


@click.command()
@click.argument("version")
@click.argument("folder", type=click.Path(file_okay=False))
def download(version: str, folder: str) -> None:
    """Fetches all files of a version, verified, below FOLDER.

    What is there already, byte for byte, is not fetched again.
    """
    with client() as connected, bar() as progress:
        found = connected.registry.get_version(version)
        path = connected.registry.download(found.name, folder, progress=progress)
    files = files_of(found.to_dict()["files"])
    click.echo(f"{short(found.name)}: {files}, digest {found.digest}", err=True)
    click.echo(str(path))


@click.command()
@click.argument("version")
@click.argument("name", metavar="[ALIAS]", default="")
@click.option("--delete", is_flag=True, help="Take the alias of MODEL away.")
@listed
def alias(version: str, name: str, delete: bool, output: str) -> None:
    """Lets ALIAS mean a version, or lists a model's aliases.

    An alias means one version: what it meant before, it means no more.

    \b
    fivefold models alias churn/3 champion         then churn@champion is churn/3
    fivefold models alias churn champion --delete
    fivefold models alias churn
    """
    with client() as connected:
        if not name or delete:
            model = connected.registry.get_model(
                version.split("@")[0].split("/")[0] if is_version(version) else version
            )
        if not name:
            rows = [{"alias": one, "version": f"{short(model.name)}/{number}"} for one, number in model.aliases.items()]
            empty = f"no alias; set one with: fivefold models alias {quote(short(model.name))}/NUMBER ALIAS"
            return show(rows, output, ("alias", "version"), empty=empty)
        if delete:
            connected.registry.delete_alias(model.name, name)
            return click.echo(f"{short(model.name)}@{name} means nothing any more")
        if not is_version(version):
            hint = f"fivefold models alias {quote(version)}/NUMBER {name}"
            raise Failure(f"{version} is a model; an alias means one version of it", hint, code=USAGE)
        meant = connected.registry.set_alias(version, name).to_dict()
    if output in ("json", "yaml"):
        return show(meant, output)
    click.echo(f"{short(meant['name']).split('/')[0]}@{name} is {short(meant['name'])}")


VERSIONS = (versions, production, register, copy, download, alias)
