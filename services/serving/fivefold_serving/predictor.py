"""What answers for one version, and the compiled one: features, then trees or linear models, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fivefold_serving.columns import Columns
from fivefold_serving.features import Features
from fivefold_serving.kernel import Trees
from fivefold_serving.plan import Node, Plan

Answers = NDArray[np.float64]
Run = Callable[[Columns, int, Answers | None], Answers]


class Predictor(Protocol):
    """Answers [rows, classes] probabilities of a classifier, [rows, 1] values of a regressor.

    Safe for use by many threads. Raises ValueRefused for a value that the model has no answer for.
    """

    def __call__(self, columns: Columns, rows: int) -> Answers: ...

    def close(self) -> None: ...


class Compiled:
    """Runs a plan. Holds numpy arrays and LightGBM handles, nothing of scikit-learn."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Reads the trees that the plan names from `folder`. Raises KernelError."""
        assert plan.root is not None
        self._run = _node(plan.root, folder)
        self._pair = plan.task == "classification" and len(plan.classes) == 2

    def __call__(self, columns: Columns, rows: int) -> Answers:
        answers = self._run(columns, rows, None)
        if self._pair and answers.shape[1] == 1:
            return np.hstack([1.0 - answers, answers])
        return answers

    def close(self) -> None:
        """Nothing to do: the handles go with the last call that uses them."""


def _node(node: Node, folder: Path) -> Run:
    own = Features(node["features"]) if "features" in node else None
    compute = _KINDS[node["type"]](node, folder)

    def run(columns: Columns, rows: int, matrix: Answers | None) -> Answers:
        return compute(columns, rows, own(columns, rows) if own else matrix)

    return run


def _trees(node: Node, folder: Path) -> Run:
    trees = Trees((folder / node["file"]).read_text("utf-8"), node["width"])
    link, single, zero_is_missing = _LINKS[node["link"]], node["single"], node["zero_is_missing"]

    def run(columns: Columns, rows: int, matrix: Answers | None) -> Answers:
        taken: Any = matrix
        if single:
            taken = taken.astype(np.float32).astype(np.float64)
        if zero_is_missing:
            taken = np.where(taken == 0.0, np.nan, taken)
        return link(trees(taken))

    return run


def _linear(node: Node, folder: Path) -> Run:
    coefficients = np.array(node["coefficients"], float).T.copy()
    intercepts = np.array(node["intercepts"], float)
    link = _LINKS[node["link"]]

    def run(columns: Columns, rows: int, matrix: Answers | None) -> Answers:
        return link(matrix @ coefficients + intercepts)

    return run


def _average(node: Node, folder: Path) -> Run:
    weights = np.array(node["weights"], float)
    weights = weights / weights.sum()
    members = [_node(member, folder) for member in node["members"]]

    def run(columns: Columns, rows: int, matrix: Answers | None) -> Answers:
        total = weights[0] * members[0](columns, rows, matrix)
        for weight, member in zip(weights[1:], members[1:], strict=True):
            total = total + weight * member(columns, rows, matrix)
        return total

    return run


def _logistic(scores: Answers) -> Answers:
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-scores))


def _softmax(scores: Answers) -> Answers:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


_KINDS = {"trees": _trees, "linear": _linear, "average": _average}
_LINKS: dict[str, Callable[[Answers], Answers]] = {
    "identity": lambda scores: scores,
    "logistic": _logistic,
    "softmax": _softmax,
}
