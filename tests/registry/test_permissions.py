"""Who may do what, with JWT: every right over every method, cell by cell, and what strangers learn: nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from fivefold.permissions.v1 import permissions_pb2
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_runtime import errors
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.levels import Level
from fivefold_runtime.testing import serve
from tests.registry.client import ARCHIVED, NONE, PRODUCTION, STAGING, Registry
from tests.registry.sources import Sources
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking

NOBODY, READ, EDIT, STAGE, PRODUCE, MANAGE = Level
LEVELS = list(Level)


class People:
    """The registry as each caller sees it. `levels` has one caller per level; `mia` made the model and its versions."""

    def __init__(self, channel: grpc.Channel, keys: Path, sources: Sources) -> None:
        def as_(subject: str, *groups: str) -> Registry:
            token = sign_token(keys, subject, list(groups), lifetime=timedelta(hours=1))
            return Registry(channel, sources.model, token)

        self.mia, self.admin, self.serving = as_("mia"), as_("root"), as_("machine", "fivefold:serving")
        self.levels = {level: as_(level.name.lower()) for level in LEVELS}
        self.anonymous = Registry(channel, sources.model)
        self.expired = Registry(channel, "", sign_token(keys, "mia", lifetime=timedelta(hours=-1)))
        self.mia.model()
        self.version = self.mia.make().name
        self.mia.alias("known", 1)
        self.mia.grant("models/churn", mia=MANAGE, **{level.name.lower(): level for level in LEVELS if level})

    def at(self, stage: int) -> str:
        """Makes a version that is in this stage."""
        name = self.mia.make().name
        if stage != NONE:
            self.mia.move(name, stage)
        return name


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("people")
    keys = folder / "keys"
    secured = {"auth": "jwt", "jwt_keys": str(make_key(keys))}
    token = folder / "token"
    token.write_text(sign_token(keys, "registry", ["fivefold:registry"]))
    with serve_tracking(folder, keys, secured) as sources:
        config = Config(
            data=str(folder / "registry"), tracking=sources.address, admins="root", token_file=str(token), **secured
        )
        with serve(build, config) as running:
            yield People(running.channel, keys, sources)


def serve_tracking(folder: Path, keys: Path, secured: dict[str, str]):  # type: ignore[no-untyped-def]
    """A tracking service of the same people, in which mia has a run."""
    from contextlib import contextmanager

    from fivefold_tracking.__main__ import Config as TrackingConfig
    from fivefold_tracking.__main__ import build as build_tracking
    from tests.registry.sources import MODEL, uploaded

    @contextmanager
    def served() -> Iterator[Sources]:
        with serve(build_tracking, TrackingConfig(data=str(folder / "tracking"), **secured)) as running:
            mia = Tracking(running.channel, sign_token(keys, "mia", lifetime=timedelta(hours=1)))
            experiment = mia.experiment("hers").name
            yield Sources(running.address, mia, experiment, uploaded(mia, experiment, MODEL))

    return served()


def outcome(call: Callable[[], object]) -> str:
    """Returns "" for an answer, else the reason of the refusal."""
    try:
        call()
    except grpc.RpcError as error:
        return errors.parse(error)[0]
    return ""


def expected(level: Level, needed: Level) -> str:
    if level == NOBODY:
        return "RESOURCE_NOT_FOUND"
    return "" if level >= needed else "PERMISSION_DENIED"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("current", [NONE, STAGING, PRODUCTION, ARCHIVED])
@pytest.mark.parametrize("target", [NONE, STAGING, PRODUCTION, ARCHIVED])
def test_a_move_needs_the_right_of_its_stages(people: People, level: Level, current: int, target: int) -> None:
    if current == target:
        return
    needed = PRODUCE if PRODUCTION in (current, target) else STAGE
    name = people.at(current)
    assert outcome(lambda: people.levels[level].move(name, target)) == expected(level, needed)
    assert people.mia.version(name).stage == (target if level >= needed else current)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("target", "needed"), [(STAGING, STAGE), (PRODUCTION, PRODUCE)])
@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_settling_a_request_needs_the_right_of_its_move(
    people: People, level: Level, target: int, needed: Level, verb: str
) -> None:
    request = people.mia.ask(people.at(NONE), target).name
    needed = MANAGE if verb == "cancel" else needed
    assert outcome(lambda: getattr(people.levels[level], verb)(request)) == expected(level, needed)


@pytest.mark.parametrize("level", LEVELS)
def test_whoever_reads_may_ask_and_take_back_and_comment(people: People, level: Level) -> None:
    caller, name = people.levels[level], people.at(NONE)
    made: list[pb.TransitionRequest] = []
    assert outcome(lambda: made.append(caller.ask(name, PRODUCTION))) == expected(level, READ)
    for request in made:
        assert outcome(lambda request=request: caller.cancel(request.name)) == ""
    assert outcome(lambda: caller.comment(name, "hello")) == expected(level, READ)


@pytest.mark.parametrize("level", LEVELS)
def test_a_rollback_needs_the_right_for_production(people: People, level: Level) -> None:
    for _ in range(2):
        people.mia.move(people.at(NONE), PRODUCTION, archive_existing=True)
    assert outcome(people.levels[level].roll_back) == expected(level, PRODUCE)


METHODS: dict[str, tuple[Level, Callable[[Registry, str], object]]] = {
    "GetModel": (READ, lambda r, v: r.get()),
    "GetModelVersion": (READ, lambda r, v: r.version(v)),
    "ListModelVersions": (READ, lambda r, v: r.versions()),
    "ListTransitionRequests": (READ, lambda r, v: r.requests(v)),
    "ListActivities": (READ, lambda r, v: r.activities("models/churn")),
    "DownloadModelFile": (READ, lambda r, v: r.download(v, "MLmodel")),
    "UpdateModel": (EDIT, lambda r, v: r.stub.UpdateModel(pb.UpdateModelRequest(model=_described("models/churn")))),
    "UpdateModelVersion": (
        EDIT,
        lambda r, v: r.stub.UpdateModelVersion(
            pb.UpdateModelVersionRequest(model_version=pb.ModelVersion(name=v, description="x"))
        ),
    ),
    "UpdateModel of the policy": (
        MANAGE,
        lambda r, v: r.stub.UpdateModel(
            pb.UpdateModelRequest(model=pb.Model(name="models/churn"), update_mask={"paths": ["policy"]})
        ),
    ),
    "ListModelVersions of one model": (
        READ,
        lambda r, v: r.stub.ListModelVersions(
            pb.ListModelVersionsRequest(parent="models/churn", filter="version > 0", order_by="create_time")
        ),
    ),
    "LookupStage": (
        READ,
        lambda r, v: r.stub.LookupStage(pb.LookupStageRequest(model="models/churn", stage=PRODUCTION)),
    ),
    "ListComments": (READ, lambda r, v: r.stub.ListComments(pb.ListCommentsRequest(parent=v))),
    "VerifyActivities": (READ, lambda r, v: r.verify()),
    "GetModelVersion by alias": (READ, lambda r, v: r.version("models/churn/aliases/known")),
    "SetModelAlias": (EDIT, lambda r, v: r.alias("champion", 1)),
    "UpdateModelVersion of one tag": (
        EDIT,
        lambda r, v: r.stub.UpdateModelVersion(
            pb.UpdateModelVersionRequest(model_version=pb.ModelVersion(name=v), update_mask={"paths": ["tags.k"]})
        ),
    ),
    "CopyModelVersion into it": (EDIT, lambda r, v: r.copy(v, "churn")),
    "CopyModelVersion out of it": (READ, lambda r, v: r.copy(v, f"mine-{time.monotonic_ns()}", create_model=True)),
    "GetPermissions": (
        READ,
        lambda r, v: r.permissions.GetPermissions(permissions_pb2.GetPermissionsRequest(resource="models/churn")),
    ),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_needs_its_right(people: People, level: Level, method: str) -> None:
    needed, call = METHODS[method]
    assert outcome(lambda: call(people.levels[level], people.version)) == expected(level, needed)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_good_token_nothing_is_answered(people: People, method: str) -> None:
    _, call = METHODS[method]
    assert outcome(lambda: call(people.anonymous, people.version)) == "TOKEN_MISSING"
    assert outcome(lambda: call(people.expired, people.version)) == "TOKEN_INVALID"


@pytest.mark.parametrize("level", LEVELS)
def test_making_a_version_needs_the_right_to_edit_and_to_read_the_run(people: People, level: Level) -> None:
    """The run is mia's alone: whoever may edit the model still may not carry her files off."""
    reason = expected(level, EDIT) or "SOURCE_INVALID"
    assert outcome(people.levels[level].make) == reason


