"""Where webhooks may be sent: the rules for URLs and for the addresses that their hosts resolve to. Pure.

An address is refused unless it is a public one, whatever form it comes in: as IPv6 that carries an IPv4 address it is
judged by that address. The operator may allow networks and hosts by name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.settings import StartError, listed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS = {"https": 443, "http": 80}
_FIRST_FREE_PORT = 1024  # below it stand SSH, SMTP and their like
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_HOST = 253
#: Beyond what `ipaddress` calls not global; some of it only in newer versions of Python.
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),  # the last is a cloud's metadata in a public network
        *("::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"),
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_IN_ISATAP = re.compile(rb"\x00\x00\x5e\xfe|\x02\x00\x5e\xfe")


class AddressRefused(InvalidArgument):
    """The URL, or an address of its host, is none that webhooks are sent to."""

    reason = "ADDRESS_REFUSED"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts. `host` is lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def literal(self) -> Address | None:
        """The address that the host is, None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def target_of(url: str, field: str = "webhook.url") -> Target:
    """Returns the parts of a URL. Raises AddressRefused for one that could mean different things to different readers.

    Numbers that some read as IPv4 addresses (0x7f.1, 2130706433, 127.1, 0177.0.0.1) are neither names nor addresses.
    """
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise AddressRefused.at(field, "must be ASCII without spaces, control characters and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressRefused.at(field, "is no URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise AddressRefused.at(field, "must begin with https://", scheme=parts.scheme[:32])
    if "@" in parts.netloc:
        raise AddressRefused.at(field, "must not carry a user or password")
    if "#" in url:
        raise AddressRefused.at(field, "must not have a fragment")
    if port == 0:
        raise AddressRefused.at(field, "has the port 0")
    if not _is_host(host, bracketed="[" in parts.netloc):
        raise AddressRefused.at(field, "has a host that is neither a name nor an address in its usual form")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path)


class Rules:
    """What the operator allows beyond public addresses, by https, on usual ports."""

    def __init__(self, allow: str = "") -> None:
        """allow  networks (10.1.0.0/16, ::1/128) and names of hosts, separated by commas. Raises StartError."""
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for item in listed(allow):
            try:
                self._networks.append(ipaddress.ip_network(item))
            except ValueError:
                if not _is_host(item.lower(), bracketed=False):
                    raise StartError(
                        f"--webhook-allow has {item!r}; it must be a network such as 10.1.0.0/16, or a host's name."
                    ) from None
                self._hosts.add(item.lower())

    def check(self, target: Target, addresses: Sequence[str], field: str = "webhook.url") -> None:
        """Raises AddressRefused when one of the addresses of the target's host is none that may be sent to.

        addresses  all that the host resolves to
        """
        if not addresses:
            raise AddressRefused.at(field, f"has the host {target.host}, which does not resolve", host=target.host)
        for text in addresses:
            why = self._why_not(target, ipaddress.ip_address(text.partition("%")[0]))
            if why:
                raise AddressRefused.at(field, why, host=target.host)  # Not the address: names of inside are not told.

    def _why_not(self, target: Target, address: Address) -> str:
        if target.host in self._hosts or any(address in network for network in self._networks):
            return ""
        if target.scheme != "https":
            return "must begin with https://; http is for hosts that the operator allows"
        if target.port != _DEFAULT_PORTS["https"] and target.port < _FIRST_FREE_PORT:
            return f"has the port {target.port}; it must be 443, or from {_FIRST_FREE_PORT} on"
        if is_inside(address):
            return f"has the host {target.host}, whose address is not a public one"
        return ""


def is_inside(address: Address) -> bool:
    """Says whether an address is not public: loopback, private, link-local, metadata, multicast, reserved, or such an
    IPv4 address in IPv6 clothes."""
    return any(
        not one.is_global
        or one.is_multicast
        or one.is_reserved
        or one.is_unspecified
        or any(one in network for network in _REFUSED)
        for one in _meant(address)
    )


def _meant(address: Address) -> list[Address]:
    """Returns what an address leads to: the IPv4 addresses in it if it carries any, else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(address.packed[12:])]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    if _IPV4_IN_ISATAP.match(address.packed[8:12]):
        return [address, ipaddress.IPv4Address(address.packed[12:])]
    return [address]


def _is_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return "%" not in host
    if not host or len(host) > _LONGEST_HOST:
        return False
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):  # Readers of URLs take it for an IPv4 address.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
    return True
