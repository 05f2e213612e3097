"""A compiled model on disk: `plan.json` beside the text files of its trees. Data only, no code, no pickles.

A plan is a tree of nodes. A node makes a matrix from input columns where it has `features`, else it gets its parent's;
then it is one of
    {"type": "trees",   "file": name, "link": LINK, "single": bool, "zero_is_missing": bool, "width": features}
    {"type": "linear",  "coefficients": [[...], ...], "intercepts": [...], "link": LINK}
    {"type": "average", "weights": [...], "members": [node, ...]}
and answers [rows, classes] probabilities, or [rows, 1] predictions. LINK is one of `identity`, `logistic`, `softmax`.
`single`: features are rounded to float32 first. `zero_is_missing`: as where scikit-learn handed XGBoost a sparse
matrix.

A feature is one of
    {"type": "number", "column": name, "ops": [[OP, number], ...]} {"type": "present", "column": name, "missing":
    number, "there": number} {"type": "choice", "column": name, "keys": [...], "codes": [[...], ...], "missing":
    [...]|null, "unknown": [...]|null}
OP is one of `impute`, `subtract`, `divide`, `multiply`, `add`, `least`, `most`, in the order in which scikit-learn
applies them, so that not one bit differs at the edge of a split. A choice answers several features at once:
a row of `codes` for each key, `missing` for null, `unknown` for any other; null there: such a value is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "plan.json"
FORMAT = 1
TASKS = ("classification", "regression")
LINKS = ("identity", "logistic", "softmax")
OPS = ("impute", "subtract", "divide", "multiply", "add", "least", "most")

Node = Mapping[str, Any]


class PlanInvalid(Exception):
    """The plan on disk is not one that this version runs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    task        one of TASKS
    classes     labels in the order of the answers' columns; empty for regression
    columns     inputs that are read
    not_null    inputs in which the model itself refuses a missing value
    root        the first node; None: not compiled, and `why_not` says why
    """

    task: str
    classes: tuple[str | int | float | bool, ...]
    columns: tuple[str, ...]
    not_null: tuple[str, ...]
    root: Node | None
    why_not: str = ""
    about: str = ""

    def write(self, folder: Path) -> None:
        content = {
            "format": FORMAT, "task": self.task, "classes": self.classes, "columns": self.columns,
            "not_null": self.not_null, "root": self.root, "why_not": self.why_not, "about": self.about,
        }  # fmt: skip
        (folder / FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Raises PlanInvalid."""
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["task"] not in TASKS:
                raise PlanInvalid("the plan is of another format")
            return cls(
                content["task"], tuple(content["classes"]), tuple(content["columns"]), tuple(content["not_null"]),
                content["root"], content["why_not"], content["about"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            raise PlanInvalid("the plan is missing or broken") from None


def leaves(node: Node) -> Sequence[Node]:
    """Returns the nodes that compute: trees and linear models."""
    if node["type"] == "average":
        return [leaf for member in node["members"] for leaf in leaves(member)]
    return [node]