@pytest.mark.parametrize("level", LEVELS)
def test_deleting_needs_the_right_to_manage(people: People, level: Level) -> None:
    name = f"gone-{level.name.lower()}"
    people.mia.model(name)
    people.mia.grant(f"models/{name}", mia=MANAGE, **({level.name.lower(): level} if level else {}))
    request = pb.DeleteModelRequest(name=f"models/{name}")
    assert outcome(lambda: people.levels[level].stub.DeleteModel(request)) == expected(level, MANAGE)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("verb", ["rename", "delete_version", "unalias"])
def test_what_takes_something_away_needs_its_right(people: People, level: Level, verb: str) -> None:
    name = f"{verb}-{level.name.lower()}"
    people.mia.model(name)
    made = people.mia.make(name).name
    people.mia.alias("champion", 1, name)
    people.mia.grant(f"models/{name}", mia=MANAGE, **({level.name.lower(): level} if level else {}))
    caller = people.levels[level]
    call, needed = {
        "rename": (lambda: caller.rename(name, f"{name}-new"), MANAGE),
        "delete_version": (lambda: caller.delete_version(made), MANAGE),
        "unalias": (lambda: caller.unalias("champion", name), EDIT),
    }[verb]
    assert outcome(call) == expected(level, needed)


@pytest.mark.parametrize("level", LEVELS)
def test_a_comment_is_changed_by_its_author_only_and_deleted_by_who_manages_too(people: People, level: Level) -> None:
    hers = people.mia.comment(people.version, "mine").name
    caller = people.levels[level]
    denied = expected(level, READ) or "PERMISSION_DENIED"
    assert outcome(lambda: caller.edit(hers, "yours")) == denied
    assert outcome(lambda: caller.unsay(hers)) == expected(level, MANAGE)
    if level >= READ:
        own = caller.comment(people.version, "mine").name
        assert caller.edit(own, "still mine").text == "still mine"
        caller.unsay(own)
    if level < MANAGE:
        assert people.mia.edit(hers, "mine, still").author == "mia"


