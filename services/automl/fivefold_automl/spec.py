"""What a job is asked to do: problem, data, metric, limits. Immutable, checked once, stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

DEFAULT_BUDGET_SECONDS = 300.0
LONGEST_BUDGET_SECONDS = 86_400.0
DEFAULT_VALIDATION_SHARE = 0.2
FEWEST_ROWS = 10


class Problem(StrEnum):
    """What is to be learnt."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """The request, with defaults filled in.

    training_set      full name, trainingSets/{training_set}
    positive_class    as text; "" means the greater of two
    metric            a name of metrics.METRICS; "" means the problem's default, known when the classes are counted
    time_column       "" means a random choice of validation rows
    validation_share  above 0, at most 0.5
    budget_seconds    wall time from the first trial
    max_trials        0 means no limit
    """

    problem: Problem
    training_set: str
    target: str
    positive_class: str = ""
    metric: str = ""
    time_column: str = ""
    validation_share: float = DEFAULT_VALIDATION_SHARE
    exclude_columns: tuple[str, ...] = ()
    exclude_learners: tuple[str, ...] = ()
    budget_seconds: float = DEFAULT_BUDGET_SECONDS
    max_trials: int = 0
    seed: int = 0
    experiment: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> JobSpec:
        return cls(
            **{
                **stored,
                "problem": Problem(stored["problem"]),
                "exclude_columns": tuple(stored["exclude_columns"]),
                "exclude_learners": tuple(stored["exclude_learners"]),
            }
        )
