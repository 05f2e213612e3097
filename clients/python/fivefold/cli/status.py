"""`fivefold status`: whether the services of `fivefold up` answer. Asks, changes nothing."""

from __future__ import annotations

from typing import Any

import click

from fivefold.cli import processes
from fivefold.cli.failures import OK, REFUSED
from fivefold.cli.instance import DEFAULT, Folder, Instance, Member
from fivefold.cli.output import formats, show


@click.command()
@click.option("--data", default=DEFAULT, show_default=True, metavar="DIR", help="Folder that `fivefold up` was given.")
@formats("json", "yaml", "csv")
def status(data: str, output: str) -> int:
    """Shows whether the services of `fivefold up` answer.

    Exit code 0 when all five answer SERVING, else 1.
    """
    folder = Folder(data)
    found = report(folder)
    if output == "table" and not found["running"]:
        click.echo(f"Fivefold is not running from {folder.path}", err=True)
        return REFUSED
    rows = found["services"]
    show(
        found if output in ("json", "yaml") else rows, output, ("service", "address", "state", "pid", "rss_mb", "note")
    )
    return OK if found["serving"] else REFUSED


def report(folder: Folder) -> dict[str, Any]:
    """Returns what runs from a folder and how each service answers."""
    instance = folder.instance()
    if instance is None or not (instance.is_supervised() or instance.left_over()):
        return {"data": str(folder.path), "running": False, "serving": False, "services": []}
    services = [_asked(folder, instance, member) for member in instance.members]
    return {
        "data": str(folder.path),
        "running": True,
        "serving": instance.is_supervised() and all(service["state"] == "SERVING" for service in services),
        "base": instance.base,
        "auth": instance.auth,
        "supervisor_pid": instance.pid if instance.is_supervised() else None,
        "services": services,
    }


def ray_state(folder: Folder, instance: Instance) -> str:
    """Returns what automl says of its Ray cluster, such as "Ray: STARTING"; "" when it cannot be asked."""
    from fivefold.sdk.client import connect
    from fivefold.sdk.errors import FivefoldError

    token_file = str(folder.token_file("automl")) if instance.auth else ""
    try:
        with connect(f"127.0.0.1:{instance.base}", token="", token_file=token_file, tls_ca="", timeout=5.0) as client:
            cluster = client.automl.cluster()
    except FivefoldError as error:
        return f"Ray: not known ({error.message})"
    why = f" ({cluster.message})" if cluster.message and cluster.state != "READY" else ""
    return f"Ray: {cluster.state}{why}"


def _asked(folder: Folder, instance: Instance, member: Member) -> dict[str, Any]:
    state = _health(member)
    rss = processes.resident_bytes(member.pid) if member.is_alive() else None
    note = ray_state(folder, instance) if member.service == "automl" and state in ("SERVING", "NOT_SERVING") else ""
    return {
        "service": member.service,
        "address": member.address,
        "state": state,
        "pid": member.pid if member.is_alive() else None,
        "rss_mb": None if rss is None else round(rss / 1e6, 1),
        "note": note if instance.is_supervised() else "without supervisor",
    }


def _health(member: Member) -> str:
    from fivefold.sdk.errors import FivefoldError
    from fivefold.sdk.transport import Access, Transport

    if not member.is_alive():
        return "STOPPED"
    transport = Transport(member.service, member.address, Access(timeout=3.0))
    try:
        return transport.health(3.0)
    except FivefoldError:
        return "NO_ANSWER"
    finally:
        transport.close()
