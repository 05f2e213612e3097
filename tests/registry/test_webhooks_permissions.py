"""Who may do what with webhooks and subscriptions, cell by cell; and events that their owner may no longer read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.levels import Level
from fivefold_runtime.testing import serve
from tests.registry.hooks import NOWHERE, Hooks, states
from tests.registry.receiver import Receiver
from tests.registry.test_permissions import LEVELS, MANAGE, NOBODY, READ, expected, outcome
from tests.runtime.asserting import refused

PUBLIC = "93.184.216.34"


class People:
    """The registry as each caller sees it. `levels` has one caller per level on the model that mia made."""

    def __init__(self, channel: grpc.Channel, keys: Path, receiver: Receiver) -> None:
        def as_(subject: str, *groups: str, lifetime: int = 1) -> Hooks:
            return Hooks(channel, sign_token(keys, subject, list(groups), lifetime=timedelta(hours=lifetime)))

        self.as_ = as_
        self.receiver = receiver
        self.mia, self.admin, self.serving = as_("mia"), as_("root"), as_("machine", "fivefold:serving")
        self.levels = {level: as_(level.name.lower()) for level in LEVELS}
        self.anonymous, self.expired = Hooks(channel), as_("mia", lifetime=-1)
        self.mia.registry.model()
        self.version = self.mia.version()
        self.mia.registry.grant("models/churn", mia=MANAGE, **{level.name.lower(): level for level in LEVELS if level})
        self.of_model = self.mia.create(model="models/churn", events=["MODEL_VERSION_CREATED"]).name
        self.of_all = self.admin.create(events=["MODEL_VERSION_CREATED"]).name


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("people")
    config = Config(
        data=str(folder / "registry"),
        admins="root",
        auth="jwt",
        jwt_keys=str(make_key(folder / "keys")),
        webhook_allow="127.0.0.1/32",
        webhook_timeout_seconds=0.2,
        webhook_retry_seconds=0.02,
    )
    with Receiver().served() as receiver, serve(lambda config: build(config, lambda *_: [PUBLIC]), config) as running:
        yield People(running.channel, folder / "keys", receiver)


METHODS: dict[str, Callable[[Hooks, str], object]] = {
    "GetWebhook": lambda hooks, name: hooks.get(name),
    "UpdateWebhook": lambda hooks, name: hooks.update(name, description="x"),
    "ListDeliveries": lambda hooks, name: hooks.deliveries(name),
    "TestWebhook": lambda hooks, name: hooks.test(name),
    "RedeliverEvent": lambda hooks, name: hooks.redeliver(f"{name}/deliveries/999999"),
    "DeleteWebhook": lambda hooks, name: hooks.delete(name, etag="stale"),
}
REACHED = {"RedeliverEvent": "RESOURCE_NOT_FOUND", "DeleteWebhook": "ETAG_MISMATCH"}  # what the allowed are answered


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_models_webhook_needs_the_right_to_manage_it(people: People, level: Level, method: str) -> None:
    wanted = expected(level, MANAGE) or REACHED.get(method, "")
    assert outcome(lambda: METHODS[method](people.levels[level], people.of_model)) == wanted


@pytest.mark.parametrize("level", LEVELS)
def test_making_a_models_webhook_needs_the_right_to_manage_it(people: People, level: Level) -> None:
    def make() -> None:
        made.append(people.levels[level].create(model="models/churn", events=[1]).name)

    made: list[str] = []
    assert outcome(make) == expected(level, MANAGE)
    for name in made:
        people.levels[level].delete(name)


@pytest.mark.parametrize("method", METHODS)
def test_a_registry_wide_webhook_is_the_administrators(people: People, method: str) -> None:
    call = METHODS[method]
    assert outcome(lambda: call(people.admin, people.of_all)) == REACHED.get(method, "")
    for level in LEVELS:
        assert outcome(lambda level=level: call(people.levels[level], people.of_all)) == "RESOURCE_NOT_FOUND"
    assert outcome(lambda: call(people.serving, people.of_all)) == "PERMISSION_DENIED", "who reads everything"
    assert outcome(lambda: people.mia.create(events=[1])) == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", METHODS)
def test_without_a_good_token_nothing_is_answered(people: People, method: str) -> None:
    assert outcome(lambda: METHODS[method](people.anonymous, people.of_model)) == "TOKEN_MISSING"
    assert outcome(lambda: METHODS[method](people.expired, people.of_model)) == "TOKEN_INVALID"
    for caller, reason in ((people.anonymous, "TOKEN_MISSING"), (people.expired, "TOKEN_INVALID")):
        for call in (
            lambda caller=caller: caller.create(),
            lambda caller=caller: caller.list(),
            lambda caller=caller: caller.subscription(),
            lambda caller=caller: caller.subscribe(activity="MUTE"),
            lambda caller=caller: caller.follow(people.version),
            lambda caller=caller: caller.unfollow(people.version),
        ):
            assert outcome(call) == reason


def test_a_webhook_that_is_not_there_looks_like_one_that_may_not_be_seen(people: People) -> None:
    for name in (people.of_model, "webhooks/" + "0" * 32):
        with refused("RESOURCE_NOT_FOUND") as refusal:
            people.levels[NOBODY].get(name)
        assert refusal.message == f"{name} does not exist"


def test_the_list_has_what_the_caller_manages(people: People) -> None:
    seen = {level: _listed(caller) for level, caller in people.levels.items()}
    assert seen[MANAGE] == {people.of_model}
    assert {name for level, names in seen.items() if level < MANAGE for name in names} == set()
    assert _listed(people.admin) >= {people.of_model, people.of_all}
    assert _listed(people.serving) == set()


@pytest.mark.parametrize("level", LEVELS)
def test_a_subscription_needs_the_right_to_read(people: People, level: Level) -> None:
    caller = people.levels[level]
    for call in (
        lambda: caller.subscription(),
        lambda: caller.subscribe(activity="MUTE"),
        lambda: caller.follow(people.version),
        lambda: caller.unfollow(people.version),
    ):
        assert outcome(call) == expected(level, READ)


def test_a_check_of_the_url_tells_nothing_to_who_may_not_make_a_webhook(people: People) -> None:
    for caller, reason in ((people.levels[READ], "PERMISSION_DENIED"), (people.levels[NOBODY], "RESOURCE_NOT_FOUND")):
        assert outcome(lambda caller=caller: caller.create("https://10.0.0.1/", model="models/churn")) == reason


def test_an_owner_who_may_no_longer_read_the_model_hears_nothing_more(people: People) -> None:
    """Also not of what had waited; and who changes the webhook owns it from then on."""
    people.mia.registry.model("moving")
    people.mia.registry.grant("models/moving", mia=MANAGE, zoe=MANAGE)
    zoe, receiver = people.as_("zoe"), people.receiver
    receiver.answer = lambda _: 500
    name = zoe.create(receiver.url, model="models/moving", events=["MODEL_VERSION_CREATED"]).name
    people.mia.version("moving")
    receiver.wait(lambda: len(receiver.received) >= 1)
    people.mia.registry.grant("models/moving", mia=MANAGE)
    receiver.answer = lambda _: 200
    while states(people.mia.deliveries(name)) == ["PENDING"]:
        pass
    people.mia.version("moving")
    assert states(people.mia.deliveries(name)) == ["DROPPED"]
    people.mia.update(name, description="mine now")
    people.mia.version("moving")
    (told,) = receiver.take(1)
    assert told["version"] == "3"
    assert states(people.mia.deliveries(name)) == ["DELIVERED", "DROPPED"] or len(receiver.taken) == 1


def test_a_new_model_of_an_old_name_is_not_told_to_the_old_ones_webhook(people: People) -> None:
    people.mia.registry.model("reused")
    name = people.mia.create(NOWHERE, model="models/reused", events=["MODEL_VERSION_CREATED"]).name
    people.mia.registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/reused"))
    people.levels[MANAGE].registry.model("reused")
    people.levels[MANAGE].version("reused")
    with refused("RESOURCE_NOT_FOUND"):
        people.mia.get(name)
    with refused("RESOURCE_NOT_FOUND"):
        people.levels[MANAGE].get(name)


def _listed(caller: Hooks) -> set[str]:
    return {webhook.name for webhook in caller.list().webhooks}
