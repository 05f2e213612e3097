"""What is served: immutable snapshots of all models, swapped in one assignment.

A call reads the snapshot once and keeps what it found to its end, so every answer comes from exactly one version, and
a version that was swapped out goes when its last call has ended. Writers take a lock; readers never do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from fivefold.models.package import FeatureSpec
from fivefold.models.signature import Column, Signature
from fivefold_serving.predictor import Predictor
from fivefold_serving.versions import Version

Label = str | int | float | bool


class State(Enum):
    """Where a version stands on this server."""

    LOADING = "LOADING"
    LIVE = "LIVE"
    STANDBY = "STANDBY"
    REFUSED = "REFUSED"


class Counter:
    """Rows predicted by one version."""

    def __init__(self) -> None:
        self.rows = 0
        self._lock = threading.Lock()

    def add(self, rows: int) -> None:
        with self._lock:
            self.rows += rows


@dataclass(frozen=True, eq=False)
class Loaded:
    """One version that can answer.

    outputs    columns of its answers: label and probabilities, or prediction
    classes    labels in the order of the predictor's answers; empty for a regressor
    positive   place of the class whose probability a binary classifier answers
    not_null   inputs in which a null is refused
    about      how it predicts, such as `compiled lightgbm` or `native sklearn (…)`
    """

    version: Version
    signature: Signature
    outputs: tuple[Column, ...]
    classes: tuple[Label, ...]
    positive: int
    not_null: frozenset[str]
    feature_spec: FeatureSpec | None
    platform: str
    about: str
    predictor: Predictor
    counter: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Entry:
    """One model on this server.

    live      answers; None: nothing does
    standby   answered before, kept for an instant return
    since     when `live` went live
    loading   numbers of versions on their way
    refused   why a version could not be loaded, by number
    """

    live: Loaded | None = None
    standby: Loaded | None = None
    since: datetime | None = None
    loading: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)

    def loaded(self, number: int) -> Loaded | None:
        """Returns a version that is in memory, by number."""
        return next(
            (one for one in (self.live, self.standby) if one is not None and one.version.number == number), None
        )


class Table:
    """The models of this server, by id."""

    def __init__(self) -> None:
        self.entries: Mapping[str, Entry] = {}
        self._lock = threading.Lock()

    def change(self, model: str, change: Callable[[Entry], Entry | None]) -> None:
        """Replaces one model's entry by what `change` makes of it; None takes the model out."""
        with self._lock:
            entries = dict(self.entries)
            changed = change(entries.get(model, Entry()))
            entries.pop(model, None)
            if changed is not None and changed != Entry():
                entries[model] = changed
            self.entries = entries


def live(loaded: Loaded, now: datetime) -> Callable[[Entry], Entry]:
    """The change that lets a version answer, and keeps the one before."""

    def change(entry: Entry) -> Entry:
        if entry.live is not None and entry.live is loaded:
            return entry
        return replace(
            entry,
            live=loaded,
            standby=entry.live or (entry.standby if entry.standby is not loaded else None),
            since=now,
        )

    return change


def demoted(entry: Entry) -> Entry:
    """The change that lets nothing answer any more."""
    return Entry(standby=entry.live or entry.standby)


def known(numbers: Collection[int]) -> Callable[[Entry], Entry]:
    """The change that forgets why versions were refused that are not in Production any more."""
    return lambda entry: replace(entry, refused={n: why for n, why in entry.refused.items() if n in numbers})


def loading(number: int) -> Callable[[Entry], Entry]:
    """The change that says that a version is on its way."""
    return lambda entry: replace(entry, loading=entry.loading | {number})


def refused(number: int, why: str) -> Callable[[Entry], Entry]:
    """The change that says that a version cannot be served; what is live stays."""
    return lambda entry: replace(entry, refused={**entry.refused, number: why})


def arrived(number: int) -> Callable[[Entry], Entry]:
    """The change that takes a version off the list of those on their way."""
    return lambda entry: replace(entry, loading=entry.loading - {number})


def states(entries: Mapping[str, Entry]) -> list[tuple[str, int, State, str, Loaded | None]]:
    """Returns (model, number, state, why refused, loaded) of everything, by model and number."""
    found: list[tuple[str, int, State, str, Loaded | None]] = []
    for model, entry in entries.items():
        if entry.live is not None:
            found.append((model, entry.live.version.number, State.LIVE, "", entry.live))
        if entry.standby is not None:
            found.append((model, entry.standby.version.number, State.STANDBY, "", entry.standby))
        found += [(model, number, State.LOADING, "", None) for number in entry.loading]
        found += [(model, number, State.REFUSED, why, None) for number, why in entry.refused.items()]
    return sorted(found, key=lambda one: one[:2])
