"""A receiver that fails a third of the time, a service that is killed, replicas that come and go: nothing is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fivefold_registry.__main__ import Config, build
from fivefold_registry.courier import Courier
from fivefold_registry.lease import BEAT_SECONDS
from fivefold_registry.store.outgoing import DeliveryRecord, Result
from fivefold_registry.webhooks.channel import WebhookChannel
from fivefold_registry.webhooks.sealing import Seal, SealBroken
from fivefold_runtime.settings import StartError
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import serve
from tests.registry.client import NONE, PRODUCTION, STAGING
from tests.registry.conftest import url_of
from tests.registry.hooks import Hooks
from tests.registry.receiver import SECRET, Received, Receiver
from tests.registry.test_process import Process
from tests.runtime.asserting import refused

KILLS, MODELS, MOVES = 10, 3, 4


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().served() as served:
        yield served


def check_order(receiver: Receiver) -> None:
    """Of each model no delivery was taken before one that came earlier, and one delivery has one body."""
    bodies: dict[str, bytes] = {}
    reached: dict[str, int] = {}
    for one in receiver.taken:
        delivery, model = one.headers["Fivefold-Delivery"], one.fields["model_name"]
        if delivery not in bodies:
            position = int(delivery.rpartition("-")[2])
            assert position > reached.get(model, 0), f"{delivery} of {model} came after {reached[model]}"
            reached[model] = position
        assert bodies.setdefault(delivery, one.body) == one.body


@pytest.mark.parametrize("seed", [1])
def test_every_event_arrives_in_order_though_the_receiver_fails_and_the_service_is_killed(
    data: Path, receiver: Receiver, seed: int
) -> None:
    chance = random.Random(seed)
    receiver.answer = lambda _: 500 if chance.random() < 0.3 else 200
    arguments = ("--webhook-allow", "127.0.0.1/32", "--webhook-retry-seconds", "0.05")
    happened: list[tuple[str, str]] = []
    versions: dict[str, str] = {}
    for round_ in range(KILLS):
        with Process(data, *arguments) as process:
            hooks = Hooks(process.channel)
            if not round_:
                hooks.create(receiver.url, secret=SECRET)
                for number in range(MODELS):
                    hooks.registry.model(f"m{number}")
                    versions[f"m{number}"] = hooks.version(f"m{number}")
                    happened += [(f"m{number}", ""), (f"m{number}", "")]
            for move in range(MOVES):
                for model, version in versions.items():
                    stage = (STAGING, PRODUCTION)[move % 2]
                    hooks.registry.move(version, stage)
                    happened.append((model, ("Staging", "Production")[move % 2]))
            # Killed as the block ends: in the middle of whatever it is doing.
    with Process(data, *arguments) as process:
        told = receiver.take(len(happened))
        hooks = Hooks(process.channel)
        events = hooks.registry.watch().take(len(happened))
    assert len(told) == len(happened)
    assert {int(one["id"].rpartition("-")[2]) for one in told} == {event.position for event in events}
    for model in versions:
        mine = [one.get("to_stage", "") for one in told if one["model_name"] == model]
        assert mine == [stage for name, stage in happened if name == model]
    check_order(receiver)


def test_of_two_replicas_one_delivers_and_the_other_takes_over(
    empty_postgres: Database, tmp_path: Path, receiver: Receiver
) -> None:
    url = url_of(empty_postgres)
    settings = {
        "webhook_allow": "127.0.0.1/32",
        "webhook_retry_seconds": 0.02,
        "store_url": url,
        "activity_key": "k" * 32,
    }
    with serve(build, Config(data=str(tmp_path / "b"), **settings)) as second:
        with serve(build, Config(data=str(tmp_path / "a"), **settings)) as first:
            one, two = Hooks(first.channel), Hooks(second.channel)
            one.create(receiver.url)
            for number in range(5):
                (one, two)[number % 2].registry.model(f"m{number}")
            receiver.take(5)
            assert len(receiver.received) == 5, "each once, though both could have"
        two.registry.model("after")
        assert receiver.take(6)[-1]["model_name"] == "after"
        name = two.list().webhooks[0].name
        receiver.wait(lambda: len(receiver.received) >= 6)
        two.redeliver(two.deliveries(name)[-1].name)
        receiver.wait(lambda: len(receiver.received) >= 7)


def test_what_a_killed_replica_left_is_delivered_by_the_other(
    empty_postgres: Database, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it sends: the other takes the place when no sign of life comes any more, and sends the same again."""
    monkeypatch.setattr("fivefold_registry.lease.DEAD_SECONDS", 1.5 * BEAT_SECONDS)
    url, key = url_of(empty_postgres), "k" * 32
    arrived, go_on = threading.Event(), threading.Event()

    def stuck(_: Received) -> int:
        arrived.set()
        go_on.wait(60)
        return 200

    receiver.answer = stuck
    allowed = ("--webhook-allow", "127.0.0.1/32", "--webhook-timeout-seconds", "60")
    shared = ("--store-url", url, "--activity-key", key)
    with Process(tmp_path / "a", *allowed, *shared) as first:
        hooks = Hooks(first.channel)
        hooks.create(receiver.url)
        config = Config(data=str(tmp_path / "b"), store_url=url, activity_key=key, webhook_allow="127.0.0.1/32")
        with serve(build, config) as second:
            hooks.registry.model("m0")
            assert arrived.wait(60), "the first delivers"
            first.popen.kill()
            first.popen.wait()
            receiver.answer = lambda _: 200
            other = Hooks(second.channel)
            for move in range(6):
                other.registry.move(
                    other.version("m0") if not move else "models/m0/versions/1", (STAGING, NONE)[move % 2]
                )
            told = receiver.take(8)
            go_on.set()
    assert [one["event"] for one in told[:2]] == ["REGISTERED_MODEL_CREATED", "MODEL_VERSION_CREATED"]
    assert [one["to_stage"] for one in told[2:]] == ["Staging", "None"] * 3
    check_order(receiver)


