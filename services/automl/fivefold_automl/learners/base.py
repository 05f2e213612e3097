"""What a learner is: a name, a search space, first guesses, and how it is fitted. One file each beside this one.

Facts (space, guesses) are read inside the service, which has no ML library loaded; `fit` runs in a Ray worker and
imports its library there. A learner sees prepared numbers, never raw columns, and one processor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fivefold_automl.spec import Problem

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number from low to high, both included; `log` searches its order of magnitude."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Float:
    """A number from low to high."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values: numbers, texts, booleans or None."""

    options: tuple[Any, ...]


Space = Mapping[str, Int | Float | Choice]


class Encoding(StrEnum):
    """How columns are prepared.

    ORDINAL  categories as numbers, missing numbers stay missing: for boosting
    FILLED   categories as numbers, missing numbers filled and pointed out: for scikit-learn's trees, which serving
             compiles only when they do not split on missing values
    LINEAR   categories one-hot, numbers filled and scaled
    """

    ORDINAL = "ordinal"
    FILLED = "filled"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class Guess:
    """Params worth trying before any search. All learners' guesses run in the order of `place`: cheap ones first."""

    place: int
    params: Params


@dataclass(frozen=True, slots=True)
class Task:
    """One fit.

    train, valid          n × d and m × d prepared inputs (numpy or scipy.sparse)
    train_target, valid_target
                          class codes from 0 (int64), or numbers (float64)
    classes               0 for regression
    until                 on the clock of time.monotonic(): a learner that can stop early does so then, with what it has
    """

    problem: Problem
    classes: int
    train: Any
    train_target: Any
    valid: Any
    valid_target: Any
    seed: int
    until: float

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() >= self.until


class Learner(Protocol):
    """One kind of model. `library` is what `fit` imports, so that a worker can do it before the clock runs."""

    name: str
    library: str
    encoding: Encoding

    def space(self, problem: Problem) -> Space:
        """Returns what is searched, by param."""
        ...

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        """Returns points of the space worth trying first."""
        ...

    def fit(self, task: Task, params: Params) -> Any:
        """Returns a fitted scikit-learn estimator. Deterministic for a seed as long as `until` does not strike."""
        ...
