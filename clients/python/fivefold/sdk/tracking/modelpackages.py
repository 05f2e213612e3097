"""Makes a package of a fitted model for a run: picks the flavor, finds the signature from a few rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.extras import need

_EXAMPLE_ROWS = 5
_FLAVORS = {  # by type; every other type is scikit-learn's or behaves as such
    "xgboost.core.Booster": "fivefold.models.xgboost",
    "xgboost.sklearn.XGBClassifier": "fivefold.models.xgboost",
    "xgboost.sklearn.XGBRegressor": "fivefold.models.xgboost",
    "lightgbm.basic.Booster": "fivefold.models.lightgbm",
}


@contextmanager
def packaged(model: Any, example: Any, outputs: Any, about: Mapping[str, Any]) -> Iterator[Path]:
    """Yields a folder with the model's package, which is gone after the block.

    example  rows of what the model was trained on: a pandas frame, a numpy array or a list of lists
    outputs  columns that it answers; None: as served models answer

    Raises InvalidArgument for an example that is no table, PackageInvalid for a model that no safe format holds.
    """
    signature = need("fivefold.models.signature", "log_model()")
    frame, unnamed = _frame(example)
    columns = signature.infer(frame)
    answered = tuple(outputs) if outputs is not None else _outputs(model, signature)
    described = signature.Signature(columns, answered, unnamed)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    flavor = import_module(_FLAVORS.get(kind, "fivefold.models.sklearn"))
    with tempfile.TemporaryDirectory(prefix="fivefold-model-") as scratch:
        folder = Path(scratch) / "model"
        flavor.save(model, folder, signature=described, input_example=frame, **about)
        yield folder


def _frame(example: Any) -> tuple[Any, bool]:
    """Returns (the first rows as a pandas frame with text for names, whether they had no names)."""
    pandas = need("pandas", "log_model()")
    if hasattr(example, "tocsr"):  # scipy's sparse matrices
        example = example.tocsr()[:_EXAMPLE_ROWS].toarray()
    unnamed = not hasattr(example, "columns")
    try:
        frame = pandas.DataFrame(example[:_EXAMPLE_ROWS] if unnamed else example.head(_EXAMPLE_ROWS))
    except (ValueError, TypeError, AttributeError):
        raise InvalidArgument(
            f"the example is a {type(example).__name__}; it must be a frame or a matrix of a few rows",
            reason="FIELD_INVALID",
        ) from None
    frame.columns = [str(name) for name in frame.columns]
    return frame, unnamed


def _outputs(model: Any, signature: Any) -> tuple[Any, ...]:
    """Returns `prediction`, or `label` and probabilities of a classifier, as served models answer."""
    column = signature.Column
    classes = list(getattr(model, "classes_", ()))
    if not classes or not hasattr(model, "predict_proba"):
        return (column("prediction", "double", True),)
    first = classes[0].item() if hasattr(classes[0], "item") else classes[0]
    label = column("label", {bool: "bool", int: "int64", str: "string"}.get(type(first), "string"), True)
    if len(classes) == 2:
        return label, column("probability", "double", True)
    return label, *(column(f"probability_{each}", "double", True) for each in classes)
