"""Where the five services are: one base address with services at +1 … +5, or an address for each.

Pure: the environment comes in as an argument.
"""

from collections.abc import Mapping

from fivefold.sdk.errors import InvalidArgument

SERVICES = ("tracking", "features", "registry", "automl", "serving")
OFFSETS = {service: offset for offset, service in enumerate(SERVICES, start=1)}
DEFAULT_PORT = 7100
DEFAULT = f"127.0.0.1:{DEFAULT_PORT}"


def resolve(address: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns host:port of each service.

    address  "host:7100", "[::1]:7100" or "host"; None: FIVEFOLD_URL, else 127.0.0.1:7100, and for each service
             FIVEFOLD_URL_TRACKING … where it is set

    Raises InvalidArgument that names the address and what it should look like.
    """
    if address is not None:
        return _at(*split(address, "address"))
    found = _at(*split(environ.get("FIVEFOLD_URL") or DEFAULT, "FIVEFOLD_URL"))
    for service in SERVICES:
        variable = f"FIVEFOLD_URL_{service.upper()}"
        if environ.get(variable):
            host, port = split(environ[variable], variable)
            found[service] = join(host, port)
    return found


def split(address: str, where: str) -> tuple[str, int]:
    """Returns (host, port) of "host:7100", "[::1]:7100" or "host"; the host without brackets.

    Raises InvalidArgument that names `where` the address came from.
    """
    host, port = address, str(DEFAULT_PORT)
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif ":" in address:
        host, _, port = address.rpartition(":")
        if ":" in host and "/" not in host:
            host = ""  # an IPv6 address without brackets
    usable = host and not set(host) & set("/ []@") and port.isascii() and port.isdigit() and 0 < int(port) <= 65535
    if not usable:
        raise InvalidArgument(
            f"{where} is {address!r}; it must be host:port, such as 127.0.0.1:7100 or [::1]:7100, without a scheme",
            reason="FIELD_INVALID",
            facts={"field": where, "value": address},
        )
    return host, int(port)


def join(host: str, port: int) -> str:
    """Returns host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _at(host: str, base: int) -> dict[str, str]:
    if base + len(SERVICES) > 65535:
        raise InvalidArgument(
            f"the base port is {base}; it must be at most {65535 - len(SERVICES)}, since services are at +1 to +5",
            reason="FIELD_INVALID",
            facts={"port": str(base)},
        )
    return {service: join(host, base + offset) for service, offset in OFFSETS.items()}
