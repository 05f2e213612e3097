"""Saves and loads XGBoost models as UBJSON or JSON, the forms that MLflow's xgboost flavor uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from fivefold.models import package
from fivefold.models.package import About, Package, PackageInvalid

FILES = ("model.ubj", "model.json")
_KINDS = {
    "xgboost.core.Booster": "Booster",
    "xgboost.sklearn.XGBClassifier": "XGBClassifier",
    "xgboost.sklearn.XGBRegressor": "XGBRegressor",
}


def save(model: Any, folder: str | Path, **about: Unpack[About]) -> Package:
    """Writes a Booster, XGBClassifier or XGBRegressor as a package into a new or empty folder.

    Raises PackageInvalid for another type.
    """
    folder = Path(folder)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if kind not in _KINDS:
        raise PackageInvalid(f"the model is a {kind}; it must be one of {', '.join(sorted(_KINDS))}")
    flavor = {"data": FILES[0], "model_class": kind, "model_format": "ubj", "xgb_version": _version()}
    described = package.describe("xgboost", flavor, {"data": FILES[0]}, about)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_model(folder / FILES[0])
    package.write(folder, described, ["xgboost", "xgboost-cpu", "numpy", "pandas"])
    return described


def load(folder: str | Path) -> Any:
    """Returns the model of a package, of the class it was saved from. Raises PackageInvalid."""
    import xgboost

    folder = Path(folder)
    flavor = package.read(folder).flavors.get("xgboost")
    if flavor is None or flavor.get("data") not in FILES or flavor.get("model_class") not in _KINDS:
        raise PackageInvalid(f"the package has no xgboost flavor with its model in one of {', '.join(FILES)}")
    file = folder / str(flavor["data"])
    if not file.is_file():
        raise PackageInvalid(f"{flavor['data']} is missing")
    model = getattr(xgboost, _KINDS[flavor["model_class"]])()
    try:
        model.load_model(file)
    except (xgboost.core.XGBoostError, ValueError, TypeError, KeyError):
        raise PackageInvalid(f"{flavor['data']} is no XGBoost model") from None
    return model


def _version() -> str:
    import xgboost

    return str(xgboost.__version__)
