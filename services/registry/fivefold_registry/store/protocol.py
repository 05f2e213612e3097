"""What a store of the registry promises. One contract test proves every adapter.

Every method is one transaction, or joins the one that is running. What raises changes nothing. `user` and `Actor` say
who acts; whether a caller may read or edit at all has been checked before, rights that depend on stages are checked
here.
All raise NotFound for a model, version or request that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from fivefold_registry.lifecycle import Actor, Stage
from fivefold_registry.names import ModelName, RequestName, VersionName
from fivefold_registry.package import Package
from fivefold_registry.store.records import (
    ActivityRecord,
    CommentRecord,
    FileRecord,
    Lineage,
    ModelChange,
    ModelRecord,
    Move,
    Moved,
    RequestRecord,
    VersionChange,
    VersionDraft,
    VersionRecord,
)
from fivefold_runtime.policy import Authorizer


class ModelStore(Protocol):
    """Registered models. A change writes its event; the creator gets CAN_MANAGE with the creation."""

    def create(self, model: str, first: ModelChange, user: str) -> ModelRecord:
        """Raises AlreadyExists."""
        ...

    def get(self, name: ModelName) -> ModelRecord:
        """Returns the model with the newest version of each stage."""
        ...

    def list(self, after: str, limit: int, authorizer: Authorizer) -> list[ModelRecord]:
        """Returns models that the caller may read, by name in code points, from the first after `after`."""
        ...

    def readable(self, model_ids: Sequence[str], authorizer: Authorizer) -> frozenset[str]:
        """Returns those of the models that exist and that the caller may read."""
        ...

    def owner_of(self, name: str) -> str:
        """Returns the model that a name belongs to, which carries its grants."""
        ...

    def update(self, name: ModelName, change: ModelChange, etag: str, user: str) -> ModelRecord:
        """Raises Aborted for a stale etag, StageNotAllowed for a policy that the present stages break."""
        ...

    def delete(self, name: ModelName, etag: str, user: str) -> None:
        """Deletes a model with all that belongs to it. Raises Aborted, VersionInUse."""
        ...


class VersionStore(Protocol):
    """Versions. Numbers are 1, 2, 3 … per model, without gaps or duplicates, whatever the concurrency.

    `claim`, `finish` and `fail` raise CopyLost when the version is no longer the one that the copy reserved.
    """

    def reserve(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        """Gives out the next number to a PENDING version; or takes up the FAILED one of the same attempt, or its READY one."""
        ...

    def claim(self, version: VersionRecord, listed: Sequence[FileRecord]) -> None:
        """Records the files that the version will have: from now on their contents are not removed."""
        ...

    def beat(self, version: VersionRecord) -> None:
        """Gives a sign of life for a copy."""
        ...

    def finish(self, version: VersionRecord, digest: str, lineage: Lineage, package: Package | None) -> VersionRecord:
        """Makes the version READY and writes its event."""
        ...

    def fail(self, version: VersionRecord, why: str) -> VersionRecord:
        """Makes the version FAILED, without files, and writes its event."""
        ...

    def pending(self) -> list[VersionRecord]:
        """Returns all PENDING versions."""
        ...

    def get(self, name: VersionName) -> VersionRecord:
        """Returns the version with its files, by path."""
        ...

    def list(self, model: ModelName, stages: Collection[Stage], before: int | None, limit: int) -> list[VersionRecord]:
        """Returns versions in these stages (none: all), newest first, from the first below `before`."""
        ...

    def update(self, name: VersionName, new: VersionChange, etag: str, user: str) -> VersionRecord:
        """Raises Aborted for a stale etag."""
        ...


class StageStore(Protocol):
    """Moves. After any of them the model's policy holds; every version that moved has its activity and its event."""

    def move(self, name: VersionName, move: Move, actor: Actor) -> Moved:
        """Raises PermissionDenied, VersionNotReady, Aborted, NothingToArchive, StageNotAllowed."""
        ...

    def roll_back(self, name: ModelName, comment: str, actor: Actor) -> Moved:
        """Undoes the last promotion. Raises PermissionDenied, NothingToRollBack, StageNotAllowed."""
        ...


class RequestStore(Protocol):
    """Transition requests. Of two who settle one, one succeeds."""

    def ask(self, name: VersionName, target: Stage, comment: str, user: str) -> RequestRecord:
        """Raises VersionNotReady, StageNotAllowed."""
        ...

    def approve(
        self, name: RequestName, archive_existing: bool, comment: str, actor: Actor
    ) -> tuple[RequestRecord, Moved]:
        """Approves and moves. Raises PermissionDenied, RequestSettled, OwnRequest, and what a move raises."""
        ...

    def reject(self, name: RequestName, comment: str, actor: Actor) -> RequestRecord:
        """Raises PermissionDenied, RequestSettled."""
        ...

    def cancel(self, name: RequestName, comment: str, actor: Actor) -> RequestRecord:
        """Raises PermissionDenied, RequestSettled."""
        ...

    def list(
        self, model: str, number: int | None, settled: bool, before: int | None, limit: int
    ) -> list[RequestRecord]:
        """Returns requests, newest first, from the first below sequence `before`."""
        ...


class JournalStore(Protocol):
    """What happened. Sequence numbers count the activities of a model, without gaps, in the order of commits."""

    def comment(self, name: VersionName, text: str, user: str) -> CommentRecord: ...

    def activities(self, model: str, number: int | None, after: int, limit: int) -> list[ActivityRecord]:
        """Returns activities, oldest first, from the first after sequence `after`."""
        ...


class BlobStore(Protocol):
    """Which contents are needed."""

    def unused(self) -> list[str]:
        """Returns the digests that no version refers to any more."""
        ...

    def remove(self, digests: Iterable[str], erase: Callable[[str], None]) -> None:
        """Calls `erase` for each of the digests that no version refers to, while none can begin to."""
        ...
