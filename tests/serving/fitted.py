"""Fitted models of every kind that has a compiled form, over one small table of mixed columns."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from fivefold.models import sklearn as flavor
from fivefold.models import statistics
from fivefold.models.package import FeatureSpec
from fivefold.models.signature import Column, Signature

INPUTS = (
    Column("delay", "double"),
    Column("seats", "int64"),
    Column("speed", "float"),
    Column("jet", "bool"),
    Column("carrier", "string"),
    Column("origin", "string"),
)
NUMBERS = ["delay", "seats", "speed", "jet"]
TEXTS = ["carrier", "origin"]


@cache
def table(rows: int = 400, seed: int = 3) -> pd.DataFrame:
    """Rows with missing values in every column, as automl's training sees them: float64 and objects."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.normal(10, 30, rows).round(1),
            "seats": random.integers(2, 400, rows).astype(float),
            "speed": random.normal(400, 90, rows).astype(np.float32).astype(float),
            "jet": random.integers(0, 2, rows).astype(float),
            "carrier": random.choice(["AA", "B6", "DL", "UA", "Zürich"], rows).astype(object),
            "origin": random.choice(["EWR", "JFK", "LGA"], rows).astype(object),
        }
    )
    for place, name in enumerate(frame):
        frame.loc[random.random(rows) < 0.04 * (place + 1), name] = np.nan
    return frame


@cache
def target(kind: str) -> Any:
    """Labels that depend on the inputs: "pair", "three" or "number"."""
    frame = table()
    random = np.random.default_rng(4)
    score = frame["delay"].fillna(0) / 30 + (frame["carrier"] == "AA") + random.normal(0, 0.5, len(frame))
    if kind == "pair":
        return np.where(score > 0.5, "late", "fine")
    if kind == "three":
        return np.select([score > 1.0, score > 0.0], ["late", "soon"], "fine")
    return (score * 100).to_numpy()


def preparation(*, scaler: Any = None, encoder: Any = None) -> ColumnTransformer:
    numbers = Pipeline(
        [("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", scaler or StandardScaler())]
    )
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=70, sparse_output=False)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return ColumnTransformer(
        [
            ("numbers", numbers, NUMBERS),
            ("texts", Pipeline([("fill", SimpleImputer(strategy="most_frequent")), ("encode", one_hot)]), TEXTS),
            ("order", encoder or ordinal, ["origin", "carrier"]),
        ]
    )


def boosted(**settings: Any) -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, verbose=-1, n_jobs=1, **settings)


def trees(**settings: Any) -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=40, max_depth=5, n_jobs=1, **settings)


CODED = {"fine": 0, "late": 1, "soon": 2}

# name -> (estimator, kind of target, how it must be compiled); XGBoost wants codes for labels
MODELS: dict[str, tuple[Any, str, str]] = {
    "lightgbm pair": (boosted(), "pair", "lightgbm"),
    "lightgbm three": (boosted(), "three", "lightgbm"),
    "lightgbm number": (lightgbm.LGBMRegressor(n_estimators=40, verbose=-1, n_jobs=1), "number", "lightgbm"),
    "xgboost pair": (trees(), "pair", "xgboost"),
    "xgboost three": (trees(), "three", "xgboost"),
    "xgboost number": (xgboost.XGBRegressor(n_estimators=40, max_depth=5, n_jobs=1), "number", "xgboost"),
    "forest pair": (RandomForestClassifier(30, random_state=1), "pair", "forest"),
    "forest three": (RandomForestClassifier(30, random_state=1), "three", "forest"),
    "forest number": (RandomForestRegressor(30, random_state=1), "number", "forest"),
    "extra trees three": (ExtraTreesClassifier(30, random_state=1), "three", "forest"),
    "extra trees number": (ExtraTreesRegressor(30, random_state=1), "number", "forest"),
    "tree pair": (DecisionTreeClassifier(random_state=1), "pair", "tree"),
    "tree number": (DecisionTreeRegressor(random_state=1), "number", "tree"),
    "logistic pair": (LogisticRegression(max_iter=500), "pair", "linear"),
    "logistic three": (LogisticRegression(max_iter=500), "three", "linear"),
    "ridge": (Ridge(), "number", "linear"),
    "voting three": (
        VotingClassifier(
            [
                ("a", boosted()),
                ("b", LogisticRegression(max_iter=500)),
                ("c", RandomForestClassifier(10, random_state=1)),
            ],
            voting="soft",
            weights=[3, 1, 2],
        ),
        "three",
        "lightgbm + linear + forest",
    ),
    "voting number": (
        VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4, random_state=1))]),
        "number",
        "linear + tree",
    ),
}
NATIVE = {"histogram pair": (HistGradientBoostingClassifier(max_iter=20, random_state=1), "pair")}
PREPARATIONS: dict[str, dict[str, Any]] = {
    "standard": {},
    "min-max, clipped": {"scaler": MinMaxScaler(clip=True)},
    "robust": {"scaler": RobustScaler()},
    "target encoded": {"encoder": TargetEncoder()},
}


@cache
def pipeline(name: str, prepared: str = "standard") -> Pipeline:
    """Returns a fitted pipeline by its name in MODELS or NATIVE."""
    estimator, kind, *_ = {**MODELS, **NATIVE}[name]
    labels = target(kind)
    if name.startswith("xgboost") and kind != "number":
        labels = np.array([CODED[label] for label in labels])
    made = Pipeline([("prepare", preparation(**PREPARATIONS[prepared])), ("model", estimator)])
    return made.fit(table(), labels)


def outputs(kind: str) -> tuple[Column, ...]:
    if kind == "number":
        return (Column("prediction", "double", True),)
    if kind == "pair":
        return Column("label", "string", True), Column("probability", "double", True)
    return Column("label", "string", True), *(Column(f"probability_{label}", "double", True) for label in CODED)


def save(name: str, folder: Path, *, spec: FeatureSpec | None = None, prepared: str = "standard") -> Any:
    """Writes a package as automl does; returns the fitted pipeline."""
    fitted = pipeline(name, prepared)
    kind = {**MODELS, **NATIVE}[name][1]
    signature = Signature(INPUTS, outputs(kind))
    seen = {c.name: statistics.summary(table()[c.name].dropna().tolist(), c.type) for c in INPUTS}
    flavor.save(
        fitted,
        folder,
        signature=signature,
        input_example=table().head(5),
        feature_spec=spec,
        statistics={"inputs": seen, "outputs": {}},
        classes=tuple(CODED)[: 2 if kind == "pair" else 3] if name.startswith("xgboost") and kind != "number" else (),
    )
    return fitted


def expected(fitted: Pipeline, frame: pd.DataFrame) -> Any:
    """Returns native answers [rows, classes] or [rows, 1]."""
    if hasattr(fitted, "predict_proba"):
        return fitted.predict_proba(frame)
    return fitted.predict(frame)[:, None]
