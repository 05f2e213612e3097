"""`fivefold models`, the commands about mail: follow, unfollow, subscribe, mute, subscriptions."""

from __future__ import annotations

import click

from fivefold.cli.arguments import limit
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

_ACTIVITIES = ["all_activity", "followed_versions", "mute"]


@click.command()
@click.argument("version")
def follow(version: str) -> None:
    """Sends you mail about a version."""
    with client() as connected:
        connected.subscriptions.follow(version)
    click.echo(f"you follow {version}")


@click.command()
@click.argument("version")
def unfollow(version: str) -> None:
    """Sends you no more mail about a version, until you act on it again."""
    with client() as connected:
        connected.subscriptions.unfollow(version)
    click.echo(f"you follow {version} no longer")


@click.command()
@click.argument("model")
@click.option("--activity", type=click.Choice(_ACTIVITIES, case_sensitive=False), help="What you get mail about.")
@click.option("--email", help='Where it goes; "" means the address of your token.')
@shown
def subscribe(model: str, activity: str | None, email: str | None, output: str) -> None:
    """Shows what mail you get about MODEL, or changes it."""
    with client() as connected:
        calls = connected.subscriptions
        changes = activity is not None or email is not None
        found = calls.update(model, activity=activity, email=email) if changes else calls.get(model)
    show(found.to_dict(), output)


@click.command()
@click.argument("model")
def mute(model: str) -> None:
    """Sends you no mail about MODEL."""
    with client() as connected:
        connected.subscriptions.update(model, activity="MUTE")
    click.echo(f"{model} is mute")


@click.command()
@limit
@listed
def subscriptions(limit: int | None, output: str) -> None:
    """Lists the models whose mail you changed."""
    with client() as connected:
        found = connected.subscriptions.list(limit=limit)
    show([one.to_dict() for one in found], output, ("name", "activity", "email", "update_time"))


SUBSCRIPTIONS = (follow, unfollow, subscribe, mute, subscriptions)
