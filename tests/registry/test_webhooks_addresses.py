"""Where webhooks may be sent: the table of what is refused, when made and when connecting, and hostile URLs."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import string
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold_registry.__main__ import Config, build
from fivefold_registry.webhooks.addresses import AddressRefused, Rules, is_inside, target_of
from fivefold_registry.webhooks.sending import Sender, SendFailed, trust
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import serve
from tests.registry.hooks import Hooks
from tests.registry.receiver import Receiver
from tests.runtime import certificates
from tests.runtime.asserting import refused

PUBLIC = "93.184.216.34"
INSIDE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "169.254.0.1", "192.0.0.192", "168.63.129.16", "100.100.100.200"),  # metadata of clouds
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "203.0.113.9"),
    *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a00:1::"),
    *("2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2607:f8b0::5efe:7f00:1", "2607:f8b0::200:5efe:a00:1"),
]
OUTSIDE = [PUBLIC, "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
HOSTILE = [
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/"),
    *(
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@127.0.0.1/",
        "https://@example.com/",
    ),
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"),
    *("https://127.0.0.1./", "https://1.2.3.4.5/", "https://0x/", "https://256.256.256.256/", "https://00000/"),
    *(
        "https://[::1/",
        "https://::1/",
        "https://[::1%25eth0]/",
        "https://[v1.x]/",
        "https://[127.0.0.1]/",
        "https://[]/",
    ),
    *("https://ⓔxample.com/", "https://127。0。0。1/", "https://１２７.0.0.1/", "https://exa\u00admple.com/"),
    *("https://example.com\\@127.0.0.1/", "https:\\\\example.com/", "https://exam ple.com/", " https://example.com/"),
    *(
        "https://example.com/\r\nHost: inside",
        "https://example.com/\n",
        "https://example.com/\x00",
        "https://exa\tmple.com/",
    ),
    *(
        "https://example.com#@127.0.0.1/",
        "https://example.com/#x",
        "https://example.com:0/",
        "https://example.com:65536/",
    ),
    *(
        "https://example.com:-1/",
        "https://example.com:1e3/",
        "https://-example.com/",
        "https://example..com/",
        "https:///x",
    ),
    *(
        "https://example.com./",
        "https://" + "a" * 64 + ".com/",
        "https://" + "a." * 130 + "com/",
        "https:example.com",
        "x",
    ),
    "https://%31%32%37.0.0.1/",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    assert is_inside(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is_not(address: str) -> None:
    assert not is_inside(ipaddress.ip_address(address))


@given(
    st.one_of(
        st.ip_addresses(v=4), st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=4, network="127.0.0.0/8")
    )
)
def test_an_ipv4_address_is_judged_alike_in_every_clothes(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    clothes = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    assert {is_inside(ipaddress.IPv6Address(one)) for one in clothes} == {is_inside(address)}


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_without_asking_for_addresses(url: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    asked: list[str] = []
    sender = Sender(Rules(), 1.0, ssl.create_default_context(), resolve)
    with pytest.raises(AddressRefused):
        sender.check(target_of(url))
    assert asked in ([], ["example.com"] if url.startswith("http:") else [])


@given(
    st.one_of(
        st.text(),
        st.text(string.printable).map("https://{}".format),
        st.builds(
            "https://{}{}{}{}".format,
            st.sampled_from(["", "a@", "[", "]", "::", "0x"]),
            st.one_of(st.ip_addresses().map(str), st.text("0123456789abcdefx.:[]%@\\/?#", max_size=20)),
            st.sampled_from(["", ":443", ":22", ":", "@", "%00"]),
            st.text("/?#@:\\.x ", max_size=5),
        ),
    )
)
def test_whatever_url_is_accepted_names_the_host_that_every_reader_sees(url: str) -> None:
    try:
        target = target_of(url)
    except AddressRefused:
        return
    assert url.isascii() and not set(url) & set(" \\\t\r\n\0") and "@" not in urlsplit(url).netloc
    assert target.literal is not None or not target.host.rpartition(".")[2].isdigit()
    assert target.host in url.lower()
    assert 0 < target.port < 65536 and target.path.startswith("/") and "#" not in target.path


@pytest.mark.parametrize("port", [21, 22, 25, 80, 111, 1023])
def test_ports_of_other_services_are_refused(port: int) -> None:
    with pytest.raises(AddressRefused):
        Rules().check(target_of(f"https://example.com:{port}/"), [PUBLIC])
    Rules().check(target_of("https://example.com:8443/"), [PUBLIC])


def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    with pytest.raises(AddressRefused):
        Rules().check(target_of("https://example.com/"), [PUBLIC, "10.0.0.1"])


def test_what_the_operator_allows_is_allowed_and_nothing_beside_it() -> None:
    rules = Rules("10.1.0.0/16, hooks.local,::1/128")
    rules.check(target_of("http://10.1.2.3:81/"), ["10.1.2.3"])
    rules.check(target_of("http://hooks.local/"), ["192.168.1.1"])
    rules.check(target_of("https://inside/"), ["10.1.2.3"])
    rules.check(target_of("http://[::1]:22/"), ["::1"])
    for url, address in (
        ("https://10.2.0.1/", "10.2.0.1"),
        ("https://x.hooks.local/", "192.168.1.1"),
        ("http://example.com/", PUBLIC),
        ("https://inside/", "::ffff:127.0.0.1"),
    ):
        with pytest.raises(AddressRefused):
            rules.check(target_of(url), [address])
    with pytest.raises(StartError, match="webhook-allow"):
        Rules("10.1.0.1/8")


class Names:
    """A resolver that says what the test wants, each time anew."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().served() as served:
        yield served


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_a_name_that_leads_inside_is_refused_when_made_and_when_changed(data: Path, address: str) -> None:
    names = Names([PUBLIC], [address])
    with serve(lambda config: build(config, names), Config(data=str(data))) as service:
        hooks = Hooks(service.channel)
        made = hooks.create("https://rebinding.example/")
        calls = (
            lambda: hooks.create("https://rebinding.example/"),
            lambda: hooks.update(made.name, url="https://rebinding.example/other"),
            lambda: hooks.create(f"https://[{address}]/" if ":" in address else f"https://{address}/"),
        )
        for call in calls:
            with refused("ADDRESS_REFUSED") as refusal:
                call()
            assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
            if call is not calls[-1]:
                assert address not in refusal.message + str(refusal.facts), "what a name of inside leads to is not told"
        assert hooks.get(made.name).url == made.url


