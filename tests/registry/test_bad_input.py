"""What bad input gets: an error that names the mistake, no activity, no event, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.tracking.v1 import tracking_pb2 as tracking
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.errors import NotFound
from fivefold_runtime.testing import serve
from tests.registry.client import ARCHIVED, NONE, PRODUCTION, STAGING, Registry
from tests.registry.drivers import pages
from tests.registry.sources import RUN, SOURCE, Faulty
from tests.runtime.asserting import refused

UNNAMED = "models/churn"
LONG = "x" * 4000
#: Forms in which a path, a host or another name could slip into a name.
SLIPS = [
    "../x", "..\\x", "/home/x", "file:///home/x", "%2e%2e", "%252e%252e", "a\u2024\u2024b", "a;b", "a#b", "a?b", "C:",
    "C:\\x", "a/../b", "a//b", "\u202e", "\uff0e\uff0e", "models:/churn/1", "a\tb", " a", "..", ".",
]  # fmt: skip


@dataclass
class World:
    """A registry with a model of strict policy: v1 in Production, v2 READY, v3 FAILED, v4 outside."""

    registry: Registry
    v1: str
    v2: str
    v3: str
    v4: str

    def everything(self) -> dict[str, Any]:
        """Returns all that can be seen."""
        stub = self.registry.stub
        models = pages(stub.ListModels, pb.ListModelsRequest(), "models")
        with self.registry.watch(only_new=True) as watch:
            position = watch.position
        return {
            "models": models,
            "versions": pages(stub.ListModelVersions, pb.ListModelVersionsRequest(parent="models/-"), "model_versions"),
            "activities": {model.name: self.registry.activities(model.name) for model in models},
            "requests": {model.name: self.registry.requests(model.name, True) for model in models},
            "comments": self.registry.stub.ListComments(pb.ListCommentsRequest(parent=UNNAMED)).comments,
            "position": position,
        }


class OneRun(Faulty):
    """A tracking service that has one run."""

    def GetRun(self, request: tracking.GetRunRequest, context: grpc.ServicerContext) -> tracking.Run:
        if request.name != RUN:
            gone = NotFound.of(request.name)
            context.set_trailing_metadata(gone.trailers())
            context.abort(gone.code, gone.message)
        return super().GetRun(request, context)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    files = OneRun()
    data = str(tmp_path_factory.mktemp("bad") / "data")
    with files.served() as address, serve(build, Config(data=data, tracking=address)) as running:
        registry = Registry(running.channel, SOURCE)
        registry.model(policy={"one_production": True, "stepwise": True, "no_self_approval": True})
        registry.model("taken")
        v1, v2 = registry.make().name, registry.make().name
        for stage in (STAGING, PRODUCTION):
            registry.move(v1, stage)
        registry.move(v2, STAGING)
        files.paths, files.send = ("model/other",), lambda context: iter([b"not what was announced"])
        files.listed = b"something else"
        v3, v4 = registry.make().name, registry.elsewhere("s3://bucket/model").name
        registry.comment(v1, "fine")
        registry.alias("champion", 1)
        for settle in (registry.cancel, registry.reject):
            settle(registry.ask(v2, PRODUCTION).name)
        registry.ask(v2, PRODUCTION)
        yield World(registry, v1, v2, v3, v4)


Call = Callable[[World], object]


def _make(**fields: Any) -> Call:
    return lambda w: w.registry.stub.CreateModelVersion(
        pb.CreateModelVersionRequest(parent=UNNAMED, model_version=pb.ModelVersion(**fields))
    )


def _update(*paths: str, **fields: Any) -> Call:
    return lambda w: w.registry.stub.UpdateModel(
        pb.UpdateModelRequest(model=pb.Model(name=UNNAMED, **fields), update_mask={"paths": paths})
    )


def _relabel(*paths: str, **fields: Any) -> Call:
    return lambda w: w.registry.stub.UpdateModelVersion(
        pb.UpdateModelVersionRequest(model_version=pb.ModelVersion(name=w.v2, **fields), update_mask={"paths": paths})
    )


def _names(*listed: tuple[int, str]) -> dict[str, Any]:
    return {"policy": pb.StagePolicy(stage_names=[pb.StageName(stage=stage, name=name) for stage, name in listed])}


def _request(w: World, state: int) -> str:
    return next(one.name for one in w.registry.requests(UNNAMED, True) if one.state == state)


def _verify(sequence: int, hash: str) -> Call:
    return lambda w: w.registry.verify(expected=pb.ActivityHead(sequence=sequence, hash=hash))


BAD: dict[str, tuple[str, grpc.StatusCode, Call]] = {}


def bad(what: str, reason: str, code: str, call: Call) -> None:
    BAD[what] = (reason, grpc.StatusCode[code], call)


FAILED, INVALID, MISSING = "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"

bad("a move that the policy has not", "STAGE_NOT_ALLOWED", FAILED, lambda w: w.registry.move(w.v1, NONE))
bad("a second one in Production", "STAGE_NOT_ALLOWED", FAILED, lambda w: w.registry.move(w.v2, PRODUCTION))
bad("a stage that is none", "FIELD_INVALID", INVALID, lambda w: w.registry.move(w.v1, 9))
bad("no stage", "FIELD_REQUIRED", INVALID, lambda w: w.registry.move(w.v1, 0))
bad("archiving the archived", "FIELD_INVALID", INVALID, lambda w: w.registry.move(w.v1, ARCHIVED, True))
bad("a stale etag of a move", "ETAG_MISMATCH", "ABORTED", lambda w: w.registry.move(w.v1, STAGING, etag="old"))
bad("a failed version moves", "VERSION_NOT_READY", FAILED, lambda w: w.registry.move(w.v3, STAGING))
bad("a failed version is asked for", "VERSION_NOT_READY", FAILED, lambda w: w.registry.ask(w.v3, STAGING))
bad("a failed version is copied", "VERSION_NOT_READY", FAILED, lambda w: w.registry.copy(w.v3, "taken"))
bad("a failed version is fetched", "VERSION_NOT_READY", FAILED, lambda w: w.registry.download(w.v3, "MLmodel"))
bad(
    "a version that is not there",
    "RESOURCE_NOT_FOUND",
    MISSING,
    lambda w: w.registry.move(UNNAMED + "/versions/9", STAGING),
)
bad("asking for what policy has not", "STAGE_NOT_ALLOWED", FAILED, lambda w: w.registry.ask(w.v1, NONE))
bad("approving a cancelled request", "REQUEST_SETTLED", FAILED, lambda w: w.registry.approve(_request(w, 4)))
bad("approving a rejected request", "REQUEST_SETTLED", FAILED, lambda w: w.registry.approve(_request(w, 3)))
bad("cancelling a rejected request", "REQUEST_SETTLED", FAILED, lambda w: w.registry.cancel(_request(w, 3)))
bad("approving one's own request", "OWN_REQUEST", "PERMISSION_DENIED", lambda w: w.registry.approve(_request(w, 1)))
bad("a request that is not there", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.reject(w.v1 + "/requests/99"))
bad("deleting a model in use", "VERSION_IN_USE", FAILED,
    lambda w: w.registry.stub.DeleteModel(pb.DeleteModelRequest(name=UNNAMED)))  # fmt: skip
bad("deleting a model with a stale etag", "ETAG_MISMATCH", "ABORTED",
    lambda w: w.registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/taken", etag="old")))  # fmt: skip
bad("renaming a model in use", "VERSION_IN_USE", FAILED, lambda w: w.registry.rename("churn", "new"))
bad("renaming to a taken name", "RESOURCE_EXISTS", "ALREADY_EXISTS", lambda w: w.registry.rename("taken", "churn"))
bad("renaming with a stale etag", "ETAG_MISMATCH", "ABORTED", lambda w: w.registry.rename("taken", "new", etag="old"))
bad("deleting a version in use", "VERSION_IN_USE", FAILED, lambda w: w.registry.delete_version(w.v1))
bad("deleting a version with a stale etag", "ETAG_MISMATCH", "ABORTED",
    lambda w: w.registry.delete_version(w.v4, etag="old"))  # fmt: skip
for _alias in ("v3", "latest", "LATEST", "V007", "a.b", "ä b", "x" * 256):
    bad(f"the alias {_alias[:9]}", "NAME_INVALID", INVALID, lambda w, a=_alias: w.registry.alias(a, 1))
bad("an alias of no version", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.alias("rival", 99))
bad("an alias of version 0", "FIELD_REQUIRED", INVALID, lambda w: w.registry.alias("rival", 0))
bad("an alias of a negative version", "FIELD_INVALID", INVALID, lambda w: w.registry.alias("rival", -1))
bad("taking an unknown alias away", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.unalias("rival"))
bad("no source", "SOURCE_INVALID", INVALID, _make())
bad(
    "a source and an address",
    "SOURCE_INVALID",
    INVALID,
    _make(source=RUN + "/artifacts", external_uri="s3://x"),
)
bad("a source that is not there", "SOURCE_INVALID", INVALID, _make(source="runs/" + "1" * 32 + "/artifacts"))
bad("a logged model that is none", "SOURCE_INVALID", INVALID, _make(source="logged_models/x/artifacts"))
bad("an address with a line feed", "SOURCE_INVALID", INVALID, _make(external_uri="s3://x\n"))
bad("an address that is too long", "FIELD_TOO_LONG", INVALID, _make(external_uri="s3://" + LONG))
for _slip in SLIPS:
    bad(f"the source {_slip[:14]!r}", "SOURCE_INVALID", INVALID, _make(source=_slip))
    bad(f"a path {_slip[:14]!r}", "SOURCE_INVALID", INVALID, _make(source=f"{RUN}/artifacts/{_slip}/../x"))
    bad(f"the model {_slip[:14]!r}", "NAME_INVALID", INVALID, lambda w, s=_slip: w.registry.model(s))
    bad(f"renaming to {_slip[:14]!r}", "NAME_INVALID", INVALID, lambda w, s=_slip: w.registry.rename("taken", s))
    bad(f"an alias {_slip[:14]!r}", "NAME_INVALID", INVALID, lambda w, s=_slip: w.registry.alias(s, 1))
    if ":/" not in _slip:  # As a path below a version that is a name like others.
        bad(f"a file {_slip[:14]!r}", "NAME_INVALID", INVALID, lambda w, s=_slip: w.registry.download(w.v1, s))
bad("the model with a long name", "FIELD_TOO_LONG", INVALID, lambda w: w.registry.model("a" * 249 + "é"))
bad("a policy of two names", "FIELD_INVALID", INVALID, _update("policy", **_names((STAGING, "x"), (STAGING, "y"))))
bad("a policy of one name for two", "FIELD_INVALID", INVALID, _update("policy", **_names((STAGING, "x"), (NONE, "X"))))
bad("a stage called as another", "FIELD_INVALID", INVALID, _update("policy", **_names((STAGING, "production"))))
bad("a stage without a name", "FIELD_REQUIRED", INVALID, _update("policy", **_names((STAGING, ""))))
bad("a stage with a long name", "FIELD_TOO_LONG", INVALID, _update("policy", **_names((STAGING, "é" * 33))))
bad("a name for no stage", "FIELD_REQUIRED", INVALID, _update("policy", **_names((0, "x"))))
bad("a stale etag of a model", "ETAG_MISMATCH", "ABORTED", _update("description", description="x", etag="old"))
bad("a stale etag of a version", "ETAG_MISMATCH", "ABORTED", _relabel("description", description="x", etag="old"))
bad("an unknown field of a model", "FIELD_INVALID", INVALID, _update("creator"))
bad("an unknown field of a version", "FIELD_INVALID", INVALID, _relabel("stage"))
bad("an alias by update", "FIELD_INVALID", INVALID, _update("aliases"))
bad("a tag without a key", "FIELD_INVALID", INVALID, _relabel("tags."))
bad("a tag with a long key", "FIELD_INVALID", INVALID, _relabel("tags." + "k" * 251))
bad("too many tags", "TOO_MANY_ITEMS", INVALID, _relabel("tags", tags={str(n): "" for n in range(1001)}))
bad("another's field of a comment", "FIELD_INVALID", INVALID,
    lambda w: w.registry.stub.UpdateComment(pb.UpdateCommentRequest(
        comment=pb.Comment(name=w.v1 + "/comments/1", text="x"), update_mask={"paths": ["author"]})))  # fmt: skip
bad("a comment without text", "FIELD_REQUIRED", INVALID, lambda w: w.registry.edit(w.v1 + "/comments/1", ""))
bad("a comment that is not there", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.edit(w.v1 + "/comments/99", "x"))
bad("a comment of another version", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.unsay(w.v2 + "/comments/4"))
bad("a name of no comment", "NAME_INVALID", INVALID, lambda w: w.registry.unsay(w.v1 + "/comments/x"))
bad("copying to all models", "NAME_INVALID", INVALID, lambda w: w.registry.copy(w.v1, "-", create_model=True))
bad("copying to nowhere", "RESOURCE_NOT_FOUND", MISSING, lambda w: w.registry.copy(w.v1, "nowhere"))
bad("copying what is not there", "RESOURCE_NOT_FOUND", MISSING,
    lambda w: w.registry.copy(UNNAMED + "/versions/99", "made", create_model=True))  # fmt: skip
bad("a head that is none", "FIELD_INVALID", INVALID, _verify(1, "xyz"))
bad("a negative head", "FIELD_INVALID", INVALID, _verify(-1, ""))
bad("looking up no stage", "FIELD_REQUIRED", INVALID,
    lambda w: w.registry.stub.LookupStage(pb.LookupStageRequest(model=UNNAMED)))  # fmt: skip
bad("looking up no time", "FIELD_INVALID", INVALID,
    lambda w: w.registry.stub.LookupStage(pb.LookupStageRequest(model=UNNAMED, stage=STAGING, time={"seconds": 1 << 60})))  # fmt: skip
bad("rolling back what never was", "NOTHING_TO_ROLL_BACK", FAILED, lambda w: w.registry.roll_back())


@pytest.mark.parametrize("what", BAD)
def test_it_is_refused_and_nothing_happens(world: World, what: str) -> None:
    reason, code, call = BAD[what]
    before = world.everything()
    with refused(reason) as refusal:
        call(world)
    assert refusal.code == code
    assert world.everything() == before


def test_a_refused_move_names_the_rule_and_what_would_be_allowed(world: World) -> None:
    with refused("STAGE_NOT_ALLOWED") as refusal:
        world.registry.move(world.v1, NONE)
    assert refusal.facts["allowed"] == "Staging, Archived"
    with refused("STAGE_NOT_ALLOWED") as refusal:
        world.registry.move(world.v2, PRODUCTION)
    assert (refusal.facts["rule"], refusal.facts["allowed"]) == ("one_production", "archive_existing")


def test_tags_do_not_grow_beyond_their_number_one_at_a_time(registry: Registry) -> None:
    registry.model(tags={str(number): "" for number in range(1000)})
    asked = pb.Model(name=UNNAMED, tags={"new": ""})
    with refused("TOO_MANY_ITEMS") as refusal:
        registry.stub.UpdateModel(pb.UpdateModelRequest(model=asked, update_mask={"paths": ["tags.new"]}))
    assert refusal.facts["limit"] == "1000"
    swapped = pb.UpdateModelRequest(model=asked, update_mask={"paths": ["tags.new", "tags.7"]})
    assert "7" not in registry.stub.UpdateModel(swapped).tags
