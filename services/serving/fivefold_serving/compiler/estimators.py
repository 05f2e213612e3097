"""Turns a fitted estimator into a node of a plan; a table says which function knows which type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, pipeline, svm, tree

from fivefold_serving.compiler import NotCompilable, symbols, trees
from fivefold_serving.compiler.preprocess import Features, trace


class Writer:
    """Writes the files of one plan and remembers which columns and kinds it uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0
        self.columns: set[str] = set()
        self.kinds: list[str] = []  # of the models, in order, as `lightgbm`

    def trees(
        self, kind: str, text: str, link: str, width: int, *, single: bool, zero_is_missing: bool = False
    ) -> dict[str, Any]:
        """Writes a text model and returns its node."""
        name = f"trees-{self._files}.txt"
        self._files += 1
        (self._folder / name).write_text(text, encoding="utf-8")
        self.kinds.append(kind)
        return {
            "type": "trees", "file": name, "link": link, "single": single,
            "zero_is_missing": zero_is_missing, "width": width,
        }  # fmt: skip


def node(model: Any, features: Features, writer: Writer, *, sparse: bool = False) -> dict[str, Any]:
    """Returns the node of a fitted model over `features`. Raises NotCompilable.

    sparse  the model gets a sparse matrix from the step before
    """
    for kind, function in _KINDS.items():
        if f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}" == kind:
            return function(model, features, writer, sparse)
    raise NotCompilable(f"{type(model).__name__} has no compiled form")


def over(features: Features, made: dict[str, Any], writer: Writer) -> dict[str, Any]:
    """Returns the node with the features that it reads, unless it, or all of its members, have their own."""
    if not _needs_matrix(made):
        return made
    writer.columns |= symbols.columns(features)
    return {**made, "features": symbols.described(features)}


def _needs_matrix(made: dict[str, Any]) -> bool:
    if "features" in made:
        return False
    return made["type"] != "average" or any(_needs_matrix(member) for member in made["members"])


