"""Extremely randomised trees by scikit-learn."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners import forests
from fivefold_automl.learners.base import Encoding, Guess, Params, Space, Task
from fivefold_automl.spec import Problem


class ExtraTrees:
    name = "extra_trees"
    library = "sklearn.ensemble"
    encoding = Encoding.FILLED

    def space(self, problem: Problem) -> Space:
        return forests.space(leaves=4096, problem=problem)

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        params = {"n_estimators": 60, "max_leaf_nodes": 512, "min_samples_leaf": 3, "max_features": 0.5}
        return (Guess(50, forests.complete(params, problem)),)

    def fit(self, task: Task, params: Params) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        kind = ExtraTreesRegressor if task.problem is Problem.REGRESSION else ExtraTreesClassifier
        return forests.grow(kind, task, params)
