"""Listening addresses: whether one can be taken, said in a line that an operator understands."""

from __future__ import annotations

import errno
import socket

from fivefold_runtime.settings import StartError, flag, host_of

_WHY = {
    errno.EADDRINUSE: "the port is taken. Stop what uses it",
    errno.EACCES: "this user may not take the port. Use one above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have the address. Use one that it has",
}


def check_free(address: str, name: str) -> None:
    """Raises StartError when the address of setting `name` cannot be listened on; takes it for an instant to see."""
    host, port = host_of(address, name)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except socket.gaierror:
        raise StartError(f"cannot listen on {address}: no such host. Choose another with {flag(name)}.") from None
    except OSError as error:
        raise refusal(address, name, error.errno) from None


def refusal(address: str, name: str, number: int | None = errno.EADDRINUSE) -> StartError:
    """Returns the error for an address that could not be taken."""
    why = _WHY.get(number or 0, "it cannot be taken. Check it")
    return StartError(f"cannot listen on {address}: {why}, or choose another with {flag(name)}.")
