"""Subscriptions over gRPC: the default, changes, lists, following, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1 import subscriptions_pb2
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.testing import serve
from tests.registry.conftest import url_of
from tests.registry.hooks import Hooks
from tests.runtime.asserting import refused

FOLLOWED, MUTE = (
    subscriptions_pb2.SUBSCRIBED_ACTIVITY_FOLLOWED_VERSIONS,
    subscriptions_pb2.SUBSCRIBED_ACTIVITY_MUTE,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def hooks(request: pytest.FixtureRequest, data: Path) -> Iterator[Hooks]:
    url = "" if request.param == "sqlite" else url_of(request.getfixturevalue("empty_postgres"))
    with serve(build, Config(data=str(data), store_url=url)) as service:
        yield Hooks(service.channel)


def test_without_a_word_one_hears_of_what_one_follows(hooks: Hooks) -> None:
    hooks.registry.model()
    found = hooks.subscription()
    assert (found.name, found.activity, found.email) == ("models/churn/subscription", FOLLOWED, "")
    assert not found.HasField("update_time")
    assert hooks.people.ListSubscriptions(subscriptions_pb2.ListSubscriptionsRequest()).subscriptions == []


def test_a_change_changes_what_it_names(hooks: Hooks) -> None:
    hooks.registry.model()
    first = hooks.subscribe(activity="MUTE", email="ada@example.com")
    assert (first.activity, first.email) == (MUTE, "ada@example.com")
    second = hooks.subscribe(activity="ALL_ACTIVITY")
    assert (second.activity, second.email) == (1, "ada@example.com")
    third = hooks.subscribe(update_mask={"paths": ["email"]})
    assert (third.activity, third.email) == (1, "")
    assert hooks.subscription() == third
    with refused("FIELD_INVALID"):
        hooks.subscribe(update_mask={"paths": ["name"]})
    once = hooks.subscribe(activity="MUTE", request_id="one")
    hooks.subscribe(activity="ALL_ACTIVITY")
    assert hooks.subscribe(activity="MUTE", request_id="one") == once
    assert hooks.subscription().activity == 1


def test_following_and_no_longer_following(hooks: Hooks) -> None:
    hooks.registry.model()
    versions = [hooks.version() for _ in range(3)]
    for version in [*versions, versions[0]]:
        hooks.follow(version)
    assert list(hooks.subscription().followed_versions) == versions[::-1]
    for _ in range(2):
        hooks.unfollow(versions[1])
    assert list(hooks.subscription().followed_versions) == [versions[2], versions[0]]
    for call in (hooks.follow, hooks.unfollow):
        with refused("RESOURCE_NOT_FOUND"):
            call("models/churn/versions/9")
        with refused("NAME_INVALID"):
            call("models/churn/versions/x")


def test_a_deleted_version_is_followed_by_nobody(hooks: Hooks) -> None:
    hooks.registry.model()
    version = hooks.version()
    hooks.follow(version)
    hooks.registry.stub.DeleteModelVersion(pb.DeleteModelVersionRequest(name=version))
    assert hooks.subscription().followed_versions == []


def test_subscriptions_are_listed_by_page(hooks: Hooks) -> None:
    for id in ("c", "a", "b"):
        hooks.registry.model(id)
        hooks.subscribe(id, activity="MUTE")
    request = subscriptions_pb2.ListSubscriptionsRequest(page_size=2)
    page = hooks.people.ListSubscriptions(request)
    request.page_token = page.next_page_token
    rest = hooks.people.ListSubscriptions(request)
    names = [one.name for one in [*page.subscriptions, *rest.subscriptions]]
    assert names == [f"models/{id}/subscription" for id in "abc"]
    assert rest.next_page_token == ""
    request.page_token = "nonsense"
    with refused("PAGE_TOKEN_INVALID"):
        hooks.people.ListSubscriptions(request)


def test_a_subscription_to_nothing_is_refused(hooks: Hooks) -> None:
    with refused("RESOURCE_NOT_FOUND"):
        hooks.subscribe("none", activity="MUTE")
    with refused("NAME_INVALID"):
        hooks.people.GetSubscription(subscriptions_pb2.GetSubscriptionRequest(name="models/a/subscriptions"))
