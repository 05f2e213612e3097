"""Records of the registry: models, versions, requests, activities, events, and what was in a stage when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from google.protobuf.message import Message

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.names import short
from fivefold.sdk.records import Record, enum_names


@dataclass(frozen=True, repr=False)
class Lineage(Record):
    """What a version came from; every part may be empty."""

    run: str
    experiment: str
    training_set: str
    table_versions: tuple[str, ...]
    job: str
    feature_spec: str
    logged_model: str


@dataclass(frozen=True, repr=False)
class ColumnSpec(Record):
    """One column of a signature."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, repr=False)
class Signature(Record):
    """A model's inputs and outputs, in order."""

    inputs: tuple[ColumnSpec, ...]
    outputs: tuple[ColumnSpec, ...]


@dataclass(frozen=True, repr=False)
class ModelFile(Record):
    """One file of a version."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, repr=False)
class ModelVersion(Record):
    """One immutable version of a model. `stage_name` is what the model's owner calls its stage."""

    name: str
    version: int
    stage: str
    stage_name: str
    status: str
    status_message: str
    description: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    source: str
    external_uri: str
    copied_from: str
    lineage: Lineage
    signature: Signature
    flavors: tuple[str, ...]
    files: tuple[ModelFile, ...]
    digest: str
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str

    @property
    def model(self) -> str:
        """The model's full name."""
        return self.name.rpartition("/versions/")[0]


@dataclass(frozen=True, repr=False)
class StagePolicy(Record):
    """Rules that a model's owner chose. `stage_names` has the own names, by stage: {"Production": "Live"}."""

    one_production: bool
    stepwise: bool
    no_self_approval: bool
    stage_names: dict[str, str]

    @classmethod
    def of(cls, message: Message, **more: Any) -> Self:
        own: Any = message
        names = {enum_names(_stage_enum(one))[one.stage]: one.name for one in own.stage_names}
        return super().of(message, stage_names=names, **more)


@dataclass(frozen=True, repr=False)
class Model(Record):
    """A registered model with its newest version in each stage."""

    name: str
    description: str
    tags: dict[str, str]
    policy: StagePolicy
    aliases: dict[str, int]
    latest_versions: tuple[ModelVersion, ...]
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class TransitionRequest(Record):
    """A wish to move a version; `available_actions` are those that you may take: "APPROVE", "REJECT", "CANCEL"."""

    name: str
    stage: str
    creator: str
    comment: str
    state: str
    settled_by: str
    create_time: datetime | None
    settle_time: datetime | None
    available_actions: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Transition(Record):
    """A version after its move, and the names of those that were archived for it."""

    model_version: ModelVersion
    archived: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Approval(Record):
    """An approved request, the version after its move, and the names of those that were archived for it."""

    transition_request: TransitionRequest
    model_version: ModelVersion
    archived: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class StageTenure(Record):
    """The time of one version in one stage: since when, and who put it there."""

    model_version: str
    since: datetime | None
    user: str
    activity: str


@dataclass(frozen=True, repr=False)
class Comment(Record):
    """A remark on a version."""

    name: str
    text: str
    author: str
    create_time: datetime | None
    update_time: datetime | None


@dataclass(frozen=True, repr=False)
class Activity(Record):
    """One thing that happened to a version; `rollback` says that going back to an earlier version did it."""

    name: str
    type: str
    user: str
    from_stage: str
    to_stage: str
    comment: str
    create_time: datetime | None
    rollback: bool

    @property
    def model_version(self) -> str:
        """The version's full name."""
        return self.name.rpartition("/activities/")[0]


@dataclass(frozen=True, repr=False)
class ActivityHead(Record):
    """The end of a model's chain of activities. As text, "12:5f0c…", it is kept elsewhere and given back."""

    sequence: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> ActivityHead:
        """Reads what `str` wrote. Raises InvalidArgument for anything else."""
        sequence, colon, digest = text.strip().partition(":")
        if not (colon and sequence.isascii() and sequence.isdigit()):
            raise InvalidArgument(
                f"expected_head is {text!r}; it must be NUMBER:HASH, as `fivefold models verify` prints it",
                reason="FIELD_INVALID",
                facts={"field": "expected_head", "value": text},
            )
        return cls(int(sequence), digest)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


_FAULTS = {
    "EDITED": "is not what was written, or stands where another was",
    "MISSING": "is not there",
    "CUT": "and all after it are not there: the end was cut off",
    "RECOMPUTED": "has a hash that was made anew: it is not the one that led to the head",
    "ADDED": "follows the last that the registry wrote: someone else added it",
}


@dataclass(frozen=True, repr=False)
class Verification(Record):
    """Whether a model's chain of activities is whole; true and false as a bool, a sentence or two as text."""

    model: str
    valid: bool
    count: int
    head: ActivityHead
    first_bad: str
    fault: str

    def __bool__(self) -> bool:
        return self.valid

    def __str__(self) -> str:
        checked = f"{self.count} activit{'y was' if self.count == 1 else 'ies were'} checked"
        if self.valid:
            return f"{self.model}: {checked}, all are as they were written\nhead {self.head}"
        wrong = short(self.first_bad) if self.first_bad else "an activity"
        return f"{self.model}: activity {wrong} {_FAULTS.get(self.fault, self.fault)}\n{checked}"


@dataclass(frozen=True, repr=False)
class Event(Record):
    """One event of the registry; `position` is where to resume after it."""

    position: int
    type: str
    model: str
    model_version: str
    from_stage: str
    to_stage: str
    subject: str
    old_model: str
    user: str
    time: datetime | None


def _stage_enum(message: Any) -> Any:
    return message.DESCRIPTOR.fields_by_name["stage"].enum_type
