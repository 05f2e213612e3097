"""What the stores take and hand out: frozen, so that nothing changes under its holder.

Times are whole microseconds since 1970 (UTC), so that both databases and the wire give back exactly what they got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fivefold_runtime.filters.tree import Filter, OrderKey
from fivefold_tracking.lifecycle import RunStatus, View
from fivefold_tracking.metrics import Point, Series
from fivefold_tracking.names import experiment_name, run_name

_SERIES = 3  # points that take as much memory as a series without any

T = TypeVar("T")
Key = tuple[int | float | str | None, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list. `more` is the key of its last item, None when nothing follows."""

    items: tuple[T, ...]
    more: Key | None = None
    total: int = 0  # items of all pages together, where the list counts them


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """A named collection of runs."""

    number: int
    display_name: str
    tags: Mapping[str, str]
    created: int
    updated: int
    deleted: int | None
    etag: str
    artifact_location: str = ""  # where clients keep its artifacts instead of in this service

    @property
    def name(self) -> str:
        return experiment_name(self.number)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Code that a run came from. `type` is a name of SourceType without its prefix, "" when not known."""

    type: str = ""
    name: str = ""
    entry_point: str = ""
    git_commit: str = ""
    git_repo: str = ""


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A dataset that a run used, with the tags of this use."""

    dataset: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be made. `id` is 32 hexadecimal digits, `parent` another run's or ""."""

    id: str
    experiment: int
    display_name: str
    status: RunStatus
    user: str
    started: int
    ended: int | None = None
    parent: str = ""
    source: SourceRecord = SourceRecord()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return run_name(self.id)


@dataclass(frozen=True, slots=True)
class RunChange:
    """New values of a run; None leaves what is there.

    tags  all of them, replaced
    some  single tags, set; None removes one
    """

    status: RunStatus | None = None
    display_name: str | None = None
    ended: int | None = None
    tags: Mapping[str, str] | None = None
    some: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run with what it logged. `metrics` holds the latest point of each metric, by key."""

    id: str
    experiment: int
    display_name: str
    status: RunStatus
    user: str
    started: int
    ended: int | None
    parent: str
    source: SourceRecord
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Point, ...]
    inputs: tuple[InputRecord, ...]
    created: int
    deleted: int | None
    etag: str
    model_inputs: tuple[str, ...] = ()  # ids of the logged models that it used
    outputs: tuple[ModelOutputRecord, ...] = ()

    @property
    def name(self) -> str:
        return run_name(self.id)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call logs to a run: all of it or nothing."""

    points: tuple[Point, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunKeys:
    """Which metrics, params and tags runs have, each by key."""

    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.metrics) + len(self.params) + len(self.tags)


@dataclass(frozen=True, slots=True)
class ExperimentQuery:
    """Which experiments, in which order; equal ones follow newest first."""

    filter: Filter | None = None
    order: tuple[OrderKey, ...] = ()
    view: View = View.ACTIVE


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs, in which order. `parent` is a run's id; "" takes them all."""

    experiments: tuple[int, ...]
    parent: str = ""
    filter: Filter | None = None
    order: tuple[OrderKey, ...] = ()  # equal runs follow latest start first, then by id
    view: View = View.ACTIVE
    counted: bool = True  # whether to say how many there are


@dataclass(frozen=True, slots=True)
class ModelOutputRecord:
    """A logged model that a run made, and at which training step."""

    model: str  # id
    step: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """A file among the artifacts of a run or logged model; a folder has no digest and no size."""

    path: str
    size: int = 0  # bytes
    sha256: str = ""

    @property
    def folder(self) -> bool:
        return not self.sha256


@dataclass(frozen=True, slots=True)
class History:
    """Part of one metric's history. `more` is the key of its last point, None when nothing follows."""

    series: Series
    total: int = 0  # points of the whole history
    more: Key | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A history of one run, thinned out."""

    run: str
    series: Series
    total: int  # points of the whole history


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a watcher has not seen: new points in the order of logging, and of each metric that has some how many its
    watcher has seen with them."""

    series: tuple[Series, ...]
    seen: Mapping[str, int]
    status: RunStatus


@dataclass(frozen=True, slots=True)
class Part:
    """A message of a stream of points."""

    sequence: int
    series: tuple[Series, ...]

    @property
    def size(self) -> int:
        """How many points it has."""
        return sum(map(len, self.series))

    @property
    def weight(self) -> int:
        """How much memory it takes, in points."""
        return self.size + _SERIES * len(self.series)