def test_a_name_that_leads_inside_after_it_was_made_is_refused_when_connecting(data: Path, receiver: Receiver) -> None:
    """DNS rebinding: the receiver on loopback stands for what must not be reached."""
    port = urlsplit(receiver.url).port
    names = Names([PUBLIC], ["127.0.0.1"])
    config = Config(data=str(data), webhook_retry_seconds=0.02)
    with serve(lambda config: build(config, names), config) as service:
        hooks = Hooks(service.channel)
        name = hooks.create(f"https://rebinding.example:{port}/").name
        assert "not a public one" in hooks.test(name).reason
        hooks.registry.model()
        while not (found := hooks.deliveries(name)) or found[0].attempts < 2:
            pass
        assert "not a public one" in found[0].reason and found[0].status_code == 0
    assert receiver.received == []


def test_one_answer_is_both_checked_and_connected_to(receiver: Receiver) -> None:
    """A name that changes between two questions changes nothing, since there is one question per attempt."""
    port = urlsplit(receiver.url).port
    names = Names(["127.0.0.1"], ["10.255.255.1"])
    sender = Sender(Rules("hooks.example"), 5.0, ssl.create_default_context(), names)
    answer = sender.post(target_of(f"http://hooks.example:{port}/x"), {}, b"{}")
    assert answer.status_code == 200
    assert names.asked == ["hooks.example"]
    assert receiver.received[0].headers["Host"] == f"hooks.example:{port}"


