"""One registry behind two doors: its stores, and its service over gRPC. The contract test goes through both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry import searches
from fivefold_registry.chain import Chain
from fivefold_registry.lifecycle import Actor, Policy, Stage
from fivefold_registry.names import ModelName, RequestName, VersionName
from fivefold_registry.store.records import Lineage, ModelChange, Move, VersionDraft
from fivefold_registry.store.sql import Store
from fivefold_runtime import errors
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.levels import Level
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig
from fivefold_runtime.sql import Database
from tests.registry.client import Registry, told

STAGES = {stage: pb.Stage.Value(f"STAGE_{stage.name}") for stage in Stage}
EVERYTHING = Authorizer(ServerConfig(), None)  # authentication is off
KEY = b"k" * 32  # of the chain of activities
ADA = Actor("local", Level.CAN_MANAGE)


class Driver(Protocol):
    """What the contract test does to a registry. Names and stages are texts."""

    def model(self, id: str = "churn", **policy: bool) -> None: ...
    def version(self, id: str = "churn") -> str: ...
    def move(self, name: str, stage: Stage, archive_existing: bool = False, etag: str = "") -> list[str]: ...
    def roll_back(self, id: str = "churn") -> tuple[str, list[str]]: ...
    def ask(self, name: str, stage: Stage) -> str: ...
    def approve(self, request: str, archive_existing: bool = False) -> None: ...
    def reject(self, request: str) -> None: ...
    def cancel(self, request: str) -> None: ...
    def comment(self, name: str, text: str) -> None: ...
    def policy(self, id: str = "churn", **policy: bool) -> None: ...
    def stage(self, name: str) -> Stage: ...
    def etag(self, name: str) -> str: ...
    def told(self, parent: str) -> list[str]: ...
    def events(self) -> list[str]: ...
    def delete(self, id: str = "churn") -> None: ...


@contextmanager
def refused(reason: str) -> Iterator[dict[str, str]]:
    """The block must fail with this reason, whatever door it went through; gives its facts afterwards."""
    facts: dict[str, str] = {}
    with pytest.raises((FivefoldError, grpc.RpcError)) as caught:
        yield facts
    error = caught.value
    found, given = (error.reason, error.facts) if isinstance(error, FivefoldError) else errors.parse(error)
    assert found == reason, error
    facts.update(given)


class StoreDriver:
    """Straight at the stores."""

    def __init__(self, database: Database) -> None:
        self.outbox = Outbox(database)
        self.store = Store.over(database, self.outbox, Chain(KEY))

    def model(self, id: str = "churn", **policy: bool) -> None:
        self.store.models.create(id, ModelChange(policy=Policy(**policy)), "local")

    def version(self, id: str = "churn") -> str:
        reserved = self.store.versions.reserve(ModelName(id), VersionDraft(source="runs/0/artifacts"), "local")
        return str(self.store.versions.finish(reserved, "", Lineage(), None).name)

    def move(self, name: str, stage: Stage, archive_existing: bool = False, etag: str = "") -> list[str]:
        version = VersionName.parse(name)
        moved = self.store.stages.move(version, Move(target=stage, archive_existing=archive_existing, etag=etag), ADA)
        return [str(VersionName(version.model, number)) for number in moved.archived]

    def roll_back(self, id: str = "churn") -> tuple[str, list[str]]:
        moved = self.store.stages.roll_back(ModelName(id), "", ADA)
        return str(moved.version.name), [str(VersionName(id, number)) for number in moved.archived]

    def ask(self, name: str, stage: Stage) -> str:
        return str(self.store.requests.ask(VersionName.parse(name), stage, "", "local").name)

    def approve(self, request: str, archive_existing: bool = False) -> None:
        self.store.requests.approve(RequestName.parse(request), archive_existing, "", ADA)

    def reject(self, request: str) -> None:
        self.store.requests.reject(RequestName.parse(request), "", ADA)

    def cancel(self, request: str) -> None:
        self.store.requests.cancel(RequestName.parse(request), "", ADA)

    def comment(self, name: str, text: str) -> None:
        self.store.journal.comment(VersionName.parse(name), text, "local")

    def policy(self, id: str = "churn", **policy: bool) -> None:
        self.store.models.update(ModelName(id), ModelChange(policy=Policy(**policy)), "", "local")

    def stage(self, name: str) -> Stage:
        return self.store.versions.get(VersionName.parse(name)).stage

    def in_stage(self, stage: Stage, id: str = "churn") -> list[int]:
        search = searches.of_versions("", "", frozenset({stage}), one_model=True)
        return [one.number for one in self.store.versions.list(ModelName(id), search, None, 100, EVERYTHING)]

    def etag(self, name: str) -> str:
        return self.store.versions.get(VersionName.parse(name)).etag

    def told(self, parent: str) -> list[str]:
        model, _, number = parent.removeprefix("models/").partition("/versions/")
        found = self.store.journal.activities(model, int(number) if number else None, 0, 1000)
        assert [one.sequence for one in found] == sorted(one.sequence for one in found)
        return [
            f"{one.type.name} v{one.version.number}"
            + (f" {one.from_stage.name}>{one.to_stage.name}" if one.from_stage and one.to_stage else "")
            + (" rollback" if one.rollback else "")
            for one in found
        ]

    def events(self) -> list[str]:
        return [f"{event.topic} {event.key}" for event in self.outbox.read()]

    def delete(self, id: str = "churn") -> None:
        self.store.models.delete(ModelName(id), "", "local")


class ServiceDriver:
    """Over gRPC."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def model(self, id: str = "churn", **policy: bool) -> None:
        self.registry.model(id, policy=policy)

    def version(self, id: str = "churn") -> str:
        return self.registry.make(id).name

    def move(self, name: str, stage: Stage, archive_existing: bool = False, etag: str = "") -> list[str]:
        return list(self.registry.move(name, STAGES[stage], archive_existing, etag=etag).archived)

    def roll_back(self, id: str = "churn") -> tuple[str, list[str]]:
        answer = self.registry.roll_back(id)
        return answer.model_version.name, list(answer.archived)

    def ask(self, name: str, stage: Stage) -> str:
        return self.registry.ask(name, STAGES[stage]).name

    def approve(self, request: str, archive_existing: bool = False) -> None:
        self.registry.approve(request, archive_existing=archive_existing)

    def reject(self, request: str) -> None:
        self.registry.reject(request)

    def cancel(self, request: str) -> None:
        self.registry.cancel(request)

    def comment(self, name: str, text: str) -> None:
        self.registry.comment(name, text)

    def policy(self, id: str = "churn", **policy: bool) -> None:
        model = pb.Model(name=f"models/{id}", policy=pb.StagePolicy(**policy))
        self.registry.stub.UpdateModel(pb.UpdateModelRequest(model=model, update_mask={"paths": ["policy"]}))

    def stage(self, name: str) -> Stage:
        number = self.registry.version(name).stage
        return next(stage for stage in Stage if STAGES[stage] == number)

    def etag(self, name: str) -> str:
        return self.registry.version(name).etag

    def told(self, parent: str) -> list[str]:
        return [told(activity) for activity in self.registry.activities(parent)]

    def events(self) -> list[str]:
        with self.registry.watch(only_new=True) as watch:
            latest = watch.position
        with self.registry.watch() as watch:
            seen = watch.until(latest)
        return [f"{pb.EventType.Name(event.type).removeprefix('EVENT_TYPE_').lower()} {event.model}" for event in seen]

    def delete(self, id: str = "churn") -> None:
        self.registry.stub.DeleteModel(pb.DeleteModelRequest(name=f"models/{id}"))
