"""What the stores of tracking promise. One contract test proves every adapter.

Every method is one transaction, or joins the one that is running. What raises changes nothing. `now` is the caller's
time in microseconds. All raise NotFound for an experiment, run or file that is not there. Whether the caller may do it
has been checked before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fivefold_runtime.masks import Entries
from fivefold_runtime.policy import Authorizer
from fivefold_tracking.store.records import (
    Batch,
    Curve,
    ExperimentQuery,
    ExperimentRecord,
    Fresh,
    History,
    InputRecord,
    Key,
    NewRun,
    Page,
    Part,
    RunChange,
    RunKeys,
    RunQuery,
    RunRecord,
)


class ExperimentStore(Protocol):
    """Experiments. At most one active one has a display name, whatever the concurrency."""

    def create(
        self, display_name: str, tags: Mapping[str, str], now: int, artifact_location: str = ""
    ) -> ExperimentRecord:
        """Adds one under the next number, from 1 on; the caller manages it. Raises DisplayNameTaken."""
        ...

    def ensure(
        self, display_name: str, tags: Mapping[str, str], now: int, artifact_location: str = ""
    ) -> ExperimentRecord:
        """Returns the active one of that display name, made by this call if there was none."""
        ...

    def get(self, number: int) -> ExperimentRecord:
        """Returns one, deleted or not."""
        ...

    def lookup(self, display_name: str) -> ExperimentRecord:
        """Returns the active one of that display name."""
        ...

    def list(
        self, authorizer: Authorizer, query: ExperimentQuery, after: Key | None, limit: int
    ) -> Page[ExperimentRecord]:
        """Returns those that the caller may read and the query asks for, in its order.

        The key is (0, value) for each key of the order, completed by the number.
        """
        ...

    def update(
        self,
        number: int,
        *,
        display_name: str | None,
        tags: Mapping[str, str] | None,
        etag: str,
        now: int,
        some: Entries = ...,
    ) -> ExperimentRecord:
        """Sets what is not None; tags are replaced as a whole, then some of them set, or removed where None.

        Raises DisplayNameTaken, ExperimentDeleted, EtagMismatch, TooManyItems.
        """
        ...

    def delete(self, number: int, etag: str, now: int) -> ExperimentRecord:
        """Deletes it softly; its runs count as deleted and its display name is free.

        Raises ExperimentDeleted, EtagMismatch.
        """
        ...

    def undelete(self, number: int, now: int) -> ExperimentRecord:
        """Brings it back with the runs that were not deleted by themselves. Raises DisplayNameTaken."""
        ...


class RunStore(Protocol):
    """Runs and what they log."""

    def create(self, new: NewRun, now: int) -> RunRecord:
        """Adds one. Raises ExperimentDeleted, and RunDeleted for its parent."""
        ...

    def get(self, run: str) -> RunRecord:
        """Returns one with everything, deleted or not."""
        ...

    def experiment_of(self, run: str) -> int:
        """Returns the number of the experiment that a run belongs to."""
        ...

    def update(self, run: str, change: RunChange, etag: str, now: int) -> RunRecord:
        """Changes the run itself; its etag changes. Raises RunDeleted, EtagMismatch, TooManyItems."""
        ...

    def delete(self, run: str, now: int) -> RunRecord:
        """Deletes it softly. Raises RunDeleted."""
        ...

    def undelete(self, run: str) -> RunRecord:
        """Brings it back. Raises ExperimentDeleted."""
        ...

    def delete_started(self, experiment: int, until: int, limit: int, now: int) -> int:
        """Deletes active runs that started then or before, oldest first; returns how many. Raises ExperimentDeleted."""
        ...

    def undelete_since(self, experiment: int, since: int, limit: int) -> int:
        """Brings back runs that were deleted then or later, oldest deletion first; returns how many.

        Raises ExperimentDeleted.
        """
        ...

    def search(self, query: RunQuery, after: Key | None, limit: int) -> Page[RunRecord]:
        """Returns runs in the order asked for, without the schemas and profiles of their inputs, and counts them all.

        The key is (rank, value) for each key of the order, completed by start and id, long texts cut; pages may be
        shorter than `limit` where runs are big.
        """
        ...

    def keys(self, query: RunQuery, limit: int) -> RunKeys:
        """Returns which metrics, params and tags the runs of a query have, at most so many of each."""
        ...

    def log(self, run: str, batch: Batch, *, allow_ended: bool = False) -> None:
        """Adds points to histories, params that must not have another value, and tags, all or none.

        Raises RunDeleted, ParamChanged, TooManyItems; for points of a run that has ended RunEnded, unless `allow_ended`; NotFound for a
        point's logged model that is not of the run's experiment.
        """
        ...

    def log_inputs(self, run: str, inputs: Iterable[InputRecord]) -> None:
        """Adds datasets, or tags to those that the run has already. Raises RunDeleted.

        An experiment keeps the first description of a dataset (name and digest).
        """
        ...


class MetricStore(Protocol):
    """Histories of metrics, and the streams that write them. A step range of None has no end on that side."""

    def points(
        self, run: str, key: str, after: Key | None, limit: int, lowest: int | None = None, highest: int | None = None
    ) -> History:
        """Returns a page of a history by step, time and order of logging. The key is (step, time, place)."""
        ...

    def sample(
        self,
        runs: Sequence[str],
        keys: Sequence[str],
        most: int,
        lowest: int | None = None,
        highest: int | None = None,
        altogether: int = 200_000,
    ) -> tuple[Curve, ...]:
        """Returns at most `most` points of each history that has some, by run and key in the order given.

        They are all of a history, or of about equal parts of it, by step, the first, last, least and greatest point and
        one NaN. All curves together have at most `altogether` points.
        """
        ...

    def counts(self, run: str) -> Mapping[str, int]:
        """Returns how many points each metric of a run has."""
        ...

    def since(self, run: str, keys: Sequence[str], seen: Mapping[str, int], most: int) -> Fresh:
        """Returns points beyond the first `seen` of each metric, in the order of their commits, at most so many.

        keys  only these metrics; empty: all. Nothing is skipped: what commits later comes later.
        """
        ...

    def acknowledged(self, run: str, stream: str) -> int:
        """Returns up to which sequence number a stream is on disk, 0 for one that is not known."""
        ...

    def append(self, run: str, stream: str, parts: Sequence[Part]) -> int:
        """Adds the points of parts that are not on disk yet, all or none; returns what is on disk then.

        Raises RunDeleted, RunEnded, StreamOrder when a sequence number is left out.
        """
        ...
