"""Random forests by scikit-learn."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners import forests
from fivefold_automl.learners.base import Encoding, Guess, Params, Space, Task
from fivefold_automl.spec import Problem


class RandomForest:
    name = "random_forest"
    library = "sklearn.ensemble"
    encoding = Encoding.FILLED

    def space(self, problem: Problem) -> Space:
        return forests.space(leaves=2048, problem=problem)

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        params = {"n_estimators": 60, "max_leaf_nodes": 256, "min_samples_leaf": 3, "max_features": 0.2}
        return (Guess(60, forests.complete(params, problem)),)

    def fit(self, task: Task, params: Params) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind = RandomForestRegressor if task.problem is Problem.REGRESSION else RandomForestClassifier
        return forests.grow(kind, task, params)
