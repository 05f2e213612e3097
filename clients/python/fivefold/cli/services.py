"""The five services as `fivefold up` starts them: which package, which port, which other services each one calls."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from fivefold.cli.failures import USAGE, Failure
from fivefold.cli.instance import Folder

OFFSETS = {"tracking": 1, "features": 2, "registry": 3, "automl": 4, "serving": 5}
CALLS = {
    "tracking": (),
    "features": (),
    "registry": ("tracking",),
    "automl": ("tracking", "features", "registry"),
    "serving": ("registry", "features"),
}
# Who goes first when all stop: callers before those they call.
STOP_ORDER = (("serving", "automl"), ("registry",), ("features", "tracking"))
ADMINS = "group:admins"


def check_packages() -> None:
    """Raises Failure that names the services whose packages are not installed in this Python."""
    missing = [f"fivefold-{service}" for service in OFFSETS if find_spec(f"fivefold_{service}") is None]
    if missing:
        raise Failure(
            f"not installed in this Python ({sys.executable}): {', '.join(missing)}",
            f"pip install {' '.join(missing)}",
        )


def check_ports(base: int) -> None:
    """Raises Failure that names the first port that is taken or cannot be."""
    if not 1 <= base <= 65535 - max(OFFSETS.values()):
        raise Failure(f"--port is {base}; it must be from 1 to {65535 - max(OFFSETS.values())}", code=USAGE)
    for service, offset in OFFSETS.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As a server does: a port that was just given up may be taken, one that listens may not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", base + offset))
            except OSError as error:
                raise Failure(
                    f"port {base + offset}, which {service} needs, cannot be taken: {error.strerror}",
                    "stop what listens there, or choose other ports with --port BASE (services at BASE+1 to BASE+5)",
                ) from None


def command(service: str, folder: Folder, base: int, *, auth: bool) -> list[str]:
    """Returns the command that starts a service."""
    settings = {"listen": f"127.0.0.1:{base + OFFSETS[service]}", "data": str(folder.path / service)}
    settings |= {other: f"127.0.0.1:{base + OFFSETS[other]}" for other in CALLS[service]}
    if auth:
        settings |= {
            "auth": "jwt",
            "jwt-keys": str(folder.keys / "jwks.json"),
            "admins": ADMINS,
            "token-file": str(folder.token_file(service)),
        }
    # -P: what lies in the present folder is not imported by accident.
    flags = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-P", "-m", f"fivefold_{service}", *flags]


def environment(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns what a service sees of this environment: of all FIVEFOLD_… settings only its own."""
    own = f"FIVEFOLD_{service.upper()}_"
    return {name: value for name, value in environ.items() if name.startswith(own) or not name.startswith("FIVEFOLD_")}


def is_listening(port: int) -> bool:
    """Says whether someone takes connections on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def own_words(service: str, log: bytes) -> str:
    """Returns the line with which a service refused to start; "" when its log has none."""
    prefix = f"fivefold-{service}: "
    lines = [line for line in log.decode(errors="replace").splitlines() if line.startswith(prefix)]
    return lines[-1].removeprefix(prefix) if lines else ""
