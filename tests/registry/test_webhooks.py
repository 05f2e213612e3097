"""Webhooks over gRPC with a real receiver: what is sent when, signed how, tried again, kept and not kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1 import webhooks_pb2
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.testing import Running, serve
from tests.registry.client import ARCHIVED, NONE, PRODUCTION, STAGING
from tests.registry.conftest import url_of
from tests.registry.hooks import ALL_EVENTS, Hooks, states
from tests.registry.receiver import SECRET, Received, Receiver
from tests.runtime.asserting import refused

QUICK = {"webhook_allow": "127.0.0.1/32", "webhook_retry_seconds": 0.02}
ACTIVE, DISABLED, TEST_MODE = 1, 2, 3


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().served() as served:
        yield served


@pytest.fixture
def running(data: Path) -> Iterator[Running]:
    with serve(build, Config(data=str(data), **QUICK)) as service:
        yield service


@pytest.fixture
def hooks(running: Running) -> Hooks:
    return Hooks(running.channel)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_both(request: pytest.FixtureRequest, data: Path) -> Iterator[Hooks]:
    """A registry on each kind of database."""
    url = "" if request.param == "sqlite" else url_of(request.getfixturevalue("empty_postgres"))
    with serve(build, Config(data=str(data), store_url=url, **QUICK)) as service:
        yield Hooks(service.channel)


def test_all_twelve_events_are_told_each_by_its_name(on_both: Hooks, receiver: Receiver) -> None:
    on_both.create(receiver.url)
    registry = on_both.registry
    registry.model()
    version = on_both.version()
    for stage in (STAGING, PRODUCTION, ARCHIVED, NONE):
        registry.move(version, stage)
    for stage in (STAGING, PRODUCTION, ARCHIVED):
        registry.ask(version, stage, comment="please")
    registry.move(version, STAGING)
    registry.ask(version, NONE)
    registry.comment(version, "why?")
    registry.stub.UpdateModelVersion(
        pb.UpdateModelVersionRequest(model_version=pb.ModelVersion(name=version, tags={"team": "a"}))
    )
    told = receiver.take(13)
    assert [one["event"] for one in told] == [
        "REGISTERED_MODEL_CREATED",
        "MODEL_VERSION_CREATED",
        "MODEL_VERSION_TRANSITIONED_TO_STAGING",
        "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
        "MODEL_VERSION_TRANSITIONED_TO_ARCHIVED",
        "MODEL_VERSION_TRANSITIONED_STAGE",
        "TRANSITION_REQUEST_TO_STAGING_CREATED",
        "TRANSITION_REQUEST_TO_PRODUCTION_CREATED",
        "TRANSITION_REQUEST_TO_ARCHIVED_CREATED",
        "MODEL_VERSION_TRANSITIONED_TO_STAGING",
        "TRANSITION_REQUEST_CREATED",
        "COMMENT_CREATED",
        "MODEL_VERSION_TAG_SET",
    ]
    assert {one["event"] for one in told} == {
        webhooks_pb2.WebhookEvent.Name(number).removeprefix("WEBHOOK_EVENT_")
        for number in ALL_EVENTS  # type: ignore[arg-type]
    }
    created, moved, asked, commented = told[1], told[3], told[7], told[11]
    assert (created["status"], created["version"], created["model_name"], created["user"]) == (
        "READY",
        "1",
        "churn",
        "local",
    )
    assert (moved["from_stage"], moved["to_stage"]) == ("Staging", "Production")
    assert moved["text"] == "local moved version 1 of churn from Staging to Production."
    assert (asked["to_stage"], asked["comment"]) == ("Production", "please")
    assert commented["comment"] == "why?"


def test_a_webhook_hears_only_of_what_it_asked_for(hooks: Hooks, receiver: Receiver) -> None:
    for id in ("churn", "other"):
        hooks.registry.model(id)
    hooks.create(f"{receiver.url}/moves", events=["MODEL_VERSION_TRANSITIONED_STAGE"], model="models/churn")
    hooks.create(f"{receiver.url}/comments", events=["COMMENT_CREATED"])
    for id in ("other", "churn"):
        version = hooks.version(id)
        hooks.registry.move(version, PRODUCTION)
        hooks.registry.comment(version, "so?")
    receiver.take(3)
    told = sorted((one.path, one.fields["event"], one.fields["model_name"]) for one in receiver.received)
    assert told == [
        ("/comments", "COMMENT_CREATED", "churn"),
        ("/comments", "COMMENT_CREATED", "other"),
        ("/moves", "MODEL_VERSION_TRANSITIONED_STAGE", "churn"),
    ]


def test_a_delivery_is_signed_over_id_time_and_body(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(f"{receiver.url}/path?key=value", secret=SECRET)
    hooks.registry.model()
    receiver.take(1)
    (one,) = receiver.received
    signed = f"{one.headers['Fivefold-Delivery']}.{one.headers['Fivefold-Timestamp']}.".encode() + one.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert one.headers["Fivefold-Signature"] == f"v1={expected}"
    assert one.path == "/path?key=value"
    assert one.fields["id"] == one.headers["Fivefold-Delivery"]
    assert abs(int(one.headers["Fivefold-Timestamp"]) - time.time()) < 60


def test_a_failing_receiver_gets_it_again_with_the_same_id_and_later_events_wait(
    on_both: Hooks, receiver: Receiver
) -> None:
    left = iter([500, 404, 301])
    receiver.answer = lambda _: next(left, 200)
    name = on_both.create(receiver.url).name
    on_both.registry.model()
    on_both.version()
    on_both.version()
    told = receiver.take(3)
    assert [one["event"] for one in told] == ["REGISTERED_MODEL_CREATED", *["MODEL_VERSION_CREATED"] * 2]
    ids = [one.headers["Fivefold-Delivery"] for one in receiver.received]
    assert ids == [ids[0]] * 4 + [told[1]["id"], told[2]["id"]]
    assert len({one.body for one in receiver.received}) == 3, "an attempt more changes nothing in the body"
    (newest, _, first) = _settled(on_both, name, 3)
    assert (first.attempts, first.status_code, first.reason, first.state) == (4, 200, "", 2)
    assert first.event == webhooks_pb2.WEBHOOK_EVENT_REGISTERED_MODEL_CREATED
    assert newest.attempts == 1 and newest.HasField("attempt_time") and not newest.HasField("next_attempt_time")


def test_attempts_are_counted_by_what_became_of_them(running: Running, hooks: Hooks, receiver: Receiver) -> None:
    left = iter([500, 500])
    receiver.answer = lambda _: next(left, 200)
    name = hooks.create(receiver.url).name
    hooks.registry.model()
    _settled(hooks, name, 1)

    def counted(state: str) -> float | None:
        labels = {"kind": "webhooks", "state": state}
        return running.server.metrics.registry.get_sample_value("fivefold_registry_deliveries_total", labels)

    assert (counted("pending"), counted("delivered"), counted("failed")) == (2.0, 1.0, None)


def test_a_redirect_is_not_followed(hooks: Hooks, receiver: Receiver) -> None:
    with Receiver().served() as elsewhere:
        receiver.answer = lambda _: (307, {"Location": elsewhere.url}, b"")
        name = hooks.create(receiver.url).name
        hooks.registry.model()
        receiver.wait(lambda: len(receiver.received) >= 2)
        assert elsewhere.received == []
    (delivery,) = hooks.deliveries(name)
    assert (delivery.state, delivery.status_code) == (webhooks_pb2.DELIVERY_STATE_PENDING, 307)
    assert "redirect" in delivery.reason


def test_a_slow_receiver_holds_up_nobody_else(hooks: Hooks, receiver: Receiver) -> None:
    go_on = threading.Event()
    waiting: list[Received] = []

    def slow(received: Received) -> int:
        waiting.append(received)
        go_on.wait(60)
        return 200

    with Receiver(slow).served() as stuck:
        hooks.create(stuck.url)
        hooks.create(receiver.url)
        for number in range(30):
            hooks.registry.model(f"m{number:02}")
        assert len(receiver.take(30)) == 30
        assert 1 <= len(waiting) <= 4, "a quarter of sixteen workers"
        go_on.set()
        assert len(stuck.take(30)) == 30


def test_models_of_one_webhook_do_not_wait_for_one_another(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answer = lambda one: 500 if one.fields["model_name"] == "bad" else 200
    hooks.create(receiver.url)
    for id in ("bad", "good"):
        hooks.registry.model(id)
    assert [one["model_name"] for one in receiver.take(1)] == ["good"]


@pytest.mark.parametrize("status", [DISABLED, TEST_MODE])
def test_what_happens_while_it_is_not_active_is_never_sent(hooks: Hooks, receiver: Receiver, status: int) -> None:
    name = hooks.create(f"{receiver.url}/hook", status=status).name
    witness = hooks.create(f"{receiver.url}/witness").name
    hooks.registry.model("before")
    _settled(hooks, witness, 1)
    hooks.update(name, status=ACTIVE)
    hooks.registry.model("after")
    receiver.take(3)
    assert [one.fields["model_name"] for one in receiver.received if one.path == "/hook"] == ["after"]


def test_a_delivery_that_waits_while_it_is_disabled_is_sent_afterwards(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    name = hooks.create(receiver.url).name
    hooks.registry.model()
    receiver.wait(lambda: len(receiver.received) >= 1)
    hooks.update(name, status=DISABLED)
    receiver.answer = lambda _: 200
    _until(lambda: hooks.deliveries(name)[0].reason == "the webhook is not ACTIVE")
    hooks.update(name, status=ACTIVE)
    receiver.take(1)


def test_a_test_tells_status_and_the_beginning_of_the_body(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answer = lambda _: (418, {}, b"short and stout \xff" + b"x" * 100_000)
    name = hooks.create(receiver.url, events=["COMMENT_CREATED"], status=TEST_MODE, secret=SECRET).name
    tested = hooks.test(name)
    assert tested.status_code == 418
    assert tested.body.startswith("short and stout \ufffd") and len(tested.body) == 4096
    assert "418" in tested.reason
    receiver.answer = lambda _: 200
    assert (hooks.test(name, webhooks_pb2.WEBHOOK_EVENT_MODEL_VERSION_TRANSITIONED_TO_PRODUCTION).reason) == ""
    first, second = (one.fields for one in receiver.received)
    assert first["test"] is second["test"] is True
    assert (first["event"], second["event"], second["to_stage"]) == (
        "COMMENT_CREATED",
        "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
        "Production",
    )
    assert first["id"] != second["id"]
    assert "Fivefold-Signature" in receiver.received[0].headers
    assert hooks.deliveries(name) == []


def test_a_test_sent_again_is_answered_and_not_sent_again(hooks: Hooks, receiver: Receiver) -> None:
    name = hooks.create(receiver.url).name
    assert hooks.test(name, request_id="one") == hooks.test(name, request_id="one")
    assert len(receiver.received) == 1


def test_a_disabled_webhook_sends_nothing_whoever_asks(hooks: Hooks, receiver: Receiver) -> None:
    name = hooks.create(receiver.url).name
    hooks.registry.model()
    receiver.take(1)
    (delivery,) = _settled(hooks, name, 1)
    hooks.update(name, status=DISABLED)
    for call in (lambda: hooks.test(name), lambda: hooks.redeliver(delivery.name)):
        with refused("WEBHOOK_DISABLED") as refusal:
            call()
        assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    hooks.update(name, status=TEST_MODE)
    assert hooks.test(name).status_code == 200
    with refused("WEBHOOK_DISABLED"):
        hooks.redeliver(delivery.name)


def test_many_tests_at_once_leave_threads_for_other_calls(hooks: Hooks, receiver: Receiver) -> None:
    go_on, arrived = threading.Event(), threading.Semaphore(0)

    def slow(_: Received) -> int:
        arrived.release()
        go_on.wait(60)
        return 200

    receiver.answer = slow
    name = hooks.create(receiver.url).name
    threads = [threading.Thread(target=hooks.test, args=(name,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        arrived.acquire()
    with refused("TOO_MANY_CALLS"):
        hooks.test(name)
    go_on.set()
    for thread in threads:
        thread.join()


def test_a_redelivery_has_the_same_id_and_body(on_both: Hooks, receiver: Receiver) -> None:
    name = on_both.create(receiver.url).name
    on_both.registry.model()
    receiver.take(1)
    (delivery,) = _settled(on_both, name, 1)
    again = on_both.redeliver(delivery.name)
    assert (again.name, again.state, again.attempts) == (delivery.name, webhooks_pb2.DELIVERY_STATE_PENDING, 0)
    receiver.wait(lambda: len(receiver.received) == 2)
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["Fivefold-Delivery"] == second.headers["Fivefold-Delivery"]
    with refused("RESOURCE_NOT_FOUND"):
        on_both.redeliver(f"{name}/deliveries/99")
    with refused("NAME_INVALID"):
        on_both.redeliver(f"{name}/deliveries/01")


def test_a_delivery_is_given_up_after_a_day_and_may_be_sent_again(
    hooks: Hooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivefold_registry.webhooks.pace.GIVE_UP", timedelta(seconds=0))
    receiver.answer = lambda _: 503
    name = hooks.create(receiver.url).name
    hooks.registry.model()
    hooks.version()
    given_up = _settled(hooks, name, 2)
    assert states(given_up) == ["FAILED", "FAILED"]
    assert [one.attempts for one in given_up] == [1, 1], "each is tried at least once, the second after the first"
    receiver.answer = lambda _: 200
    hooks.redeliver(given_up[0].name)
    assert [one["event"] for one in receiver.take(1)] == ["MODEL_VERSION_CREATED"]


def test_a_secret_leaves_by_no_answer_error_log_or_table(
    running: Running, hooks: Hooks, receiver: Receiver, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "the-secret-of-this-test"
    made = hooks.create(receiver.url, secret=secret, request_id="make")
    answers = [
        made,
        hooks.create(receiver.url, secret=secret, request_id="make"),
        hooks.get(made.name),
        hooks.list(),
        hooks.update(made.name, secret=secret, description="x"),
        hooks.test(made.name),
    ]
    assert made.has_secret
    assert not any(secret in str(answer) for answer in answers)
    for wrong in ({"url": "https://127.0.0.2/"}, {"events": [1, 1]}, {"model": "models/none"}):
        with pytest.raises(grpc.RpcError) as caught:
            hooks.create(**{"url": receiver.url, "secret": secret, **wrong})
        assert secret not in str(caught.value) + str(caught.value.trailing_metadata())
    for bad in ("tiny-one", "s" * 300):
        with pytest.raises(grpc.RpcError) as caught:
            hooks.create(receiver.url, secret=bad)
        assert bad not in str(caught.value) + str(caught.value.trailing_metadata())
    assert secret not in caplog.text
    with running.app.database.read() as tx:  # type: ignore[union-attr]
        kept = [bytes(row[0] or b"") for row in tx.exec_driver_sql("SELECT body FROM answers")]
        stored = tx.exec_driver_sql("SELECT secret FROM webhooks").scalar()
    assert kept and not any(secret.encode() in body for body in kept)
    assert stored == f"plain:{secret}", "without a key file it is stored as it is, which the settings say"
    assert not hooks.update(made.name, "secret").has_secret


def test_with_a_key_file_secrets_are_sealed_in_the_database(data: Path, tmp_path: Path, receiver: Receiver) -> None:
    keys = tmp_path / "keys"
    keys.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    config = Config(data=str(data), webhook_key_file=str(keys), **QUICK)
    with serve(build, config) as service:
        hooks = Hooks(service.channel)
        name = hooks.create(receiver.url, secret=SECRET).name
        with service.app.database.read() as tx:  # type: ignore[union-attr]
            stored = tx.exec_driver_sql("SELECT secret FROM webhooks").scalar_one()
        assert stored.startswith("v1:") and SECRET not in stored
        hooks.registry.model()
        receiver.take(1)
        assert "Fivefold-Signature" in receiver.received[0].headers
    keys.write_text("YWJjZGVmMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWY=\nMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    with serve(build, config) as service:
        assert Hooks(service.channel).test(name).status_code == 200, "the old key still opens"
    keys.write_text("YWJjZGVmMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWY=\n")
    with serve(build, config) as service:
        assert "key" in Hooks(service.channel).test(name).reason, "nothing is sent unsigned instead"


def test_a_webhook_is_made_read_listed_changed_and_deleted(on_both: Hooks) -> None:
    on_both.registry.model()
    one = on_both.create(model="models/churn", description="first", events=["COMMENT_CREATED"])
    two = on_both.create(description="second")
    assert on_both.get(one.name) == one
    assert (one.owner, one.status, one.model, one.has_secret) == ("local", ACTIVE, "models/churn", False)
    assert [webhook.name for webhook in on_both.list().webhooks] == [one.name, two.name]
    assert [webhook.name for webhook in on_both.list("models/churn").webhooks] == [one.name]
    page = on_both.list(page_size=1)
    assert [webhook.name for webhook in on_both.list(page_size=1, page_token=page.next_page_token).webhooks] == [
        two.name
    ]
    with refused("PAGE_TOKEN_INVALID"):
        on_both.list("models/churn", page_token=page.next_page_token)
    changed = on_both.update(one.name, description="changed", events=["MODEL_VERSION_CREATED"], etag=one.etag)
    assert (changed.description, list(changed.events), changed.url) == ("changed", [2], one.url)
    for call in (
        lambda: on_both.update(one.name, description="y", etag=one.etag),
        lambda: on_both.delete(one.name, one.etag),
    ):
        with refused("ETAG_MISMATCH"):
            call()
    with refused("FIELD_INVALID"):
        on_both.update(one.name, "model", model="models/other")
    on_both.delete(one.name, changed.etag)
    with refused("RESOURCE_NOT_FOUND"):
        on_both.get(one.name)
    on_both.registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/churn"))
    assert [webhook.name for webhook in on_both.list().webhooks] == [two.name]


def test_a_webhook_follows_its_model_to_another_name(hooks: Hooks, receiver: Receiver) -> None:
    hooks.registry.model()
    name = hooks.create(receiver.url, model="models/churn").name
    hooks.registry.stub.RenameModel(pb.RenameModelRequest(name="models/churn", new_name="models/loss"))
    hooks.registry.model()
    for id in ("churn", "loss"):
        hooks.version(id)
    assert [one["model_name"] for one in receiver.take(1)] == ["loss"]
    assert hooks.get(name).model == "models/loss"
    assert [webhook.name for webhook in hooks.list("models/loss").webhooks] == [name]


def test_a_creation_sent_again_is_answered_and_makes_nothing_more(hooks: Hooks, receiver: Receiver) -> None:
    first = hooks.create(receiver.url, secret=SECRET, request_id="one")
    assert hooks.create(receiver.url, secret=SECRET, request_id="one") == first
    with refused("REQUEST_ID_REUSED"):
        hooks.create(receiver.url, secret=SECRET + "!", request_id="one")
    assert [webhook.name for webhook in hooks.list().webhooks] == [first.name]


def test_a_webhook_of_a_deleted_model_is_gone(hooks: Hooks) -> None:
    hooks.registry.model()
    name = hooks.create(model="models/churn").name
    hooks.registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/churn"))
    with refused("RESOURCE_NOT_FOUND"):
        hooks.get(name)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"events": []}, "FIELD_INVALID"),
        ({"events": [1, 1]}, "FIELD_INVALID"),
        ({"events": [99]}, "FIELD_INVALID"),
        ({"secret": "fifteen bytes.."}, "FIELD_INVALID"),
        ({"secret": "x" * 257}, "FIELD_TOO_LONG"),
        ({"model": "models/none"}, "RESOURCE_NOT_FOUND"),
        ({"model": "churn"}, "NAME_INVALID"),
        ({"url": ""}, "ADDRESS_REFUSED"),
        ({"url": "https://" + "x" * 2048}, "FIELD_TOO_LONG"),
        ({"url": "https://no-such-host.invalid/"}, "ADDRESS_REFUSED"),
    ],
)
def test_what_a_webhook_cannot_be_is_refused_and_nothing_is_made(hooks: Hooks, fields: dict, reason: str) -> None:
    with refused(reason):
        hooks.create(**fields)
    assert list(hooks.list().webhooks) == []


def test_deliveries_are_listed_newest_first_by_page_and_state(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answer = lambda one: 200 if one.fields["model_name"] == "good" else 500
    name = hooks.create(receiver.url).name
    for id in ("good", "bad"):
        hooks.registry.model(id)
    hooks.version("good")
    receiver.take(2)
    _until(lambda: states(hooks.deliveries(name)) == ["DELIVERED", "PENDING", "DELIVERED"])
    everything = hooks.deliveries(name)
    request = webhooks_pb2.ListDeliveriesRequest(parent=name, page_size=2)
    page = hooks.stub.ListDeliveries(request)
    request.page_token = page.next_page_token
    names = [one.name for one in [*page.deliveries, *hooks.stub.ListDeliveries(request).deliveries]]
    assert names == [one.name for one in everything]
    (pending,) = hooks.deliveries(name, states=[webhooks_pb2.DELIVERY_STATE_PENDING])
    assert pending.model == "models/bad" and pending.HasField("next_attempt_time")
    with refused("FIELD_INVALID"):
        hooks.deliveries(name, states=[0])


def _settled(hooks: Hooks, name: str, count: int) -> list[webhooks_pb2.Delivery]:
    """Waits until a webhook has so many deliveries, none of which waits."""
    _until(lambda: len(hooks.deliveries(name)) == count and "PENDING" not in states(hooks.deliveries(name)))
    return hooks.deliveries(name)


def _until(holds) -> None:  # type: ignore[no-untyped-def]
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to hold")
