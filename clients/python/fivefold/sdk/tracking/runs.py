"""Runs as records: where they came from, what they logged, what they used and made."""

from __future__ import annotations

import operator
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.records import Record, enum_number
from fivefold.tracking.v1 import tracking_pb2 as pb


@dataclass(frozen=True, repr=False)
class Source(Record):
    """Code that a run came from."""

    type: str
    name: str
    entry_point: str
    git_commit: str
    git_repo: str


@dataclass(frozen=True, repr=False)
class DatasetInput(Record):
    """A dataset that a run used; `schema` and `profile` are JSON."""

    dataset: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str
    tags: dict[str, str]


@dataclass(frozen=True, repr=False)
class ModelOutput(Record):
    """A logged model that a run made, at a training step."""

    logged_model: str
    step: int


@dataclass(frozen=True, repr=False)
class Run(Record):
    """One execution of training code; `metrics` has the latest value of each."""

    name: str
    experiment: str
    display_name: str
    status: str
    user: str
    start_time: datetime | None
    end_time: datetime | None
    parent_run: str
    source: Source
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    inputs: tuple[DatasetInput, ...]
    model_inputs: tuple[str, ...]
    outputs: tuple[ModelOutput, ...]
    delete_time: datetime | None
    etag: str

    @classmethod
    def of(cls, message: Any, **more: Any) -> Run:
        """Makes the record from its message."""
        latest = {point.key: point.value for point in message.metrics}
        return super().of(message, metrics=latest, **more)


_KEY = re.compile(r"[/\w.\- :]+")
_LONGEST_KEY = 250  # bytes
ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})  # statuses after which nothing follows


def texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns values of params or tags as the text that is stored of them."""
    return {key: value if isinstance(value, str) else str(value) for key, value in (values or {}).items()}


def view_number(view: str) -> Any:
    """Returns the number of "active", "deleted" or "all". Raises InvalidArgument for another word."""
    return enum_number(pb.View, view, "view")


def check_key(key: str) -> str:
    """Returns a metric's key. Raises InvalidArgument (NAME_INVALID) for one that the service would refuse.

    What is logged in the background would otherwise be refused where nobody looks.
    """
    fits = isinstance(key, str) and _KEY.fullmatch(key) and len(key.encode()) <= _LONGEST_KEY
    if not fits or posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        raise InvalidArgument(
            f"metric {key!r} has a key that is not allowed: at most 250 bytes of letters, digits, _ - . / : and spaces,"
            " and no slash at an end or twice in a row",
            reason="NAME_INVALID",
            facts={"key": str(key)},
        )
    return key


def number(key: str, value: Any) -> float:
    """Returns a metric's value as a float. Raises InvalidArgument for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(
            f"metric {key!r} is {value!r}; it must be a number", reason="FIELD_INVALID", facts={"metric": key}
        ) from None


def check_step(step: int) -> int:
    """Returns a training step as an int. Raises InvalidArgument for what is no integer of 64 bits."""
    try:
        whole = operator.index(step)
    except TypeError:
        whole = None
    if whole is None or not -(1 << 63) <= whole < 1 << 63:
        raise InvalidArgument(
            f"step is {step!r}; it must be an integer of 64 bits", reason="FIELD_INVALID", facts={"field": "step"}
        )
    return whole
