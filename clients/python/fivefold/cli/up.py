"""`fivefold up`: the five services on this machine, in the foreground or behind a supervisor that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click

from fivefold.cli.failures import INTERRUPTED, OK, REFUSED
from fivefold.cli.instance import DEFAULT, Folder, Instance


@click.command()
@click.option("--data", default=DEFAULT, show_default=True, metavar="DIR", help="Folder of all data, logs and keys.")
@click.option(
    "--port",
    "base",
    type=int,
    default=7100,
    show_default=True,
    metavar="BASE",
    help="Services listen at BASE+1 to BASE+5.",
)
@click.option("--detach", is_flag=True, help="Leave the services running behind a supervisor.")
@click.option("--auth", is_flag=True, help="Ask every caller for a token, signed with a key in DIR/keys.")
@click.option("--report", type=int, hidden=True, help="File descriptor that is told when all services answer.")
def up(data: str, base: int, detach: bool, auth: bool, report: int | None) -> int:
    """Starts the five services on this machine.

    They listen on 127.0.0.1 only. In the foreground Ctrl-C stops them all; with --detach `fivefold down` does.
    """
    from fivefold.cli.supervisor import Supervisor

    folder = Folder(data)
    supervisor = Supervisor(folder, base, auth=auth)
    supervisor.check()
    if detach and report is None:
        return _detached(folder, base, auth)

    def on_ready(instance: Instance, seconds: float) -> None:
        _announce(folder, instance, seconds, detached=report is not None)
        if report is not None:
            _go_quiet(folder)
            os.write(report, b"ready")
            os.close(report)

    supervisor.run(on_ready)
    return OK


def _detached(folder: Folder, base: int, auth: bool) -> int:
    """Starts a supervisor in a session of its own and waits until it says that all services answer.

    It prints what there is to say to our own stdout and stderr until then, and to DIR/logs/supervisor.log from then on.
    """
    read, write = os.pipe()
    options = ["--data", str(folder.path), "--port", str(base), "--report", str(write), *(["--auth"] if auth else [])]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fivefold", "up", *options],
        stdin=subprocess.DEVNULL,
        pass_fds=[write],
        start_new_session=True,
    )
    os.close(write)
    try:
        with os.fdopen(read, "rb") as pipe:
            if pipe.read() == b"ready":
                return OK
        return process.wait() or REFUSED
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        return INTERRUPTED


def _go_quiet(folder: Folder) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(folder.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _announce(folder: Folder, instance: Instance, seconds: float, *, detached: bool) -> None:
    from fivefold.cli.status import report

    click.echo(f"Fivefold is up, all five answered after {seconds:.1f} s; data in {folder.path}")
    for service in report(folder)["services"]:
        note = f"  {service['note']}" if service["note"] else ""
        click.echo(f"  {service['service']:<9} {service['address']}  {service['state']}{note}")
    if instance.base != 7100:
        click.echo(f"Point clients here: export FIVEFOLD_URL=127.0.0.1:{instance.base}")
    if instance.auth:
        click.echo(f"Get a token: export FIVEFOLD_TOKEN=$(fivefold token --data {folder.path})")
    click.echo(f"Stop it: fivefold down --data {folder.path}" if detached else "Stop it: Ctrl-C")
    sys.stdout.flush()
