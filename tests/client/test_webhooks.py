"""The verifier that receivers use, and webhooks and subscriptions through SDK and command line."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fivefold
import fivefold_registry.__main__ as registry
from fivefold.cli.webhooks import _EVENTS, _STATES
from fivefold.registry.v1 import webhooks_pb2
from fivefold.sdk.client import Client
from fivefold.sdk.transport import Access
from fivefold.sdk.webhooks import Replayed, SignatureInvalid, TooOld, Verifier, WebhookRefused
from fivefold_registry.webhooks import signing
from fivefold_runtime.testing import Running, serve
from tests.client.conftest import NOBODY, Outcome
from tests.registry.hooks import Hooks
from tests.registry.receiver import SECRET, Receiver

NOW = 1_800_000_000
BODY = b'{"event": "COMMENT_CREATED", "id": "a-1"}'
Run = Callable[..., Outcome]


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def headers(*, secret: str = SECRET, delivery: str = "a-1", timestamp: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return signing.headers(secret, delivery, timestamp, body)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> Verifier:
    return Verifier(SECRET, clock=clock)


def test_a_delivery_that_the_registry_signed_is_verified(verifier: Verifier) -> None:
    delivery = verifier.verify({name.upper(): value for name, value in headers().items()}, BODY)
    assert (delivery.id, delivery.event, delivery.is_test) == ("a-1", "COMMENT_CREATED", False)
    assert delivery.fields["id"] == "a-1"


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY + b" "},
        {"body": b""},
        {"Fivefold-Delivery": "a-2"},
        {"Fivefold-Timestamp": str(NOW + 1)},
        {"Fivefold-Timestamp": f" {NOW}"},
        {"Fivefold-Timestamp": f"{NOW}.0"},
        {"Fivefold-Timestamp": ""},
        {"Fivefold-Timestamp": "9" * 5000},
        {"Fivefold-Timestamp": "١"},
        {"Fivefold-Signature": ""},
        {"Fivefold-Signature": "v1="},
        {"Fivefold-Signature": "v1=" + "0" * 64},
        {"Fivefold-Signature": "v1=é"},
        {"Fivefold-Signature": None},
        {"Fivefold-Delivery": None},
    ],
)
def test_whatever_was_altered_fails(verifier: Verifier, change: dict[str, str | bytes | None]) -> None:
    body = change.pop("body", BODY)
    given = {name: value for name, value in (headers() | change).items() if value is not None}  # type: ignore[operator]
    with pytest.raises(SignatureInvalid):
        verifier.verify(given, body)  # type: ignore[arg-type]
    verifier.verify(headers(), BODY)  # What failed was not remembered.


@pytest.mark.parametrize("version", ["v0", "V1", "", "v1 "])
def test_only_the_signature_of_this_version_counts(verifier: Verifier, version: str) -> None:
    digits = headers()["Fivefold-Signature"].removeprefix("v1=")
    with pytest.raises(SignatureInvalid):
        verifier.verify(headers() | {"Fivefold-Signature": f"{version}={digits}"}, BODY)


@pytest.mark.parametrize("seconds", [301, -301, 86_400])
def test_an_old_time_stamp_fails_however_well_it_is_signed(verifier: Verifier, seconds: int) -> None:
    with pytest.raises(TooOld):
        verifier.verify(headers(timestamp=NOW - seconds), BODY)


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_a_time_stamp_within_what_is_tolerated_passes(verifier: Verifier, seconds: int) -> None:
    verifier.verify(headers(timestamp=NOW - seconds), BODY)


def test_the_same_request_is_accepted_once_and_a_retry_with_a_new_time_stamp_again(
    verifier: Verifier, clock: Clock
) -> None:
    first = headers()
    assert verifier.verify(first, BODY).id == verifier.verify(headers(timestamp=NOW + 1), BODY).id
    for moment in (0, 150, 300):
        clock.now = NOW + moment
        with pytest.raises(Replayed):
            verifier.verify(first, BODY)
    clock.now = NOW + 301
    with pytest.raises(TooOld):
        verifier.verify(first, BODY)


def test_what_is_too_old_is_no_longer_remembered(verifier: Verifier, clock: Clock) -> None:
    for number in range(1000):
        clock.now = NOW + number
        verifier.verify(headers(delivery=f"a-{number}", timestamp=NOW + number), BODY)
    assert len(verifier._seen) <= 302


def test_while_a_secret_is_replaced_both_count(clock: Clock) -> None:
    verifier = Verifier(["the new secret of it", SECRET], clock=clock)
    verifier.verify(headers(), BODY)
    verifier.verify(headers(secret="the new secret of it", delivery="a-2"), BODY)
    with pytest.raises(SignatureInvalid):
        verifier.verify(headers(secret="some other secret...", delivery="a-3"), BODY)


@pytest.mark.parametrize("secret", ["", [], ["a", ""]])
def test_a_verifier_without_a_secret_is_none(secret: str | list[str]) -> None:
    with pytest.raises(ValueError, match="secret"):
        Verifier(secret)


def test_signatures_are_compared_in_constant_time(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every secret is tried, and each by hmac.compare_digest: nothing is learned from how long it took."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    two = Verifier([SECRET, "the new secret of it"], clock=lambda: NOW)
    two.verify(headers(), BODY)
    with pytest.raises(SignatureInvalid):
        two.verify(headers() | {"Fivefold-Signature": "v1=" + "0" * 64}, BODY)
    assert len(compared) == 4
    assert all(len(expected) == 64 for expected, _ in compared)


@given(st.dictionaries(st.sampled_from(list(headers())), st.text()), st.binary())
def test_whatever_comes_is_refused_and_nothing_else_happens(given_: dict[str, str], body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        Verifier(SECRET).verify(given_, body)


def test_the_verifier_agrees_with_the_description_in_the_contract(verifier: Verifier) -> None:
    digits = hmac.new(SECRET.encode(), f"x-7.{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    given_ = {"fivefold-delivery": "x-7", "fivefold-timestamp": str(NOW), "fivefold-signature": f"v1={digits}"}
    assert verifier.verify(given_, BODY).id == "x-7"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().served() as served:
        yield served


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    config = registry.Config(data=str(tmp_path / "data"), webhook_allow="127.0.0.1/32", webhook_retry_seconds=0.02)
    with serve(registry.build, config) as service:
        yield service


@pytest.fixture
def own(running: Running) -> Iterator[Client]:
    """A client of a registry that sends to loopback."""
    everywhere = dict.fromkeys(("tracking", "features", "automl", "serving"), NOBODY)
    with Client(everywhere | {"registry": running.address}, Access()) as connected:
        yield connected


@pytest.fixture
def command(running: Running, fivefold: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FIVEFOLD_URL_REGISTRY", running.address)
    return fivefold


def test_a_receiver_verifies_what_a_real_registry_sends(own: Client, receiver: Receiver) -> None:
    verifier = Verifier(SECRET)
    webhook = own.webhooks.create(receiver.url, ["registered_model_created"], secret=SECRET)
    own.registry.create_model("churn", description="ünï")
    assert not own.webhooks.test(webhook.name).reason
    receiver.take(2)
    verified = [verifier.verify(one.headers, one.body) for one in receiver.received]
    assert sorted(one.is_test for one in verified) == [False, True]
    told = next(one for one in verified if not one.is_test)
    assert told.fields["model_name"] == "churn"
    with pytest.raises(Replayed):
        verifier.verify(receiver.received[0].headers, receiver.received[0].body)


def test_webhooks_through_the_sdk(own: Client, receiver: Receiver) -> None:
    own.registry.create_model("churn")
    made = own.webhooks.create(receiver.url, ["COMMENT_CREATED"], model="churn", secret=SECRET, status="test_mode")
    assert (made.model, made.events, made.status, made.has_secret) == (
        "models/churn",
        ("COMMENT_CREATED",),
        "TEST_MODE",
        True,
    )
    assert not hasattr(made, "secret")
    assert own.webhooks.get(made.name.removeprefix("webhooks/")) == made
    assert own.webhooks.list("churn") == own.webhooks.list() == [made]
    changed = own.webhooks.update(made.name, events=["registered_model_created", "model_version_created"], secret="")
    assert (len(changed.events), changed.has_secret, changed.url, changed.status) == (2, False, made.url, "TEST_MODE")
    with pytest.raises(fivefold.Aborted):
        own.webhooks.update(made.name, description="x", etag=made.etag)
    with pytest.raises(fivefold.InvalidArgument) as refused:
        own.webhooks.update(made.name, url="https://127.0.0.2/")
    assert refused.value.reason == "ADDRESS_REFUSED"
    with pytest.raises(fivefold.InvalidArgument, match="COMMENT_CREATED"):
        own.webhooks.create(receiver.url, ["COMMENTED"])
    with pytest.raises(fivefold.FailedPrecondition):
        own.webhooks.redeliver(f"{made.name}/deliveries/1")
    own.webhooks.delete(made.name)
    with pytest.raises(fivefold.NotFound):
        own.webhooks.get(made.name)


def test_webhooks_through_the_command_line(command: Run, own: Client, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    created = command("webhooks", "create", receiver.url, "--secret-file", str(tmp_path / "secret"), "-o", "json")
    assert created.code == 0 and SECRET not in created.out
    name = json.loads(created.out)["name"]
    assert len(json.loads(created.out)["events"]) == 12, "all of them unless said otherwise"
    own.registry.create_model("churn")
    receiver.take(1)
    Verifier(SECRET).verify(receiver.received[0].headers, receiver.received[0].body)
    (row,) = [line for line in command("webhooks", "list").out.splitlines() if name in line]
    assert len(row) < 160, "whatever it is told of, a row stays a row"
    assert re.search("^status +ACTIVE$", command("webhooks", "show", name).out, re.M)
    while "DELIVERED" not in (listed := command("webhooks", "deliveries", name, "-o", "csv").out):
        pass
    (delivery,) = re.findall(rf"^{name}/deliveries/\d+", listed, re.M)
    assert command("webhooks", "redeliver", delivery).code == 0
    receiver.wait(lambda: len(receiver.received) == 2)
    tested = command("webhooks", "test", name, "--event", "comment_created")
    assert tested.code == 0 and "thank you" in tested.out
    receiver.answer = lambda _: 500
    assert command("webhooks", "test", name).code == 1
    assert (
        json.loads(command("webhooks", "update", name, "--status", "disabled", "-o", "json").out)["status"]
        == "DISABLED"
    )
    assert command("webhooks", "create", "http://127.0.0.2/").code == 1
    assert command("webhooks", "delete", name).code == 0
    assert command("webhooks", "show", name).code == 1


def test_subscriptions_through_sdk_and_command_line(command: Run, own: Client, running: Running) -> None:
    hooks = Hooks(running.channel)
    hooks.registry.model()
    version = hooks.version()
    assert own.subscriptions.get("churn").activity == "FOLLOWED_VERSIONS"
    assert command("models", "follow", "churn/1").code == 0
    assert own.subscriptions.get("churn").followed_versions == (version,)
    assert command("models", "unfollow", "churn/1").code == 0
    shown = command("models", "subscribe", "churn", "--activity", "all_activity", "--email", "ada@example.com")
    assert re.search("^activity +ALL_ACTIVITY$", shown.out, re.M)
    assert command("models", "mute", "churn").code == 0
    changed = own.subscriptions.update("churn", email="")
    assert (changed.activity, changed.email, changed.followed_versions) == ("MUTE", "", ())
    assert "MUTE" in command("models", "subscriptions").out
    assert [one.name for one in own.subscriptions.list()] == ["models/churn/subscription"]
    assert command("models", "subscribe", "churn", "--email", "nobody").code == 1


def test_the_command_line_knows_every_event_and_state() -> None:
    events = [one.name.removeprefix("WEBHOOK_EVENT_") for one in webhooks_pb2.WebhookEvent.DESCRIPTOR.values]
    states = [one.name.removeprefix("DELIVERY_STATE_") for one in webhooks_pb2.DeliveryState.DESCRIPTOR.values]
    assert [*_EVENTS] == events[1:] and [*_STATES] == states[1:]
