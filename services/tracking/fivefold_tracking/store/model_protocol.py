"""What the stores of logged models and datasets promise, as those of `protocol.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from fivefold_tracking.store.model_records import (
    DatasetRecord,
    LoggedModelChange,
    LoggedModelQuery,
    LoggedModelRecord,
    NewLoggedModel,
)
from fivefold_tracking.store.records import Key, ModelOutputRecord, Page


class LoggedModelStore(Protocol):
    """Logged models, and which runs used and made them."""

    def create(self, new: NewLoggedModel, now: int) -> LoggedModelRecord:
        """Adds one. Raises ExperimentDeleted, NotFound for a source run that is not of its experiment."""
        ...

    def get(self, model: str) -> LoggedModelRecord:
        """Returns one with everything, deleted or not."""
        ...

    def experiment_of(self, model: str) -> int:
        """Returns the number of the experiment that a logged model belongs to."""
        ...

    def search(self, query: LoggedModelQuery, after: Key | None, limit: int) -> Page[LoggedModelRecord]:
        """Returns logged models in the order asked for. Pages may be shorter than `limit` where they are big.

        The key is (rank, value) of each part of the order, then (creation, id); a rank is 0 to 2.
        """
        ...

    def update(self, model: str, change: LoggedModelChange, etag: str, now: int) -> LoggedModelRecord:
        """Changes the logged model itself; its etag changes.

        Raises LoggedModelDeleted, EtagMismatch, ParamChanged, TooManyItems.
        """
        ...

    def delete(self, model: str, now: int) -> None:
        """Deletes it softly. Raises LoggedModelDeleted."""
        ...

    def log_inputs(self, run: str, models: Iterable[str]) -> None:
        """Adds logged models of any experiment that a run used. Raises RunDeleted."""
        ...

    def log_outputs(self, run: str, outputs: Iterable[ModelOutputRecord]) -> None:
        """Adds logged models of its experiment that a run made, or changes their steps. Raises RunDeleted."""
        ...


class DatasetStore(Protocol):
    """Datasets that runs used."""

    def list(self, experiments: Sequence[int], after: Key | None, limit: int) -> Page[DatasetRecord]:
        """Returns datasets by experiment, name and digest, which are the key."""
        ...
