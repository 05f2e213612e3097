"""Settings of a server: read once, from flags and environment, into one frozen dataclass.

A setting `drain_seconds` of service `tracking` is the flag --drain-seconds and the variable
FIVEFOLD_TRACKING_DRAIN_SECONDS; the flag wins. An unknown name is refused with the nearest known one, because a
misspelt setting is a setting ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class StartError(Exception):
    """The server cannot start. The message is the one line that the operator reads: what is wrong and what to do."""


class HelpAsked(Exception):
    """`--help` was given; the text is in args[0]."""


def setting(default: object, about: str, *, unit: str = "", secret: bool = False, choices: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
    """Declares a field of a Config: its default, and what `--help` says about it.

    unit     shown in brackets ("seconds", "bytes", "host:port")
    secret   the value is never printed or logged
    choices  the only values allowed, for text
    """
    return dataclasses.field(
        default=default, metadata={"about": about, "unit": unit, "secret": secret, "choices": choices}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What every server can be told. A service subclasses it, overrides `listen` and `data`, and adds its own."""

    listen: str = setting("127.0.0.1:7101", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting("fivefold-data", "folder of this server's files; one server at a time owns it", unit="folder")
    health_listen: str = setting(
        "", "plaintext address that answers health and nothing else; empty: none", unit="host:port"
    )
    metrics_listen: str = setting("", "address of Prometheus metrics over HTTP; empty: none", unit="host:port")
    auth: str = setting(
        "off", "who may call: off (only on loopback; everyone is `local`) or jwt", choices=("off", "jwt")
    )
    jwt_keys: str = setting(
        "", "keys that verify tokens: a JWKS or PEM file, or the https URL of a JWKS", unit="path or URL"
    )
    jwt_issuer: str = setting("", "`iss` that tokens must carry; empty: any")
    jwt_audience: str = setting("fivefold", "`aud` that tokens must carry")
    admins: str = setting("", "who may do everything: subjects, or groups as group:NAME, separated by commas")
    standing_levels: str = setting(
        "group:fivefold:automl=CAN_EDIT,group:fivefold:serving=CAN_READ,group:fivefold:registry=CAN_READ",
        "levels on every resource: subjects, or groups as group:NAME, each with =LEVEL, separated by commas",
    )
    token_file: str = setting("", "file with the bearer token this server sends when it acts for itself", unit="path")
    tls_cert: str = setting("", "PEM certificate chain of this server; with tls_key turns TLS on", unit="path")
    tls_key: str = setting("", "PEM private key of tls_cert", unit="path")
    tls_client_ca: str = setting(
        "", "PEM authorities of client certificates; when set, clients must have one", unit="path"
    )
    tls_ca: str = setting(
        "", "PEM authorities that servers we call are checked against; when set, those calls use TLS", unit="path"
    )
    threads: int = setting(16, "unary calls running at once", unit="threads")
    stream_threads: int = setting(256, "streaming calls open at once", unit="threads")
    max_message_bytes: int = setting(16 * 1024 * 1024, "largest message received", unit="bytes")
    drain_seconds: float = setting(10.0, "what running calls get after SIGTERM", unit="seconds")
    notice_seconds: float = setting(
        0.0,
        "how long after SIGTERM new calls are still taken, so that load balancers see NOT_SERVING first",
        unit="seconds",
    )
    connection_age_seconds: float = setting(
        0.0, "how long one client's connection lives, so that clients find new replicas; 0: for ever", unit="seconds"
    )
    production: bool = setting(False, "turns reflection off")
    log_level: str = setting("info", "least severe line that is logged", choices=("debug", "info", "warning", "error"))

    def check(self) -> None:
        """A service's own checks of its settings: raises StartError when they contradict each other."""


def check(config: ServerConfig) -> None:
    """Raises StartError when settings contradict each other: those that all servers have, then the service's own."""
    host_of(config.listen, "listen")
    for name in ("health_listen", "metrics_listen"):
        if getattr(config, name):
            host_of(getattr(config, name), name)
    if config.auth == "off" and not is_loopback(config.listen):
        raise StartError(
            f"authentication is off, so {config.listen} would let everyone in."
            " Listen on 127.0.0.1, or set --auth jwt with --jwt-keys."
        )
    if config.auth == "jwt" and not config.jwt_keys:
        raise StartError("--auth jwt needs --jwt-keys: a JWKS or PEM file, or the https URL of a JWKS.")
    if bool(config.tls_cert) != bool(config.tls_key):
        raise StartError("TLS needs both --tls-cert and --tls-key.")
    if config.tls_client_ca and not config.tls_cert:
        raise StartError("--tls-client-ca needs --tls-cert and --tls-key.")
    for name in ("threads", "stream_threads", "max_message_bytes"):
        if getattr(config, name) < 1:
            raise StartError(f"{flag(name)} is {getattr(config, name)}; it must be at least 1.")
    for name in ("drain_seconds", "notice_seconds"):
        if not 0 <= getattr(config, name) <= 3600:
            raise StartError(f"{flag(name)} is {getattr(config, name)}; it must be from 0 to 3600 seconds.")
    config.check()


C = TypeVar("C", bound=ServerConfig)

#: Switches that are no settings: they say what to do, not how to serve.
SWITCHES = {"migrate-only": "brings the database to this version's schema, then exits"}


def load(config: type[C], service: str, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[C, frozenset[str]]:
    """Returns the settings and the switches that were given.

    Raises HelpAsked for --help, StartError for an unknown name, a value of the wrong type, or settings that contradict.
    """
    kinds = typing.get_type_hints(config)
    fields = {field.name: field for field in dataclasses.fields(config)}
    texts: dict[str, tuple[str, str]] = {}  # field name -> (text, where it was said)
    prefix = f"FIVEFOLD_{service.upper()}_"
    for variable, text in environ.items():
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix).lower()
            if name not in fields or variable != prefix + name.upper():
                known = [prefix + n.upper() for n in fields]
                raise StartError(f"unknown setting {variable}.{_nearest(variable, known)}")
            texts[name] = (text, variable)
    switches: set[str] = set()
    words = iter(argv)
    for word in words:
        if word in ("-h", "--help"):
            raise HelpAsked(describe(config, service))
        name, equals, text = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in SWITCHES and not equals:
            switches.add(name)
            continue
        field = name.replace("-", "_")
        if not word.startswith("--") or field not in fields or "_" in name:
            known = [flag(n) for n in fields] + [f"--{n}" for n in SWITCHES]
            raise StartError(f"unknown argument {word.partition('=')[0]}.{_nearest(word.partition('=')[0], known)}")
        if not equals:
            if kinds[field] is bool:
                text = "true"
            else:
                following = next(words, None)
                if following is None:
                    raise StartError(f"{word} needs a value{_unit(fields[field])}.")
                text = following
        texts[field] = (text, f"--{name}")
    values = {name: _value(fields[name], kinds[name], text, where) for name, (text, where) in texts.items()}
    settings = config(**values)
    check(settings)
    return settings, frozenset(switches)


def describe(config: type[ServerConfig], service: str) -> str:
    """Returns the text of --help: every setting with its default and unit."""
    lines = [f"usage: python -m fivefold_{service} [--setting value ...]", ""]
    lines.append(
        f"Each setting is also read from the environment: --listen as FIVEFOLD_{service.upper()}_LISTEN. Flags win."
    )
    lines.append("")
    for field in dataclasses.fields(config):
        default = "" if field.default is MISSING else str(field.default)
        shown = "(secret)" if field.metadata.get("secret") and default else default or "(empty)"
        about = field.metadata.get("about", "")
        choices = field.metadata.get("choices") or ()
        extra = f" One of: {', '.join(choices)}." if choices else ""
        lines.append(f"  {flag(field.name)} {shown}{_unit(field)}")
        lines.append(f"        {about}.{extra}" if about else "")
    for name, about in SWITCHES.items():
        lines.append(f"  --{name}")
        lines.append(f"        {about}.")
    return "\n".join(lines)


def flag(name: str) -> str:
    """Returns the flag of a field: drain_seconds -> --drain-seconds."""
    return "--" + name.replace("_", "-")


def host_of(address: str, name: str) -> tuple[str, int]:
    """Returns (host, port) of "127.0.0.1:7101" or "[::1]:7101". Raises StartError that names the setting."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise StartError(f"{flag(name)} is {address!r}; it must be host:port, as 127.0.0.1:7101 or [::1]:7101.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(address: str) -> bool:
    """Says whether only this machine can reach the address. A name counts only if it is `localhost`."""
    host, _ = host_of(address, "listen")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def pairs(text: str, name: str) -> dict[str, str]:
    """Returns {"a": "1", "b": "2"} of "a=1,b=2" (spaces ignored). Raises StartError that names the setting."""
    found = {}
    for item in listed(text):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise StartError(f"{flag(name)} has {item!r}; it must be NAME=VALUE,NAME=VALUE.")
        found[key.strip()] = value.strip()
    return found


def listed(text: str) -> list[str]:
    """Returns ["a", "b"] of "a, b,"."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _value(field: dataclasses.Field[Any], kind: object, text: str, where: str) -> Any:
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise StartError(f"{where} is {text!r}; it must be true or false.")
        return text.lower() in _TRUE
    if kind in (int, float):
        try:
            number = int(text) if kind is int else float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            wanted = "a whole number" if kind is int else "a number"
            raise StartError(f"{where} is {text!r}; it must be {wanted}{_unit(field)}.")
        return number
    choices = field.metadata.get("choices") or ()
    if choices and text not in choices:
        raise StartError(f"{where} is {text!r}; it must be one of {', '.join(choices)}.")
    return text


def _unit(field: dataclasses.Field[Any]) -> str:
    unit = field.metadata.get("unit", "")
    return f" [{unit}]" if unit else ""


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean {close[0]}?" if close else " See --help."