def test_a_renamed_model_keeps_its_rights_and_its_old_name_has_none(people: People) -> None:
    people.mia.model("moved")
    people.mia.grant("models/moved", mia=MANAGE, can_read=READ)
    people.mia.rename("moved", "elsewhere")
    assert outcome(lambda: people.levels[READ].get("elsewhere")) == ""
    assert outcome(lambda: people.levels[EDIT].get("elsewhere")) == "RESOURCE_NOT_FOUND"
    people.levels[EDIT].model("moved")
    assert outcome(lambda: people.levels[READ].get("moved")) == "RESOURCE_NOT_FOUND"
    assert outcome(lambda: people.mia.get("moved")) == "RESOURCE_NOT_FOUND"


def test_a_copy_goes_only_where_the_caller_may_edit(people: People) -> None:
    people.mia.model("target")
    people.mia.grant("models/target", mia=MANAGE, can_edit=READ)
    for level, reason in ((EDIT, "PERMISSION_DENIED"), (MANAGE, "RESOURCE_NOT_FOUND")):
        for create in (False, True):
            copying = lambda level=level, create=create: people.levels[level].copy(  # noqa: E731
                people.version, "target", create_model=create
            )
            assert outcome(copying) == reason
    assert people.mia.versions("target") == []
    assert outcome(lambda: people.levels[READ].copy(people.version, "nowhere")) == "RESOURCE_NOT_FOUND"
    people.levels[READ].copy(people.version, "readers-own", create_model=True)
    assert outcome(lambda: people.levels[MANAGE].get("readers-own")) == "RESOURCE_NOT_FOUND"
    people.levels[READ].grant("models/readers-own", can_read=MANAGE)


def test_searches_show_only_what_the_caller_may_read(people: People) -> None:
    people.mia.model("veiled", tags={"k": "veiled"})
    people.mia.alias("veiled", people.mia.make("veiled").version, "veiled")
    for filter in ("name = 'veiled'", "aliases = 'veiled'", "name LIKE 'veil%' OR version = 1"):
        seen = {
            level: {
                version.name.split("/")[1]
                for version in caller.stub.ListModelVersions(
                    pb.ListModelVersionsRequest(parent="models/-", filter=filter, page_size=1000)
                ).model_versions
            }
            for level, caller in (people.levels | {None: people.mia}).items()
        }
        assert "veiled" in seen[None]
        assert all("veiled" not in found for level, found in seen.items() if level is not None)
    found = people.levels[MANAGE].stub.ListModels(
        pb.ListModelsRequest(filter="tags.k = 'veiled'", order_by="name DESC")
    )
    assert not found.models
    assert not found.next_page_token