def test_names_that_resolve_slowly_leave_threads_for_other_calls(data: Path) -> None:
    go_on, asked = threading.Event(), threading.Semaphore(0)

    def slow(host: str, port: int) -> list[str]:
        asked.release()
        go_on.wait(60)
        return [PUBLIC]

    with serve(lambda config: build(config, slow), Config(data=str(data), webhook_timeout_seconds=60.0)) as service:
        hooks = Hooks(service.channel)
        threads = [threading.Thread(target=hooks.create, args=("https://slow.example/",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in threads:
            asked.acquire()
        with refused("TOO_MANY_CALLS"):
            hooks.create("https://slow.example/")
        hooks.create(f"https://{PUBLIC}/")  # nobody is asked about an address
        hooks.registry.model()
        go_on.set()
        for thread in threads:
            thread.join()
        assert len(hooks.list().webhooks) == 5


def test_a_name_server_that_does_not_answer_holds_nothing_up() -> None:
    go_on = threading.Event()

    def silent(host: str, port: int) -> list[str]:
        go_on.wait(60)
        return [PUBLIC]

    sender = Sender(Rules(), 0.1, ssl.create_default_context(), silent)
    with pytest.raises(AddressRefused, match="does not resolve"):
        sender.post(target_of("https://hooks.example/"), {}, b"{}")
    go_on.set()


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sender = Sender(Rules("127.0.0.1/32"), 5.0, ssl.create_default_context())
    assert sender.post(target_of(receiver.url), {}, b"{}").status_code == 200


def test_the_certificate_must_be_of_the_name_and_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    paths = certificates.make(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.cert, paths.key)
    names = Names(["127.0.0.1"])
    rules = Rules("127.0.0.1/32")
    with Receiver().served(context) as receiver:
        port = urlsplit(receiver.url).port
        trusting = Sender(rules, 10.0, trust(paths.ca), names)
        assert trusting.post(target_of(f"https://localhost:{port}/"), {}, b"{}").status_code == 200
        with pytest.raises(SendFailed, match="certificate does not verify"):
            trusting.post(target_of(f"https://elsewhere.example:{port}/"), {}, b"{}")
        with pytest.raises(SendFailed, match="certificate does not verify"):
            Sender(rules, 10.0, trust(), names).post(target_of(f"https://localhost:{port}/"), {}, b"{}")
        assert len(receiver.received) == 1


def test_a_receiver_that_drips_is_left_when_the_time_is_up() -> None:
    """Each byte comes in time; all of them together do not."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    sender = Sender(Rules("127.0.0.1/32"), 0.5, ssl.create_default_context())
    with pytest.raises(SendFailed, match="no answer within"):
        sender.post(target_of(f"http://127.0.0.1:{listener.getsockname()[1]}/"), {}, b"{}")
    stop.set()
    thread.join()
    listener.close()


def test_an_endless_answer_is_read_to_its_limit(receiver: Receiver) -> None:
    receiver.answer = lambda _: (200, {}, b"x" * 50_000_000)
    sender = Sender(Rules("127.0.0.1/32"), 10.0, ssl.create_default_context())
    assert len(sender.post(target_of(receiver.url), {}, b"{}").body) == 4096


@pytest.mark.parametrize("answer", [b"not http at all\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000])
def test_an_answer_that_is_no_http_is_a_failure_and_nothing_worse(answer: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            with suppress(OSError):
                connection.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    sender = Sender(Rules("127.0.0.1/32"), 10.0, ssl.create_default_context())
    with pytest.raises(SendFailed):
        sender.post(target_of(f"http://127.0.0.1:{listener.getsockname()[1]}/"), {}, b"{}")
    thread.join()
    listener.close()