def _pipeline(model: pipeline.Pipeline, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    for _, step in model.steps[:-1]:
        features = trace(step, features)
    sparse = len(model.steps) > 1 and _answers_sparse(model.steps[-2][1])
    return over(features, node(model.steps[-1][1], features, writer, sparse=sparse), writer)


def _answers_sparse(step: Any) -> bool:
    if isinstance(step, pipeline.Pipeline):
        return _answers_sparse(step.steps[-1][1])
    return bool(getattr(step, "sparse_output_", getattr(step, "sparse_output", False)))


def _lightgbm(model: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    return of_lightgbm(model.booster_, features, writer, lambda: model._objective)


def of_lightgbm(booster: Any, features: Features, writer: Writer, objective: Callable[[], Any]) -> dict[str, Any]:
    if getattr(booster, "pandas_categorical", None):
        raise NotCompilable("LightGBM over pandas categories has no compiled form")
    content = booster.model_to_string()
    name = _objective_of(content)
    if callable(objective()) or name.partition(" ")[0] not in _LIGHTGBM_LINKS:
        raise NotCompilable(f"LightGBM's objective {name.partition(' ')[0] or 'of your own'} has no compiled form")
    if name.startswith("binary") and "sigmoid:1" not in name.split():
        raise NotCompilable("LightGBM's binary objective with a sigmoid other than 1 has no compiled form")
    if "sqrt" in name.split():
        raise NotCompilable("LightGBM's reg_sqrt has no compiled form")
    return writer.trees("lightgbm", content, _LIGHTGBM_LINKS[name.partition(" ")[0]], len(features), single=False)


def _objective_of(content: str) -> str:
    for line in content[:4096].splitlines():
        if line.startswith("objective="):
            return line.removeprefix("objective=")
    return ""


def _xgboost(model: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    return of_xgboost(model.get_booster(), features, writer, sparse)


def of_xgboost(booster: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    text, objective, bases = trees.of_xgboost(booster)
    if objective not in _XGBOOST_LINKS:
        raise NotCompilable(f"XGBoost's objective {objective} has no compiled form")
    link = _XGBOOST_LINKS[objective]
    margins = [float(np.log(base / (1 - base))) if link == "logistic" else base for base in bases]
    text = text.replace("end of trees", _constants(text, margins) + "end of trees")
    return writer.trees("xgboost", text, link, len(features), single=True, zero_is_missing=sparse)


def _constants(text: str, margins: list[float]) -> str:
    """Returns the base scores as one more tree of one leaf for each score."""
    count = text.count("\nTree=")
    return "".join(
        f"Tree={count + place}\nnum_leaves=1\nnum_cat=0\nleaf_value={margin!r}\nis_linear=0\nshrinkage=1\n\n"
        for place, margin in enumerate(margins)
    )


def _forest(model: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    members = getattr(model, "estimators_", [model])
    classes = getattr(model, "classes_", None)
    outputs = 1 if classes is None else len(classes)
    text = trees.of_sklearn(members, outputs, 1.0 / len(members), probabilities=classes is not None, pair=outputs == 2)
    kind = "forest" if len(members) > 1 else "tree"
    return writer.trees(kind, text, "identity", len(features), single=True)


def _linear(model: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    writer.kinds.append("linear")
    coefficients = np.atleast_2d(model.coef_)
    intercepts = np.broadcast_to(np.ravel(model.intercept_), coefficients.shape[0])
    classes = getattr(model, "classes_", None)
    link = "identity" if classes is None else "logistic" if len(coefficients) == 1 else "softmax"
    if getattr(model, "multi_class", "deprecated") == "ovr" and link == "softmax":
        raise NotCompilable("LogisticRegression with one model for each class has no compiled form")
    return {
        "type": "linear", "coefficients": coefficients.tolist(), "intercepts": intercepts.tolist(), "link": link,
    }  # fmt: skip


def _voting(model: Any, features: Features, writer: Writer, sparse: bool) -> dict[str, Any]:
    if getattr(model, "voting", "soft") != "soft":
        raise NotCompilable("VotingClassifier by majority has no compiled form")
    members = [node(one, features, writer, sparse=sparse) for one in model.estimators_]
    kept = [weight for (_, one), weight in zip(model.estimators, model.weights or (), strict=False) if one != "drop"]
    return {"type": "average", "weights": kept or [1.0] * len(members), "members": members}


_LIGHTGBM_LINKS = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "multiclass": "softmax",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
}
_XGBOOST_LINKS = {
    "binary:logistic": "logistic",
    "reg:logistic": "logistic",
    "multi:softprob": "softmax",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
}
_KINDS: dict[str, Callable[[Any, Features, Writer, bool], dict[str, Any]]] = {
    "sklearn.Pipeline": _pipeline,
    "lightgbm.LGBMClassifier": _lightgbm,
    "lightgbm.LGBMRegressor": _lightgbm,
    "xgboost.XGBClassifier": _xgboost,
    "xgboost.XGBRegressor": _xgboost,
    **{
        f"sklearn.{kind.__name__}": _forest
        for kind in (
            ensemble.RandomForestClassifier, ensemble.RandomForestRegressor, ensemble.ExtraTreesClassifier,
            ensemble.ExtraTreesRegressor, tree.DecisionTreeClassifier, tree.DecisionTreeRegressor,
        )
    },
    **{
        f"sklearn.{kind.__name__}": _linear
        for kind in (
            linear_model.LogisticRegression, linear_model.LogisticRegressionCV, linear_model.LinearRegression,
            linear_model.Ridge, linear_model.RidgeCV, linear_model.Lasso, linear_model.LassoCV,
            linear_model.ElasticNet, linear_model.ElasticNetCV, svm.LinearSVR,
        )
    },
    "sklearn.VotingClassifier": _voting,
    "sklearn.VotingRegressor": _voting,
}  # fmt: skip
