"""What the store hands out: frozen, so that nothing that left it can change under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fivefold_registry.lifecycle import Policy, Stage
from fivefold_registry.names import CommentName, RequestName, VersionName
from fivefold_registry.package import Column
from fivefold_registry.requests import RequestState


class VersionStatus(StrEnum):
    """Whether a version's files are there."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ActivityType(StrEnum):
    """What kind of thing happened to a version."""

    APPLIED_TRANSITION = "applied_transition"
    REQUESTED_TRANSITION = "requested_transition"
    CANCELLED_REQUEST = "cancelled_request"
    APPROVED_REQUEST = "approved_request"
    REJECTED_REQUEST = "rejected_request"
    SYSTEM_TRANSITION = "system_transition"
    NEW_COMMENT = "new_comment"
    EDITED_COMMENT = "edited_comment"
    DELETED_COMMENT = "deleted_comment"
    DELETED_VERSION = "deleted_version"


class EventType(StrEnum):
    """What kind of event the outbox tells of; the value is its topic."""

    REGISTERED_MODEL_CREATED = "registered_model_created"
    REGISTERED_MODEL_UPDATED = "registered_model_updated"
    REGISTERED_MODEL_DELETED = "registered_model_deleted"
    MODEL_VERSION_CREATED = "model_version_created"
    MODEL_VERSION_UPDATED = "model_version_updated"
    MODEL_VERSION_TRANSITIONED_STAGE = "model_version_transitioned_stage"
    TRANSITION_REQUEST_CREATED = "transition_request_created"
    TRANSITION_REQUEST_SETTLED = "transition_request_settled"
    COMMENT_CREATED = "comment_created"
    COMMENT_UPDATED = "comment_updated"
    COMMENT_DELETED = "comment_deleted"
    REGISTERED_MODEL_RENAMED = "registered_model_renamed"
    MODEL_VERSION_DELETED = "model_version_deleted"
    MODEL_ALIAS_SET = "model_alias_set"
    MODEL_ALIAS_DELETED = "model_alias_deleted"
    MODEL_VERSION_TAG_SET = "model_version_tag_set"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file: relative path, bytes, 64 hexadecimal digits."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a version came from, by resource names; "" and () where nothing is known."""

    run: str = ""
    experiment: str = ""
    training_set: str = ""
    table_versions: tuple[str, ...] = ()
    job: str = ""
    feature_spec: str = ""
    logged_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A registered model. `model` is its id, the last part of its name."""

    id: str  # of this registration: another model of the same name, after a deletion, has another
    model: str
    description: str
    tags: Mapping[str, str]
    policy: Policy
    creator: str
    created: datetime
    updated: datetime
    revision: int
    latest: tuple[VersionRecord, ...] = ()  # the newest version in each stage, without files
    aliases: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"models/{self.model}"

    @property
    def etag(self) -> str:
        return f"{self.id[-12:]}-{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """New values of a model; None leaves what is there. `tag_entries` come after `tags`; None there removes one."""

    description: str | None = None
    tags: Mapping[str, str] | None = None
    tag_entries: Mapping[str, str | None] = field(default_factory=dict)
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version of a model."""

    model_id: str
    model: str
    number: int
    stage: Stage
    status: VersionStatus
    status_message: str
    description: str
    tags: Mapping[str, str]
    source: str
    lineage: Lineage
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    flavors: tuple[str, ...]
    digest: str
    creator: str
    created: datetime
    updated: datetime
    revision: int
    copier: str  # the copy that owns it while PENDING
    beats: int  # signs of life of that copy
    external_uri: str
    copied_from: str
    stage_name: str  # what the model's owner calls its stage
    aliases: tuple[str, ...] = ()  # sorted
    files: tuple[FileRecord, ...] = ()  # by path; only where one version was asked for

    @property
    def name(self) -> VersionName:
        return VersionName(self.model, self.number)

    @property
    def etag(self) -> str:
        return f"{self.model_id[-12:]}-{self.number}-{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDraft:
    """What the maker of a version says about it.

    attempt  the same text for calls that are one call sent again; "" when the caller does not say
    """

    source: str = ""
    external_uri: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    lineage: Lineage = Lineage()
    attempt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """New words of a version; None leaves what is there. `tag_entries` come after `tags`; None there removes one."""

    description: str | None = None
    tags: Mapping[str, str] | None = None
    tag_entries: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move that someone wants, and the words that go with it."""

    target: Stage
    archive_existing: bool = False
    comment: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The version after its move, and the numbers of those that were archived with it, ascending."""

    version: VersionRecord
    archived: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A transition request, with what decides about the actions that a viewer has."""

    name: RequestName
    stage: Stage
    creator: str
    comment: str
    state: RequestState
    settled_by: str
    created: datetime
    settled: datetime | None
    current: Stage  # of the version, now
    policy: Policy  # of the model, now


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentRecord:
    """A remark on a version."""

    version: VersionName
    sequence: int
    text: str
    author: str
    created: datetime
    updated: datetime  # when its text was last changed

    @property
    def name(self) -> CommentName:
        return CommentName(self.version.model, self.version.number, self.sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """The time of a version in a stage.

    user      who put it there; of None, who made it
    sequence  of the activity that tells of it, 0 where there is none
    """

    version: VersionName
    since: datetime
    user: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRecord:
    """One thing that happened to a version; `sequence` counts all activities of its model, without gaps."""

    version: VersionName
    sequence: int
    type: ActivityType
    user: str
    from_stage: Stage | None
    to_stage: Stage | None
    comment: str
    created: datetime
    rollback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event as the outbox keeps it.

    number   version that it is about, 0 where it is the model's
    subject  name of the request or comment, alias, or key of a tag; "" where there is none
    readers  of a deletion: principals that could read the model until then
    old      id of the model before it was renamed, else ""
    status   that a version which was made came to; "" of other events, and of those written before it was kept
    """

    position: int
    type: EventType
    model_id: str
    model: str
    number: int
    from_stage: Stage | None
    to_stage: Stage | None
    user: str
    subject: str
    readers: frozenset[str]
    time: datetime
    old: str = ""
    status: str = ""
