"""What random forests and extra trees share: their space, and growing in steps so that they can stop in time."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners.base import Choice, Float, Int, Params, Space, Task
from fivefold_automl.spec import Problem

_STEP = 5  # trees between two looks at the clock


def space(leaves: int, problem: Problem) -> Space:
    """Returns the space of a forest whose trees have at most `leaves` leaves."""
    shared: dict[str, Int | Float | Choice] = {
        "n_estimators": Int(60, 240, log=True),
        "max_leaf_nodes": Int(64, leaves, log=True),
        "min_samples_leaf": Int(1, 30, log=True),
        "max_features": Float(0.1, 1.0),
    }
    if problem is Problem.CLASSIFICATION:
        shared["class_weight"] = Choice((None, "balanced"))
    return shared


def complete(params: Params, problem: Problem) -> Params:
    """Adds to a guess what only classification has."""
    return {**params, "class_weight": None} if problem is Problem.CLASSIFICATION else params


def grow(kind: Any, task: Task, params: Params) -> Any:
    """Fits a scikit-learn forest of class `kind`, some trees at a time until all are there or the time is up."""
    settings = dict(params)
    wanted = settings.pop("n_estimators")
    forest = kind(**settings, n_jobs=1, random_state=task.seed, warm_start=True)
    for trees in [*range(_STEP, wanted, _STEP), wanted]:
        forest.set_params(n_estimators=trees).fit(task.train, task.train_target)
        if task.out_of_time:
            break
    return forest.set_params(warm_start=False)
