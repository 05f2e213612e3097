"""Saves and loads scikit-learn models as skops files, pipelines with LightGBM and XGBoost estimators in them included.

Loading runs no code of the package's choice: a type must be one of scikit-learn's own that skops trusts, or be named in
ALLOWED below. The list belongs to the loader; what a package says about trusted types is read by MLflow, never by us.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack
from zipfile import BadZipFile

import skops.io

from fivefold.models import package
from fivefold.models.package import About, Package, PackageInvalid

FILE = "model.skops"
ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)
_NEEDS = ("scikit-learn", "skops", "numpy", "pandas", "lightgbm", "xgboost", "xgboost-cpu")


def save(model: Any, folder: str | Path, **about: Unpack[About]) -> Package:
    """Writes a fitted estimator or pipeline as a package into a new or empty folder, and returns its description.

    Raises PackageInvalid for a model with a type that `load` would refuse; nothing is written then.
    """
    folder = Path(folder)
    content = skops.io.dumps(model)
    trusted = _trusted(content)
    described = package.describe(
        "sklearn",
        {
            "pickled_model": FILE,
            "serialization_format": "skops",
            "sklearn_version": package.version("scikit-learn"),
            "skops_trusted_types": trusted,
        },
        {"model_path": FILE, "predict_fn": "predict"},
        about,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(content)
    family = {name.partition(".")[0] for name in trusted}
    needs = [name for name in _NEEDS if name.split("-")[0] in family | {"scikit", "skops", "numpy", "pandas"}]
    package.write(folder, described, needs)
    return described


def load(folder: str | Path) -> Any:
    """Returns the fitted model of a package. Raises PackageInvalid, which names what is not allowed."""
    folder = Path(folder)
    flavor = package.read(folder).flavors.get("sklearn")
    if flavor is None:
        raise PackageInvalid("the package has no sklearn flavor")
    if flavor.get("serialization_format") != "skops" or flavor.get("pickled_model") != FILE:
        raise PackageInvalid(
            f"the sklearn flavor is stored as {str(flavor.get('serialization_format', 'pickle'))[:40]!r};"
            f" only skops in {FILE} is loaded, because a pickle runs code"
        )
    try:
        content = (folder / FILE).read_bytes()
    except OSError:
        raise PackageInvalid(f"{FILE} is missing") from None
    trusted = _trusted(content)
    try:
        return skops.io.loads(content, trusted=trusted)
    except Exception as error:  # skops and the types it builds raise whatever their state makes them
        raise PackageInvalid(f"{FILE} does not load: {type(error).__name__}") from error


def _trusted(content: bytes) -> list[str]:
    """Returns the types in a skops file that need ALLOWED. Raises PackageInvalid when one is not in it."""
    try:
        found = skops.io.get_untrusted_types(data=content)
    except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise PackageInvalid(f"{FILE} is no skops file") from None
    refused = sorted(set(found) - ALLOWED)
    if refused:
        raise PackageInvalid(f"{FILE} holds types that are not allowed: {', '.join(refused[:5])[:400]}")
    return sorted(found)
