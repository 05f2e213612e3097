"""Compiles one package, in a process of its own: `python -m fivefold_serving.compile PACKAGE OUT`.

Reads  PACKAGE, a folder of verified files.
Writes OUT/plan.json and the trees it names, and OUT/check.bin: rows with the native answers, for the parent to compare.
Ends   with 0; or with 3 and one line on stdout that says why the package cannot be served at all.

A model whose parts have no compiled form, or whose compiling fails in any way, gets a plan without root that says why;
the parent then serves it natively.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.models.package import PackageInvalid
from fivefold.models.signature import SignatureInvalid
from fivefold_serving import check, isolation
from fivefold_serving.columns import Values
from fivefold_serving.compiler import NotCompilable, estimators, examples, symbols
from fivefold_serving.compiler.symbols import Feature
from fivefold_serving.native import Native
from fivefold_serving.plan import Plan
from fivefold_serving.predictor import Answers

_CPU_SECONDS = 300


def run(package: Path, out: Path) -> None:
    """Compiles. Raises PackageInvalid for a package that can be served in no way."""
    native = Native(package)
    not_null = _not_null(native)
    root: dict[str, Any] | None = None
    about, why_not, columns = native.flavor, "", tuple(column.name for column in native.signature.inputs)
    try:
        writer = estimators.Writer(out)
        root = _root(native, writer)
        columns = tuple(name for name in columns if name in writer.columns)
        about = " + ".join(dict.fromkeys(writer.kinds))
    except NotCompilable as error:
        why_not = str(error)
    except Exception as error:  # The compiler reads fitted attributes, which a library's next release may change.
        traceback.print_exc()
        root, why_not = None, f"the compiler failed with {type(error).__name__}"
    plan = Plan(native.task, native.classes, columns, tuple(sorted(not_null)), root, why_not, about)
    plan.write(out)
    (out / check.FILE).write_bytes(check.written(*_answered(native, not_null)))


def _root(native: Native, writer: estimators.Writer) -> dict[str, Any]:
    model = native.model
    by_name = {column.name: column for column in native.signature.inputs}
    features: list[Feature] = []
    for name in native.names or by_name:
        kind = by_name[name].type
        if kind in ("timestamp", "date"):
            raise NotCompilable(f"column {name!r} of type {kind} has no compiled form")
        features.append(
            symbols.Text(name, none=native.missing_text is None) if kind == "string" else symbols.Number(name)
        )
    if native.flavor == "lightgbm":
        made = estimators.of_lightgbm(model, features, writer, lambda: None)
    elif native.flavor == "xgboost" and type(model).__name__ == "Booster":
        made = estimators.of_xgboost(model, features, writer, False)
    else:
        made = estimators.node(model, features, writer)
    return estimators.over(features, made, writer)


def _not_null(native: Native) -> set[str]:
    """Returns the inputs in which the model itself refuses a missing value."""
    rows = examples.of(native.package, native.model, {column.name for column in native.signature.inputs})
    one = {name: values[:1] for name, values in rows.items()}
    try:
        native(one, 1)
    except ValueError as error:
        raise PackageInvalid("the model refuses the example of its own package") from error
    refused = set()
    for column in native.signature.inputs:
        absent: Values = [None] if column.type == "string" else np.array([np.nan])
        try:
            native(one | {column.name: absent}, 1)
        except ValueError:
            refused.add(column.name)
    return refused


def _answered(native: Native, not_null: set[str]) -> tuple[dict[str, Values], Answers]:
    """Returns the check rows and the native answers; rows that the model refuses (unknown categories) are left out."""
    rows = examples.of(native.package, native.model, not_null)
    count = len(next(iter(rows.values())))
    kept, answers = [], []
    try:
        answers = list(native(rows, count))
        kept = list(range(count))
    except ValueError:
        for row in range(count):
            try:
                answers.append(native({name: values[row : row + 1] for name, values in rows.items()}, 1)[0])
                kept.append(row)
            except ValueError:
                continue
    taken: dict[str, Values] = {
        name: values[kept] if isinstance(values, np.ndarray) else [values[row] for row in kept]
        for name, values in rows.items()
    }
    return taken, np.array(answers).reshape(len(kept), max(1, len(native.classes)))


def main(arguments: list[str]) -> int:
    isolation.enter(_CPU_SECONDS)
    try:
        run(Path(arguments[0]), Path(arguments[1]))
    except (PackageInvalid, SignatureInvalid) as error:
        print(error)
        return check.REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
