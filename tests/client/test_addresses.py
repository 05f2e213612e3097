"""Where the services are, from an address and the environment."""

from __future__ import annotations

import pytest

from fivefold.sdk.addresses import SERVICES, resolve, split
from fivefold.sdk.errors import InvalidArgument


def test_services_are_at_the_five_ports_after_the_base() -> None:
    found = resolve("ml.example:7200", {})
    assert list(found) == list(SERVICES)
    assert list(found.values()) == [f"ml.example:{port}" for port in range(7201, 7206)]


def test_without_an_address_the_environment_decides_and_one_service_may_be_elsewhere() -> None:
    environ = {"FIVEFOLD_URL": "ml.example", "FIVEFOLD_URL_SERVING": "[::1]:9000"}
    found = resolve(None, environ)
    assert found["tracking"] == "ml.example:7101"
    assert found["serving"] == "[::1]:9000"
    assert resolve(None, {})["registry"] == "127.0.0.1:7103"


def test_an_address_that_is_given_wins_over_the_environment() -> None:
    environ = {"FIVEFOLD_URL": "other:1", "FIVEFOLD_URL_TRACKING": "other:2"}
    assert resolve("here:7100", environ)["tracking"] == "here:7101"


def test_hosts_may_be_names_and_addresses_of_both_families() -> None:
    assert split("localhost:1", "x") == ("localhost", 1)
    assert split("[fe80::1]:65535", "x") == ("fe80::1", 65535)
    assert split("[::1]", "x") == ("::1", 7100)


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":7100",
        "http://host:7100",
        "host:",
        "host:0",
        "host:65536",
        "host:70000000",
        "host:७१००",
        "::1",
        "a b:1",
        "u@h:1",
    ],
)
def test_what_is_no_address_is_refused_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(InvalidArgument, match=r"host:port"):
        split(address, "address")


def test_a_base_port_without_room_for_five_services_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="at most 65530"):
        resolve("host:65531", {})
