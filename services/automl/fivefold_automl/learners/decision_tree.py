"""One decision tree by scikit-learn: the fastest sensible model, and one that can be read."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners.base import Encoding, Guess, Int, Params, Space, Task
from fivefold_automl.spec import Problem


class DecisionTree:
    name = "decision_tree"
    library = "sklearn.tree"
    encoding = Encoding.FILLED

    def space(self, problem: Problem) -> Space:
        return {"max_leaf_nodes": Int(8, 512, log=True), "min_samples_leaf": Int(1, 200, log=True)}

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        return (Guess(0, {"max_leaf_nodes": 32, "min_samples_leaf": 20}),)

    def fit(self, task: Task, params: Params) -> Any:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        kind = DecisionTreeRegressor if task.problem is Problem.REGRESSION else DecisionTreeClassifier
        return kind(**params, random_state=task.seed).fit(task.train, task.train_target)