def test_a_watcher_of_the_old_name_hears_that_a_model_was_renamed(people: People) -> None:
    people.mia.model("before")
    with people.mia.watch(only_new=True, models=["models/before"]) as watch:
        people.mia.rename("before", "after")
        (event,) = watch.take(1)
    assert (event.type, event.model, event.old_model) == (
        pb.EVENT_TYPE_REGISTERED_MODEL_RENAMED,
        "models/after",
        "models/before",
    )


def test_the_creator_manages_and_nobody_else_knows(people: People) -> None:
    people.levels[READ].model("secret")
    assert outcome(lambda: people.levels[READ].get("secret")) == ""
    assert outcome(lambda: people.levels[MANAGE].get("secret")) == "RESOURCE_NOT_FOUND"
    assert outcome(lambda: people.levels[MANAGE].get("nothing")) == "RESOURCE_NOT_FOUND"
    with refused("RESOURCE_EXISTS"):
        people.levels[MANAGE].stub.CreateModel(
            pb.CreateModelRequest(model=pb.Model(name="models/secret"), allow_existing=True)
        )


def test_lists_leave_out_what_the_caller_may_not_read(people: People) -> None:
    people.mia.model("hers")
    seen = {level: _listed(caller) for level, caller in people.levels.items()}
    assert "models/churn" in seen[READ]
    assert "models/hers" not in seen[MANAGE]
    assert "models/churn" not in seen[NOBODY]
    assert {"models/churn", "models/hers"} <= _listed(people.serving) & _listed(people.admin)


@pytest.mark.parametrize(
    ("level", "actions"),
    [
        (READ, []),
        (STAGE, []),
        (PRODUCE, ["APPROVE", "REJECT"]),
        (MANAGE, ["APPROVE", "REJECT", "CANCEL"]),
    ],
)
def test_a_request_tells_its_viewer_what_they_may_do(people: People, level: Level, actions: list[str]) -> None:
    name = people.at(NONE)
    people.mia.ask(name, PRODUCTION)
    (request,) = people.levels[level].requests(name)
    assert _actions(request) == actions


def test_a_request_tells_its_creator_that_they_may_take_it_back(people: People) -> None:
    assert _actions(people.levels[READ].ask(people.at(NONE), STAGING)) == ["CANCEL"]


def test_watchers_see_only_events_of_models_they_may_read(people: People) -> None:
    with people.admin.watch(only_new=True) as everything:
        begin = everything.position
        people.mia.model("hidden")
        people.levels[READ].model("visible")
        events = everything.take(2)
    assert [event.model for event in events] == ["models/hidden", "models/visible"]
    with people.levels[READ].watch(begin) as watch:
        assert [event.model for event in watch.until(events[-1].position)] == ["models/visible"]
    with people.serving.watch(begin) as watch:
        assert len(watch.take(2)) == 2


def test_a_new_model_of_an_old_name_does_not_open_the_old_ones_events(people: People) -> None:
    with people.admin.watch(only_new=True) as watch:
        begin = watch.position
        people.mia.model("reused")
        people.mia.stub.DeleteModel(pb.DeleteModelRequest(name="models/reused"))
        people.levels[READ].model("reused")
        end = watch.take(3)[-1].position
    kinds = pb.EVENT_TYPE_REGISTERED_MODEL_CREATED, pb.EVENT_TYPE_REGISTERED_MODEL_DELETED
    with people.levels[READ].watch(begin) as watch:
        assert [event.position for event in watch.until(end)] == [end]
    with people.mia.watch(begin) as watch:
        assert [event.type for event in watch.take(1)] == [kinds[1]], "who could read it learns that it is gone"


def _described(name: str) -> pb.Model:
    return pb.Model(name=name, description="x")


def _listed(caller: Registry) -> set[str]:
    return {model.name for model in caller.stub.ListModels(pb.ListModelsRequest()).models}


def _actions(request: pb.TransitionRequest) -> list[str]:
    return [pb.RequestAction.Name(action).removeprefix("REQUEST_ACTION_") for action in request.available_actions]