def test_a_stop_while_a_receiver_does_not_answer_is_quick_and_loses_nothing(data: Path, receiver: Receiver) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def stuck(_: Received) -> int:
        arrived.set()
        go_on.wait(60)
        return 200

    config = Config(data=str(data), webhook_allow="127.0.0.1/32", webhook_timeout_seconds=3600.0)
    with Receiver(stuck).served() as first:
        with serve(build, config) as service:
            hooks = Hooks(service.channel)
            name = hooks.create(first.url).name
            hooks.registry.model()
            arrived.wait(60)
        go_on.set()
        with serve(build, config) as service:
            first.wait(lambda: len(first.taken) >= 2)
            ids = {one.headers["Fivefold-Delivery"] for one in first.received}
            assert len(ids) == 1
            assert Hooks(service.channel).get(name).name == name


def test_events_that_are_no_longer_kept_are_not_silently_stepped_over(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher that was away too long is told so, and one that begins anew gets what is there."""
    monkeypatch.setattr("fivefold_registry.courier._TRIM_SECONDS", 0.01)
    with serve(build, Config(data=str(data), event_days=1e-9)) as service:
        hooks = Hooks(service.channel)
        for number in range(4):
            hooks.registry.model(f"m{number}")
        courier = next(work for work in service.app.background if isinstance(work, Courier))
        while len(courier._outbox.read()) > 1:
            courier.wake()
            time.sleep(0.02)
        with refused("FIELD_INVALID") as refusal:
            hooks.registry.watch(1)
        assert "kept from position 4" in refusal.message
        with hooks.registry.watch(3) as watch:
            assert [event.model for event in watch.take(1)] == ["models/m3"]
        with hooks.registry.watch(only_new=True) as watch:
            assert watch.position == 4
        hooks.registry.model("new")
        with hooks.registry.watch(4) as watch:
            assert [event.model for event in watch.take(1)] == ["models/new"]


@pytest.mark.parametrize("text", ["", "short", "MDEyMzQ1Njc4OWFiY2RlZg==", "not base64 at all!"])
def test_a_key_file_without_good_keys_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(StartError, match="32 bytes in base64"):
        Seal.of(str(tmp_path / "keys"))
    with pytest.raises(StartError, match="cannot be read"):
        Seal.of(str(tmp_path / "none"))


def test_a_sealed_secret_opens_for_its_own_webhook_only() -> None:
    seal = Seal([b"k" * 32])
    stored = seal.close("one", SECRET)
    assert seal.open("one", stored) == SECRET
    for webhook, changed in (("two", stored), ("one", stored[:-6] + "AAAA==")):
        with pytest.raises(SealBroken) as broken:
            seal.open(webhook, changed)
        assert SECRET not in str(broken.value)
    assert seal.open("one", Seal().close("one", SECRET)) == SECRET, "one of before there was a key"


def test_a_defect_in_one_delivery_holds_up_no_other(
    data: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again after a while, not at once and for ever."""
    real, failed = WebhookChannel.send, []

    def send(channel: WebhookChannel, delivery: DeliveryRecord) -> Result:
        if delivery.model == "bad":
            failed.append(delivery.id)
            raise RuntimeError("a defect")
        return real(channel, delivery)

    monkeypatch.setattr(WebhookChannel, "send", send)
    with serve(build, Config(data=str(data), webhook_allow="127.0.0.1/32")) as service:
        hooks = Hooks(service.channel)
        hooks.create(receiver.url)
        for id in ("bad", "good", "fine"):
            hooks.registry.model(id)
        assert {one["model_name"] for one in receiver.take(2)} == {"good", "fine"}
    assert len(failed) == 1
