"""One registry behind two doors: its stores, and its service over gRPC. The contract test goes through both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry import names, searches
from fivefold_registry.chain import Chain, Fault, Head, Verdict
from fivefold_registry.lifecycle import Actor, Policy, Stage
from fivefold_registry.names import AliasName, CommentName, ModelName, RequestName, VersionName
from fivefold_registry.searches import Search
from fivefold_registry.stagenames import checked
from fivefold_registry.store.records import Lineage, ModelChange, Move, VersionChange, VersionDraft
from fivefold_registry.store.sql import Store
from fivefold_runtime import errors
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.levels import Level
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.paging import Key
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
    def call_stages(self, names: dict[Stage, str], id: str = "churn") -> None: ...
    def stage_name(self, name: str) -> str: ...
    def rename(self, old: str, new: str) -> None: ...
    def delete_version(self, name: str, etag: str = "") -> None: ...
    def alias(self, alias: str, number: int, id: str = "churn") -> None: ...
    def unalias(self, alias: str, id: str = "churn") -> None: ...
    def meant(self, alias: str, id: str = "churn") -> str: ...
    def aliases(self, id: str = "churn") -> dict[str, int]: ...
    def copy(self, source: str, destination: str) -> str: ...
    def origin(self, name: str) -> str: ...
    def tag(self, name: str, **tags: str | None) -> None: ...
    def tags(self, name: str) -> dict[str, str]: ...
    def remark(self, name: str, text: str) -> str: ...
    def edit(self, comment: str, text: str) -> None: ...
    def unsay(self, comment: str) -> None: ...
    def remarks(self, parent: str) -> list[str]: ...
    def models(self, filter: str = "", order_by: str = "") -> list[str]: ...
    def versions(self, id: str = "", filter: str = "", order_by: str = "") -> list[str]: ...
    def lookup(self, stage: Stage, time: datetime | None = None, id: str = "churn") -> list[str]: ...
    def verify(self, expected: Head | None = None, id: str = "churn") -> Verdict: ...
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

    def call_stages(self, names: dict[Stage, str], id: str = "churn") -> None:
        self.store.models.update(ModelName(id), ModelChange(policy=Policy(names=checked(names.items()))), "", "local")

    def stage_name(self, name: str) -> str:
        return self.store.versions.get(VersionName.parse(name)).stage_name

    def rename(self, old: str, new: str) -> None:
        self.store.models.rename(ModelName(old), ModelName(new), "", "local")

    def delete_version(self, name: str, etag: str = "") -> None:
        self.store.versions.delete(VersionName.parse(name), etag, "local")

    def alias(self, alias: str, number: int, id: str = "churn") -> None:
        self.store.aliases.set(AliasName.parse(f"models/{id}/aliases/{alias}"), number, "local")

    def unalias(self, alias: str, id: str = "churn") -> None:
        self.store.aliases.delete(AliasName.parse(f"models/{id}/aliases/{alias}"), "local")

    def meant(self, alias: str, id: str = "churn") -> str:
        return str(self.store.aliases.resolve(AliasName.parse(f"models/{id}/aliases/{alias}")))

    def aliases(self, id: str = "churn") -> dict[str, int]:
        return dict(self.store.models.get(ModelName(id)).aliases)

    def copy(self, source: str, destination: str) -> str:
        return str(self.store.versions.copy(VersionName.parse(source), ModelName(destination), "local").name)

    def origin(self, name: str) -> str:
        return self.store.versions.get(VersionName.parse(name)).copied_from

    def tag(self, name: str, **tags: str | None) -> None:
        self.store.versions.update(VersionName.parse(name), VersionChange(tag_entries=tags), "", "local")

    def tags(self, name: str) -> dict[str, str]:
        return dict(self.store.versions.get(VersionName.parse(name)).tags)

    def remark(self, name: str, text: str) -> str:
        return str(self.store.journal.comment(VersionName.parse(name), text, "local").name)

    def edit(self, comment: str, text: str) -> None:
        self.store.journal.edit(CommentName.parse(comment), text, "local")

    def unsay(self, comment: str) -> None:
        self.store.journal.delete(CommentName.parse(comment), ADA)

    def remarks(self, parent: str) -> list[str]:
        return [one.text for one in self.store.journal.comments(*names.parent(parent), 0, 1000)]

    def models(self, filter: str = "", order_by: str = "") -> list[str]:
        search = searches.of_models(filter, order_by)
        return [one.model for one in self._pages(search, lambda *page: self.store.models.list(search, *page))]

    def versions(self, id: str = "", filter: str = "", order_by: str = "") -> list[str]:
        search = searches.of_versions(filter, order_by, frozenset(), one_model=bool(id))
        model = ModelName(id) if id else None
        found = self._pages(search, lambda *page: self.store.versions.list(model, search, *page))
        return [f"{one.model} {one.number}" for one in found]

    def _pages(self, search: Search, page: Callable[[Key | None, int, Authorizer], list[Any]]) -> list[Any]:
        """Reads a list two rows at a time."""
        found = page(None, 2, EVERYTHING)
        while more := page(search.key(found[-1]), 2, EVERYTHING) if found else []:
            found += more
        return found

    def lookup(self, stage: Stage, time: datetime | None = None, id: str = "churn") -> list[str]:
        return [f"v{one.version.number} by {one.user}" for one in self.store.stages.tenures(ModelName(id), stage, time)]

    def verify(self, expected: Head | None = None, id: str = "churn") -> Verdict:
        return self.store.audit.verify(ModelName(id), expected)[0]

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


def pages(method: Callable[[Any], Any], request: Any, field: str) -> list[Any]:
    """Reads a list to its end."""
    found: list[Any] = []
    while True:
        page = method(request)
        found += getattr(page, field)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


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

    def call_stages(self, names: dict[Stage, str], id: str = "churn") -> None:
        listed = [pb.StageName(stage=STAGES[stage], name=name) for stage, name in names.items()]
        model = pb.Model(name=f"models/{id}", policy=pb.StagePolicy(stage_names=listed))
        self.registry.stub.UpdateModel(pb.UpdateModelRequest(model=model, update_mask={"paths": ["policy"]}))

    def stage_name(self, name: str) -> str:
        return self.registry.version(name).stage_name

    def rename(self, old: str, new: str) -> None:
        self.registry.rename(old, new)

    def delete_version(self, name: str, etag: str = "") -> None:
        self.registry.delete_version(name, etag=etag)

    def alias(self, alias: str, number: int, id: str = "churn") -> None:
        self.registry.alias(alias, number, id)

    def unalias(self, alias: str, id: str = "churn") -> None:
        self.registry.unalias(alias, id)

    def meant(self, alias: str, id: str = "churn") -> str:
        return self.registry.version(f"models/{id}/aliases/{alias}").name

    def aliases(self, id: str = "churn") -> dict[str, int]:
        return dict(self.registry.get(id).aliases)

    def copy(self, source: str, destination: str) -> str:
        return self.registry.copy(source, destination).name

    def origin(self, name: str) -> str:
        return self.registry.version(name).copied_from

    def tag(self, name: str, **tags: str | None) -> None:
        asked = pb.ModelVersion(name=name, tags={key: value for key, value in tags.items() if value is not None})
        mask = {"paths": [f"tags.{key}" for key in tags]}
        self.registry.stub.UpdateModelVersion(pb.UpdateModelVersionRequest(model_version=asked, update_mask=mask))

    def tags(self, name: str) -> dict[str, str]:
        return dict(self.registry.version(name).tags)

    def remark(self, name: str, text: str) -> str:
        return self.registry.comment(name, text).name

    def edit(self, comment: str, text: str) -> None:
        self.registry.edit(comment, text)

    def unsay(self, comment: str) -> None:
        self.registry.unsay(comment)

    def remarks(self, parent: str) -> list[str]:
        request = pb.ListCommentsRequest(parent=parent, page_size=2)
        return [one.text for one in pages(self.registry.stub.ListComments, request, "comments")]

    def models(self, filter: str = "", order_by: str = "") -> list[str]:
        request = pb.ListModelsRequest(filter=filter, order_by=order_by, page_size=2)
        return [one.name.removeprefix("models/") for one in pages(self.registry.stub.ListModels, request, "models")]

    def versions(self, id: str = "", filter: str = "", order_by: str = "") -> list[str]:
        request = pb.ListModelVersionsRequest(
            parent=f"models/{id or '-'}", filter=filter, order_by=order_by, page_size=2
        )
        found = pages(self.registry.stub.ListModelVersions, request, "model_versions")
        return [f"{one.name.split('/')[1]} {one.version}" for one in found]

    def lookup(self, stage: Stage, time: datetime | None = None, id: str = "churn") -> list[str]:
        request = pb.LookupStageRequest(model=f"models/{id}", stage=STAGES[stage])
        if time is not None:
            request.time.FromDatetime(time)
        found = self.registry.stub.LookupStage(request).tenures
        return [f"v{one.model_version.rpartition('/')[2]} by {one.user}" for one in found]

    def verify(self, expected: Head | None = None, id: str = "churn") -> Verdict:
        head = None if expected is None else pb.ActivityHead(sequence=expected.sequence, hash=expected.hash)
        answer = self.registry.verify(id, head)
        fault = None if answer.valid else Fault(pb.ChainFault.Name(answer.fault).removeprefix("CHAIN_FAULT_").lower())
        bad = int(answer.first_bad.rpartition("/")[2] or 0)
        return Verdict(answer.count, Head(answer.head.sequence, answer.head.hash), fault, bad)

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
