"""Learners that misbehave, for tests. They travel to Ray workers with the job, as any learner does."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from fivefold_automl.learners.base import Choice, Encoding, Guess, Params, Space, Task
from fivefold_automl.learners.decision_tree import DecisionTree
from fivefold_automl.spec import Problem


@dataclass(frozen=True)
class Odd:
    """One param, one guess at a place that the test chooses."""

    name: str
    place: int
    library: str = "sklearn.tree"
    encoding: Encoding = Encoding.FILLED

    def space(self, problem: Problem) -> Space:
        return {"kind": Choice(tuple(range(100)))}

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        return (Guess(self.place, {"kind": 0}),)

    def fit(self, task: Task, params: Params) -> Any:
        return DecisionTree().fit(task, {"max_leaf_nodes": 8, "min_samples_leaf": 5})


class Failing(Odd):
    """Raises."""

    def fit(self, task: Task, params: Params) -> Any:
        raise ValueError("a secret of the data")


class Slow(Odd):
    """Takes a minute and does not look at the clock."""

    def fit(self, task: Task, params: Params) -> Any:
        time.sleep(60)
        return super().fit(task, params)


@dataclass(frozen=True)
class Killer(Odd):
    """Kills its own process, the first time that it is called in a folder."""

    folder: str = ""

    def fit(self, task: Task, params: Params) -> Any:
        try:
            os.close(os.open(os.path.join(self.folder, "killed"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().fit(task, params)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")
