"""What the compiler's child hands to its parent beside the plan: rows, and what the native model answers for them."""

from __future__ import annotations

import numpy as np

from fivefold_serving.columns import Columns, Values, packed, unpacked
from fivefold_serving.predictor import Answers

FILE = "check.bin"
REFUSED = 3  # exit code of the child for a package that can be served in no way; it says why on stdout
_ANSWER = "answer "  # begins the names of columns with native answers, which no input of the same rows can clash with


def written(rows: Columns, answers: Answers) -> bytes:
    """Returns rows and answers [rows, classes] as bytes."""
    inputs: dict[str, Values] = {f"input {name}": values for name, values in rows.items()}
    return packed(inputs | {f"{_ANSWER}{place}": answers[:, place] for place in range(answers.shape[1])})


def read(raw: bytes) -> tuple[dict[str, Values], Answers]:
    """Reads what `written` wrote."""
    columns = unpacked(raw)
    answers = [np.asarray(values, float) for name, values in columns.items() if name.startswith(_ANSWER)]
    rows = {name.removeprefix("input "): values for name, values in columns.items() if name.startswith("input ")}
    return rows, np.column_stack(answers)
