"""Linear models by scikit-learn: logistic regression for classes, ridge regression for numbers."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners.base import Choice, Encoding, Float, Guess, Params, Space, Task
from fivefold_automl.spec import Problem


class Linear:
    name = "linear"
    library = "sklearn.linear_model"
    encoding = Encoding.LINEAR

    def space(self, problem: Problem) -> Space:
        if problem is Problem.REGRESSION:
            return {"alpha": Float(1e-3, 1e3, log=True)}
        return {"C": Float(1e-4, 1e2, log=True), "class_weight": Choice((None, "balanced"))}

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        if problem is Problem.REGRESSION:
            return (Guess(20, {"alpha": 1.0}),)
        return (Guess(20, {"C": 0.1, "class_weight": None}),)

    def fit(self, task: Task, params: Params) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        if task.problem is Problem.REGRESSION:
            return Ridge(**params, random_state=task.seed).fit(task.train, task.train_target)
        return LogisticRegression(**params, max_iter=200, random_state=task.seed).fit(task.train, task.train_target)
