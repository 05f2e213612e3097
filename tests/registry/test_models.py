"""Registered models: made, listed, changed, and the names they may have."""

from __future__ import annotations

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_runtime import paging
from tests.registry.client import PRODUCTION, STAGING, Registry
from tests.runtime.asserting import refused


def test_a_model_keeps_what_it_was_made_with(on_both: Registry) -> None:
    made = on_both.model(description="who leaves", tags={"team": "ops"}, policy={"stepwise": True})
    assert (made.name, made.description, dict(made.tags)) == ("models/churn", "who leaves", {"team": "ops"})
    assert made.policy == pb.StagePolicy(stepwise=True)
    assert made.creator == "local"
    assert on_both.get() == made


def test_the_newest_version_of_each_stage_is_told(on_both: Registry) -> None:
    on_both.model()
    names = [on_both.make().name for _ in range(5)]
    for name, stage in zip(names, [PRODUCTION, STAGING, PRODUCTION, STAGING], strict=False):
        on_both.move(name, stage)
    expected = {(3, PRODUCTION), (4, STAGING), (5, pb.STAGE_NONE)}
    assert {(version.version, version.stage) for version in on_both.get().latest_versions} == expected
    (listed,) = on_both.stub.ListModels(pb.ListModelsRequest()).models
    assert {(version.version, version.stage) for version in listed.latest_versions} == expected


def test_allow_existing_returns_the_model_that_is_there(on_both: Registry) -> None:
    made = on_both.model(description="first")
    request = pb.CreateModelRequest(model=pb.Model(name="models/churn", description="second"), allow_existing=True)
    assert on_both.stub.CreateModel(request) == made


