"""`fivefold webhooks`: where the registry tells of what happens."""

from __future__ import annotations

from collections.abc import Collection
from typing import TextIO

import click

from fivefold.cli.arguments import limit
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

_COLUMNS = ("name", "model", "status", "events", "url", "description")
_DELIVERIES = (
    "name",
    "event",
    "model",
    "state",
    "attempts",
    "attempt_time",
    "status_code",
    "reason",
    "next_attempt_time",
)
_EVENTS = [
    "REGISTERED_MODEL_CREATED",
    "MODEL_VERSION_CREATED",
    "MODEL_VERSION_TRANSITIONED_STAGE",
    "MODEL_VERSION_TRANSITIONED_TO_STAGING",
    "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
    "MODEL_VERSION_TRANSITIONED_TO_ARCHIVED",
    "TRANSITION_REQUEST_CREATED",
    "TRANSITION_REQUEST_TO_STAGING_CREATED",
    "TRANSITION_REQUEST_TO_PRODUCTION_CREATED",
    "TRANSITION_REQUEST_TO_ARCHIVED_CREATED",
    "COMMENT_CREATED",
    "MODEL_VERSION_TAG_SET",
]
_STATES = ["PENDING", "DELIVERED", "FAILED", "DROPPED"]
_event = click.Choice(_EVENTS, case_sensitive=False)
_events = click.option("--event", "events", type=_event, multiple=True, help="What to tell of; may be repeated.")
_status = click.Choice(["ACTIVE", "DISABLED", "TEST_MODE"], case_sensitive=False)
_secret = click.option(
    "--secret-file", type=click.File("r"), help="File with the secret that signs deliveries; - reads stdin."
)


@click.group()
def webhooks() -> None:
    """Webhooks of the registry."""


@webhooks.command()
@click.argument("url")
@_events
@click.option("--model", default="", help="Only events of this model; else of all, which needs an administrator.")
@click.option("--status", type=_status, default="ACTIVE", show_default=True, help="Whether events are sent.")
@_secret
@click.option("--description", default="", help="What it is for.")
@shown
def create(
    url: str,
    events: tuple[str, ...],
    model: str,
    status: str,
    secret_file: TextIO | None,
    description: str,
    output: str,
) -> None:
    """Makes a webhook that sends events to URL; all kinds of them unless --event says which."""
    with client() as connected:
        made = connected.webhooks.create(
            url,
            events or _EVENTS,
            model=model,
            status=status,
            secret=_read(secret_file) or "",
            description=description,
        )
    show(made.to_dict(), output)


@webhooks.command("list")
@click.option("--model", default="", help="Only those of this model.")
@limit
@listed
def list_(model: str, limit: int | None, output: str) -> None:
    """Lists the webhooks that you manage, oldest first."""
    with client() as connected:
        found = [one.to_dict() for one in connected.webhooks.list(model, limit=limit)]
    rows = found if output in ("json", "yaml") else [one | {"events": _in_short(one["events"])} for one in found]
    show(rows, output, _COLUMNS)


@webhooks.command("show")
@click.argument("webhook")
@shown
def show_(webhook: str, output: str) -> None:
    """Shows one webhook."""
    with client() as connected:
        show(connected.webhooks.get(webhook).to_dict(), output)


@webhooks.command()
@click.argument("webhook")
@click.option("--url", help="Where to send.")
@_events
@click.option("--status", type=_status, help="Whether events are sent.")
@_secret
@click.option("--no-secret", is_flag=True, help="Sign deliveries no longer.")
@click.option("--description", help="What it is for.")
@shown
def update(
    webhook: str,
    url: str | None,
    events: tuple[str, ...],
    status: str | None,
    secret_file: TextIO | None,
    no_secret: bool,
    description: str | None,
    output: str,
) -> None:
    """Changes what is given; you own the webhook from then on."""
    secret = "" if no_secret else _read(secret_file)
    with client() as connected:
        changed = connected.webhooks.update(
            webhook, url=url, events=events or None, status=status, secret=secret, description=description
        )
    show(changed.to_dict(), output)


@webhooks.command()
@click.argument("webhook")
def delete(webhook: str) -> None:
    """Deletes a webhook with its deliveries, those that wait too."""
    with client() as connected:
        connected.webhooks.delete(webhook)
    click.echo(f"{webhook} is deleted")


@webhooks.command()
@click.argument("webhook")
@click.option("--event", type=_event, help="What to pretend; else the first of the webhook's.")
@shown
@click.pass_context
def test(ctx: click.Context, webhook: str, event: str | None, output: str) -> None:
    """Sends a made-up event now and shows the answer; exit code 1 when it would not have counted as delivered."""
    with client() as connected:
        tested = connected.webhooks.test(webhook, event or "")
    show(tested.to_dict(), output)
    ctx.exit(1 if tested.reason else 0)


@webhooks.command()
@click.argument("webhook")
@click.option("--state", "states", type=click.Choice(_STATES, case_sensitive=False), multiple=True, help="Only these.")
@limit
@listed
def deliveries(webhook: str, states: tuple[str, ...], limit: int | None, output: str) -> None:
    """Lists what was sent, what waits and what was given up, newest first."""
    with client() as connected:
        found = connected.webhooks.deliveries(webhook, states=states, limit=limit)
    show([one.to_dict() for one in found], output, _DELIVERIES)


@webhooks.command()
@click.argument("delivery")
@shown
def redeliver(delivery: str, output: str) -> None:
    """Sends DELIVERY, as `deliveries` names it, once more."""
    with client() as connected:
        show(connected.webhooks.redeliver(delivery).to_dict(), output)


def _in_short(events: Collection[str]) -> str:
    """Returns the events of a webhook so that a table's row stays a row."""
    if len(events) == len(_EVENTS):
        return "all"
    return ", ".join(events) if len(events) <= 2 else f"{len(events)} kinds"


def _read(file: TextIO | None) -> str | None:
    """Returns a file's text without the line feed at its end, None for no file."""
    return None if file is None else file.read().rstrip("\r\n")
