"""`fivefold down`: asks the supervisor to stop its services and waits; ends what a killed supervisor left behind."""

from __future__ import annotations

import os
import signal

import click

from fivefold.cli import processes
from fivefold.cli.failures import OK, Failure
from fivefold.cli.instance import DEFAULT, Folder, Member
from fivefold.cli.services import STOP_ORDER

PATIENCE_SECONDS = 120.0


@click.command()
@click.option("--data", default=DEFAULT, show_default=True, metavar="DIR", help="Folder that `fivefold up` was given.")
def down(data: str) -> int:
    """Stops the services of `fivefold up`.

    Calls under way are finished first. Exit code 0 also when nothing runs.
    """
    folder = Folder(data)
    instance = folder.instance()
    if instance is None:
        click.echo(f"Fivefold is not running from {folder.path}")
        return OK
    supervisor = (instance.pid, instance.started)
    if instance.is_supervised():
        os.kill(instance.pid, signal.SIGTERM)
        if processes.wait_gone([supervisor], PATIENCE_SECONDS):
            raise Failure(
                f"the supervisor (pid {instance.pid}) did not stop within {PATIENCE_SECONDS:.0f} s",
                f"see {folder.path / 'logs'}",
            )
        click.echo(f"Stopped Fivefold in {folder.path}")
        return OK
    left = instance.left_over()
    for group in STOP_ORDER:
        _end([member for member in left if member.service in group])
    folder.forget()
    click.echo(
        f"Stopped {len(left)} services that a killed supervisor had left in {folder.path}"
        if left
        else f"Fivefold is not running from {folder.path}"
    )
    return OK


def _end(members: list[Member]) -> None:
    for member in members:
        if member.is_alive():
            os.kill(member.pid, signal.SIGTERM)
    for pid, _ in processes.wait_gone([(member.pid, member.started) for member in members], 30.0):
        processes.signal_group(pid, signal.SIGKILL)
