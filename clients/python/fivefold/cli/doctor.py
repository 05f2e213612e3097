"""`fivefold doctor`: checks what Fivefold needs and what runs. Reads, asks, changes nothing."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from fivefold.cli import services
from fivefold.cli.failures import OK, REFUSED
from fivefold.cli.instance import DEFAULT, Folder
from fivefold.cli.output import formats, show

LIMITS_MB = {"tracking": 150, "features": 150, "registry": 150, "serving": 250}  # resident, when idle
_FREE_GB = 1.0
_LIBRARIES = ("grpcio", "protobuf", "click", "rich", "numpy", "pandas", "pyarrow", "ray")


@click.command()
@click.option("--data", default=DEFAULT, show_default=True, metavar="DIR", help="Folder that `fivefold up` was given.")
@formats("json", "yaml", "csv")
def doctor(data: str, output: str) -> int:
    """Checks Python, packages, ports, disk and the running services.

    Exit code 0 when nothing is wrong, else 1. A verdict is ok, over (more memory than it should), missing, taken, low
    or bad.
    """
    from fivefold.cli.status import report

    folder = Folder(data)
    running = report(folder)
    checks = [_python(), *_packages(), _disk(folder)]
    checks += _services(running) if running["running"] else _ports()
    show(checks, output, ("check", "value", "limit", "verdict"))
    return OK if all(check["verdict"] in ("ok", "-") for check in checks) else REFUSED


def _check(name: str, value: str, verdict: str, limit: str = "") -> dict[str, Any]:
    return {"check": name, "value": value, "limit": limit, "verdict": verdict}


def _python() -> dict[str, Any]:
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return _check("Python", f"{platform.python_version()} ({sys.executable})", "ok" if fits else "bad", "3.11 to 3.13")


def _packages() -> list[dict[str, Any]]:
    own = ["fivefold", "fivefold-runtime", *(f"fivefold-{service}" for service in services.OFFSETS)]
    found = [_check(name, _version(name), "ok" if _version(name) else "missing") for name in own]
    return found + [_check(name, _version(name), "ok" if _version(name) else "-") for name in _LIBRARIES]


def _disk(folder: Folder) -> dict[str, Any]:
    free = folder.free_bytes() / 1e9
    return _check(
        f"disk at {folder.path}", f"{free:.1f} GB free", "ok" if free >= _FREE_GB else "low", f">= {_FREE_GB:g} GB"
    )


def _ports() -> list[dict[str, Any]]:
    """Says whether the default ports are free, when nothing runs from the folder."""
    ports = {service: 7100 + offset for service, offset in services.OFFSETS.items()}
    return [
        _check(f"port {port} ({service})", "in use" if busy else "free", "taken" if busy else "ok")
        for service, port in ports.items()
        for busy in [services.is_listening(port)]
    ]


def _services(running: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for service in running["services"]:
        name, limit = service["service"], LIMITS_MB.get(service["service"])
        serving = service["state"] == "SERVING"
        where = f"{service['address']}, pid {service['pid']}, {_version(f'fivefold-{name}')}"
        found.append(_check(name, f"{service['state']} at {where}", "ok" if serving else "bad", "SERVING"))
        if service["rss_mb"] is not None:
            fits = limit is None or service["rss_mb"] <= limit
            bound = f"<= {limit} MB idle" if limit else "no limit"
            found.append(_check(f"{name} memory", f"{service['rss_mb']:.0f} MB", "ok" if fits else "over", bound))
        if name == "automl" and service["note"]:
            found.append(_check("Ray cluster", service["note"], "bad" if "UNAVAILABLE" in service["note"] else "ok"))
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