def test_models_are_listed_by_name_in_pages(on_both: Registry) -> None:
    names = ["b", "B", "a", "ä", "a b", "a-b", "z" * 250]
    for name in names:
        on_both.model(name)
    listed, token = [], ""
    while True:
        page = on_both.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
        listed += [model.name.removeprefix("models/") for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert listed == sorted(names)
    with refused("PAGE_TOKEN_INVALID"):
        on_both.stub.ListModels(pb.ListModelsRequest(page_token="junk"))
    with refused("FIELD_INVALID"):
        on_both.stub.ListModels(pb.ListModelsRequest(page_size=-1))


@pytest.mark.parametrize("key", [[], ["x"], [2**70], ["a", "b"], [1.5], [None], [[1]]])
def test_a_made_up_page_token_is_refused(registry: Registry, key: list[object]) -> None:
    registry.model()
    parent = "models/churn"
    for method, request in (
        (registry.stub.ListModels, pb.ListModelsRequest()),
        (registry.stub.ListModelVersions, pb.ListModelVersionsRequest(parent=parent)),
        (registry.stub.ListActivities, pb.ListActivitiesRequest(parent=parent)),
        (registry.stub.ListTransitionRequests, pb.ListTransitionRequestsRequest(parent=parent)),
    ):
        if key == ["x"] and method == registry.stub.ListModels:
            continue  # the name of a model
        request.page_token = paging.token(key, paging.query_of(request))  # type: ignore[arg-type]
        with refused("PAGE_TOKEN_INVALID"):
            method(request)


def test_a_page_token_of_another_method_is_refused(registry: Registry) -> None:
    registry.model()
    for _ in range(2):
        registry.make()
    parent = "models/churn"
    versions = registry.stub.ListModelVersions(pb.ListModelVersionsRequest(parent=parent, page_size=1))
    assert versions.next_page_token
    with refused("PAGE_TOKEN_INVALID"):
        registry.stub.ListActivities(pb.ListActivitiesRequest(parent=parent, page_token=versions.next_page_token))


def test_an_update_changes_what_its_mask_names(on_both: Registry) -> None:
    made = on_both.model(description="old", tags={"a": "1"}, policy={"stepwise": True})
    asked = pb.Model(name=made.name, description="new", etag=made.etag)
    changed = on_both.stub.UpdateModel(pb.UpdateModelRequest(model=asked))
    assert (changed.description, dict(changed.tags), changed.policy) == ("new", {"a": "1"}, made.policy)
    assert changed.etag != made.etag
    with refused("ETAG_MISMATCH") as refusal:
        on_both.stub.UpdateModel(pb.UpdateModelRequest(model=asked))
    assert refusal.code == grpc.StatusCode.ABORTED
    bare = pb.UpdateModelRequest(model=pb.Model(name=made.name), update_mask={"paths": ["tags", "policy"]})
    cleared = on_both.stub.UpdateModel(bare)
    assert (cleared.description, dict(cleared.tags), cleared.policy) == ("new", {}, pb.StagePolicy())
    with refused("FIELD_INVALID") as refusal:
        on_both.stub.UpdateModel(pb.UpdateModelRequest(model=asked, update_mask={"paths": ["creator"]}))
    assert refusal.facts["field"] == "update_mask"


def test_a_stale_etag_does_not_delete(on_both: Registry) -> None:
    made = on_both.model()
    on_both.stub.UpdateModel(pb.UpdateModelRequest(model=pb.Model(name=made.name, description="x")))
    with refused("ETAG_MISMATCH"):
        on_both.stub.DeleteModel(pb.DeleteModelRequest(name=made.name, etag=made.etag))


def test_an_etag_of_a_deleted_model_does_not_fit_the_next_of_its_name(on_both: Registry) -> None:
    made = on_both.model()
    on_both.stub.DeleteModel(pb.DeleteModelRequest(name=made.name))
    on_both.model()
    with refused("ETAG_MISMATCH"):
        on_both.stub.UpdateModel(pb.UpdateModelRequest(model=pb.Model(name=made.name, description="x", etag=made.etag)))


def test_a_change_of_a_version_shows_in_its_models_time(on_both: Registry) -> None:
    on_both.model()
    name = on_both.make().name
    before = on_both.get()
    on_both.comment(name, "hello")
    after = on_both.get()
    assert after.update_time.ToDatetime() > before.update_time.ToDatetime()
    assert after.etag == before.etag


def test_comments_are_part_of_the_story(on_both: Registry) -> None:
    on_both.model()
    name = on_both.make().name
    comment = on_both.comment(name, "why 'drop table'?\nüñí")
    (activity,) = on_both.activities(name)
    assert activity.comment == comment.text == "why 'drop table'?\nüñí"
    assert comment.name == f"{name}/comments/1"
    assert activity.name == f"{name}/activities/1"


@pytest.mark.parametrize("parent", ["models/churn", "models/churn/versions/1"])
def test_activities_and_requests_come_in_pages(on_both: Registry, parent: str) -> None:
    on_both.model()
    name = on_both.make().name
    asked = [on_both.ask(name, STAGING).name for _ in range(5)]
    told, token = [], ""
    while True:
        page = on_both.stub.ListActivities(pb.ListActivitiesRequest(parent=parent, page_size=2, page_token=token))
        told += [activity.name.rpartition("/")[2] for activity in page.activities]
        token = page.next_page_token
        if not token:
            break
    assert told == ["1", "2", "3", "4", "5"]
    on_both.cancel(asked[2])
    found, token = [], ""
    while True:
        request = pb.ListTransitionRequestsRequest(parent=parent, page_size=2, page_token=token)
        requests = on_both.stub.ListTransitionRequests(request)
        found += [one.name for one in requests.transition_requests]
        token = requests.next_page_token
        if not token:
            break
    assert found == [asked[4], asked[3], asked[1], asked[0]]
    assert [one.name for one in on_both.requests(parent, show_settled=True)] == asked[::-1]


HOSTILE = ["..", ".", "a:b", "a\\b", "%2e%2e", "%252e", "a;b", "a#b", "a?b", "a\u202eb", "\uff0e\uff0e", " a"]


@pytest.mark.parametrize("id", HOSTILE)
def test_a_hostile_name_is_refused_in_every_method(registry: Registry, id: str) -> None:
    stub, name = registry.stub, f"models/{id}"
    calls = [
        lambda: registry.model(id),
        lambda: registry.get(id),
        lambda: stub.UpdateModel(pb.UpdateModelRequest(model=pb.Model(name=name))),
        lambda: stub.DeleteModel(pb.DeleteModelRequest(name=name)),
        lambda: registry.make(id),
        lambda: registry.version(f"{name}/versions/1"),
        lambda: registry.versions(id),
        lambda: registry.move(f"{name}/versions/1", STAGING),
        lambda: registry.roll_back(id),
        lambda: registry.ask(f"{name}/versions/1", STAGING),
        lambda: registry.requests(name),
        lambda: registry.approve(f"{name}/versions/1/requests/1"),
        lambda: registry.reject(f"{name}/versions/1/requests/1"),
        lambda: registry.cancel(f"{name}/versions/1/requests/1"),
        lambda: registry.comment(f"{name}/versions/1", "x"),
        lambda: registry.activities(f"{name}/versions/1"),
        lambda: registry.download(f"{name}/versions/1", "MLmodel"),
        lambda: registry.watch(models=[name]),
    ]
    for call in calls:
        with refused("NAME_INVALID"):
            call()


@pytest.mark.parametrize("path", ["../MLmodel", "/MLmodel", "..\\MLmodel", "%2e%2e/MLmodel", "a//b", "C:", "a;b"])
def test_a_hostile_path_is_refused(registry: Registry, path: str) -> None:
    registry.model()
    name = registry.make().name
    with refused("NAME_INVALID"):
        registry.download(name, path)


def test_required_fields_limits_and_numbers_are_enforced(registry: Registry) -> None:
    registry.model()
    with refused("FIELD_REQUIRED"):
        registry.stub.TransitionStage(pb.TransitionStageRequest(name="models/churn/versions/1"))
    with refused("FIELD_TOO_LONG"):
        registry.model("x" * 300)
    with refused("TOO_MANY_ITEMS"):
        registry.model("many", tags={str(number): "" for number in range(1001)})
    with refused("FIELD_INVALID"):
        registry.model("nul", description="a\0b")
    with refused("FIELD_INVALID"):
        registry.move("models/churn/versions/1", 77)
    with refused("FIELD_INVALID"):
        registry.versions("churn", 0)
    with refused("FIELD_INVALID"):
        registry.make(lineage=pb.Lineage(run="runs/../x"))
