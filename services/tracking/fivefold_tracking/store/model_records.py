"""What the stores of logged models and datasets take and hand out, as those of `records.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fivefold_runtime.filters.tree import Filter, OrderKey
from fivefold_tracking.lifecycle import View
from fivefold_tracking.logged import LoggedModelStatus
from fivefold_tracking.metrics import Point
from fivefold_tracking.names import logged_model_name


@dataclass(frozen=True, slots=True)
class MeasuredRecord:
    """The latest point of a logged model's metric, by the run that logged it and what it was measured on."""

    point: Point
    run: str


@dataclass(frozen=True, slots=True)
class NewLoggedModel:
    """A logged model that is to be made. `id` is `m-` and 32 hexadecimal digits, `source_run` a run's or ""."""

    id: str
    experiment: int
    display_name: str
    model_type: str = ""
    source_run: str = ""
    status: LoggedModelStatus = LoggedModelStatus.PENDING
    status_message: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedModelChange:
    """New values of a logged model; None leaves what is there.

    params  added to those that are there
    tags    all of them, replaced
    some    single tags, set; None removes one
    """

    status: LoggedModelStatus | None = None
    status_message: str | None = None
    display_name: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None
    some: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedModelRecord:
    """A logged model with everything that belongs to it. `metrics` are by key, dataset, digest and run."""

    id: str
    experiment: int
    display_name: str
    model_type: str
    source_run: str
    status: LoggedModelStatus
    status_message: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[MeasuredRecord, ...]
    created: int
    updated: int
    deleted: int | None
    etag: str

    @property
    def name(self) -> str:
        return logged_model_name(self.id)


@dataclass(frozen=True, slots=True)
class LoggedModelQuery:
    """Which logged models, in which order.

    datasets  (name, digest) of what metrics must have been measured on, "" for any digest; none: whatever
    order     equal ones follow newest first
    """

    experiments: tuple[int, ...]
    filter: Filter | None = None
    datasets: tuple[tuple[str, str], ...] = ()
    order: tuple[OrderKey, ...] = ()
    view: View = View.ACTIVE


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A dataset of an experiment, and the contexts in which its runs used it."""

    experiment: int
    dataset: str
    digest: str
    contexts: tuple[str, ...]
