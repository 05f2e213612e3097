"""Saves and loads LightGBM boosters as LightGBM's text, the form that MLflow's lightgbm flavor uses for boosters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from fivefold.models import package
from fivefold.models.package import About, Package, PackageInvalid

FILE = "model.lgb"


def save(booster: Any, folder: str | Path, **about: Unpack[About]) -> Package:
    """Writes a lightgbm.Booster as a package into a new or empty folder."""
    folder = Path(folder)
    model = {"data": FILE, "lgb_version": package.version("lightgbm"), "model_class": "lightgbm.basic.Booster"}
    described = package.describe("lightgbm", model, {"data": FILE}, about)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(booster.model_to_string(), encoding="utf-8")
    package.write(folder, described, ["lightgbm", "numpy", "pandas"])
    return described


def load(folder: str | Path) -> Any:
    """Returns the lightgbm.Booster of a package. Raises PackageInvalid."""
    import lightgbm

    folder = Path(folder)
    flavor = package.read(folder).flavors.get("lightgbm")
    if flavor is None or flavor.get("data") != FILE:
        raise PackageInvalid(f"the package has no lightgbm flavor with its booster in {FILE}; a pickle is not loaded")
    try:
        return lightgbm.Booster(model_str=(folder / FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError):
        raise PackageInvalid(f"{FILE} is missing or no LightGBM model") from None
