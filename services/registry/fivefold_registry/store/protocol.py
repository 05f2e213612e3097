"""What a store of the registry promises. One contract test proves every adapter.

Every method is one transaction, or joins the one that is running. What raises changes nothing. `user` and `Actor` say
who acts; whether a caller may read or edit at all has been checked before, rights that depend on stages are checked
here.
All raise NotFound for a model, version or request that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from fivefold_registry.chain import Head, Verdict
from fivefold_registry.lifecycle import Actor, Stage
from fivefold_registry.names import AliasName, CommentName, ModelName, RequestName, VersionName
from fivefold_registry.package import Package
from fivefold_registry.searches import Search
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
    Tenure,
    VersionChange,
    VersionDraft,
    VersionRecord,
)
from fivefold_runtime.paging import Key
from fivefold_runtime.policy import Authorizer


class ModelStore(Protocol):
    """Registered models. A change writes its event; the creator gets CAN_MANAGE with the creation."""

    def create(self, model: str, first: ModelChange, user: str) -> ModelRecord:
        """Raises AlreadyExists."""
        ...

    def get(self, name: ModelName) -> ModelRecord:
        """Returns the model with the newest version of each stage."""
        ...

    def list(self, search: Search, after: Key | None, limit: int, authorizer: Authorizer) -> list[ModelRecord]:
        """Returns models that are searched for and that the caller may read, in order, from the first after a key."""
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

    def rename(self, name: ModelName, new: ModelName, etag: str, user: str) -> ModelRecord:
        """Gives a model, with all that belongs to it, another name. Raises Aborted, VersionInUse, AlreadyExists."""
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

    def copy(self, source: VersionName, destination: ModelName, user: str) -> VersionRecord:
        """Makes the next version of the destination, READY, with the files, words and facts of a READY one.

        Raises VersionNotReady.
        """
        ...

    def list(
        self, model: ModelName | None, search: Search, after: Key | None, limit: int, authorizer: Authorizer
    ) -> list[VersionRecord]:
        """Returns versions that are searched for, in order, from the first after a key; without files.

        model  None for all that the caller may read; that a named one may be read has been checked
        """
        ...

    def update(self, name: VersionName, new: VersionChange, etag: str, user: str) -> VersionRecord:
        """Raises Aborted for a stale etag, TooManyItems for too many tags."""
        ...

    def delete(self, name: VersionName, etag: str, user: str) -> None:
        """Deletes a version; its number is never given out again, its activities stay. Raises Aborted, VersionInUse."""
        ...


class AliasStore(Protocol):
    """Aliases. They go with their version, and stay with their model when it is renamed."""

    def set(self, name: AliasName, number: int, user: str) -> VersionRecord:
        """Lets an alias mean a version from now on; an event tells of it unless it did before."""
        ...

    def delete(self, name: AliasName, user: str) -> None: ...

    def resolve(self, name: AliasName) -> VersionName: ...


class StageStore(Protocol):
    """Moves. After any of them the model's policy holds; every version that moved has its activity and its event."""

    def move(self, name: VersionName, move: Move, actor: Actor) -> Moved:
        """Raises PermissionDenied, VersionNotReady, Aborted, NothingToArchive, StageNotAllowed."""
        ...

    def roll_back(self, name: ModelName, comment: str, actor: Actor) -> Moved:
        """Undoes the last promotion. Raises PermissionDenied, NothingToRollBack, StageNotAllowed."""
        ...

    def tenures(self, name: ModelName, stage: Stage, time: datetime | None) -> list[Tenure]:
        """Returns the versions that were in a stage at a time (None: now), by number, with who put them there."""
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

    def edit(self, name: CommentName, text: str, user: str) -> CommentRecord:
        """Raises PermissionDenied for another than its author."""
        ...

    def delete(self, name: CommentName, actor: Actor) -> None:
        """Removes the text; that there was a comment stays told. Raises PermissionDenied."""
        ...

    def comments(self, model: str, number: int | None, after: int, limit: int) -> list[CommentRecord]:
        """Returns comments, oldest first, from the first after sequence `after`."""
        ...

    def activities(self, model: str, number: int | None, after: int, limit: int) -> list[ActivityRecord]:
        """Returns activities, oldest first, from the first after sequence `after`."""
        ...


class AuditStore(Protocol):
    """The chain of activities."""

    def begin(self) -> None:
        """Binds the database to the chain's key, with hashes for activities that are older than the chain.

        Raises StartError when it is bound to another key.
        """
        ...

    def verify(self, name: ModelName, expected: Head | None) -> tuple[Verdict, int]:
        """Returns what a check of a model's chain finds, and the version of the first bad activity, 0 if unknown."""
        ...


class BlobStore(Protocol):
    """Which contents are needed."""

    def unused(self) -> list[str]:
        """Returns the digests that no version refers to any more."""
        ...

    def remove(self, digests: Iterable[str], erase: Callable[[str], None]) -> None:
        """Calls `erase` for each of the digests that no version refers to, while none can begin to."""
        ...
