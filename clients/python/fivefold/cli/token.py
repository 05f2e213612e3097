"""`fivefold token`: signs a development token with the key of `fivefold up --auth`."""

from __future__ import annotations

import getpass

import click

from fivefold.cli.instance import DEFAULT, Folder


@click.command()
@click.option("--data", default=DEFAULT, show_default=True, metavar="DIR", help="Folder that `fivefold up` was given.")
@click.option("--subject", default=None, help="Who it is for; you by default.")
@click.option(
    "--group", "groups", multiple=True, help="A group of theirs; may be repeated. `admins` may do everything."
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 24 * 366, min_open=True),
    default=12.0,
    show_default=True,
    help="How long it is good.",
)
def token(data: str, subject: str | None, groups: tuple[str, ...], hours: float) -> None:
    """Prints a development token for `fivefold up --auth`.

    Use it as: export FIVEFOLD_TOKEN=$(fivefold token --data DIR)
    """
    from fivefold.cli.tokens import signed

    click.echo(signed(Folder(data), subject or getpass.getuser(), groups, hours))
