"""Loads a package's model as its own library has it, and predicts with it. Runs in child processes only.

The compiler's child uses it to check a plan; the worker (worker.py) to serve what has no compiled form. The serving
process itself never imports a learner: one costs 150 MB and more, and a model file that crashes its library then
takes only a child along.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fivefold.models import lightgbm as lightgbm_flavor
from fivefold.models import package as packages
from fivefold.models import sklearn as sklearn_flavor
from fivefold.models import xgboost as xgboost_flavor
from fivefold.models.package import Package, PackageInvalid
from fivefold.models.signature import Column, Signature
from fivefold_serving.columns import Columns, Texts, Values
from fivefold_serving.predictor import Answers

FLAVORS = {"sklearn": sklearn_flavor.load, "lightgbm": lightgbm_flavor.load, "xgboost": xgboost_flavor.load}
_UNITS = {"timestamp": "us", "date": "D"}


class Native:
    """A fitted model with its signature.

    task     "classification" or "regression"
    classes  labels in the order of the answers' columns
    names    columns that a scikit-learn model reads, in order; empty: all of the signature
    """

    def __init__(self, folder: Path) -> None:
        """Raises PackageInvalid."""
        self.package: Package = packages.read(folder)
        self.flavor = next((name for name in FLAVORS if name in self.package.flavors), "")
        if not self.flavor:
            raise PackageInvalid(
                f"the package has flavors {', '.join(sorted(self.package.flavors))[:200]};"
                f" one of {', '.join(FLAVORS)} is needed"
            )
        if self.package.signature is None:
            raise PackageInvalid("MLmodel has no signature, so inputs cannot be checked")
        self.model = FLAVORS[self.flavor](folder)
        self.signature: Signature = self.package.signature
        self.names = list(getattr(self.model, "feature_names_in_", ())) if self.flavor == "sklearn" else []
        lacking = set(self.names) - {column.name for column in self.signature.inputs}
        if lacking:
            raise PackageInvalid(f"the model reads column {min(lacking)!r}, which its signature lacks")
        self.missing_text = _missing_text(self.model)
        self.classes, self.task = self._labels()

    def __call__(self, columns: Columns, rows: int) -> Answers:
        """Returns [rows, classes] probabilities or [rows, 1] predictions. Raises ValueError as the library does."""
        frame = self._frame(columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = np.asarray(self._predict(frame), float)
        if answers.ndim == 1:
            answers = answers[:, None]
        if self.task == "classification" and answers.shape[1] == 1:
            answers = np.hstack([1.0 - answers, answers])
        return np.ascontiguousarray(answers)

    def _predict(self, frame: Any) -> Any:
        if self.flavor == "xgboost" and type(self.model).__name__ == "Booster":
            import xgboost

            return self.model.predict(xgboost.DMatrix(frame))
        if self.flavor == "lightgbm":
            return self.model.predict(frame, num_threads=1)
        if self.task == "classification":
            return self.model.predict_proba(frame)
        return self.model.predict(frame)

    def _labels(self) -> tuple[tuple[Any, ...], str]:
        named = self.package.classes
        fitted = [_plain(label) for label in getattr(self.model, "classes_", ())]
        if not fitted and hasattr(self.model, "_estimator_type") and self.model._estimator_type == "classifier":
            raise PackageInvalid("the classifier has no classes")
        if self.flavor == "lightgbm":
            kind = str(self.model.dump_model(num_iteration=1).get("objective", ""))
            fitted = list(range(_classes_of(kind, self.model.num_model_per_iteration())))
        elif type(self.model).__name__ == "Booster":
            fitted = list(range(_xgboost_classes(self.model)))
        if fitted and not hasattr(self.model, "predict_proba") and self.flavor == "sklearn":
            raise PackageInvalid(f"the classifier {type(self.model).__name__} gives no probabilities")
        if named and len(named) != len(fitted):
            raise PackageInvalid(f"the package names {len(named)} classes, the model has {len(fitted)}")
        if len(fitted) == 1:
            raise PackageInvalid("the classifier has only one class")
        return tuple(named or fitted), "classification" if fitted else "regression"

    def _frame(self, columns: Columns) -> Any:
        """Returns the inputs as a frame: float64, objects, times; a matrix where the signature is unnamed.

        Integers and booleans are float64 too, as our AutoML trains and as every learner computes.
        """
        if self.signature.unnamed:
            return np.column_stack([np.asarray(columns[column.name], float) for column in self.signature.inputs])
        series = {c.name: self._series(columns[c.name], c) for c in self.signature.inputs}
        return pd.DataFrame(series)

    def _series(self, values: Values, column: Column) -> Any:
        if column.type == "string":
            texts: Texts = list(values)
            return pd.Series([self.missing_text if one is None else one for one in texts], dtype=object)
        numbers = np.asarray(values, float)
        if column.type in _UNITS:
            missing = np.isnan(numbers)
            moments = np.where(missing, 0, numbers).astype("int64").astype(f"datetime64[{_UNITS[column.type]}]")
            moments[missing] = np.datetime64("NaT")
            return pd.Series(moments, dtype="datetime64[us, UTC]" if column.type == "timestamp" else "datetime64[s]")
        return pd.Series(numbers)


def _missing_text(model: Any) -> Any:
    """Returns what stands for a missing text: None where an encoder of the model was fitted with None, else NaN."""
    for part in parts(model):
        for known in getattr(part, "categories_", ()):
            if any(value is None for value in known):
                return None
    return np.nan


def parts(model: Any) -> list[Any]:
    """Returns the model and every estimator in it."""
    found, waiting = [], [model]
    while waiting:
        one = waiting.pop()
        found.append(one)
        if hasattr(one, "steps"):
            waiting += [step for _, step in one.steps]
        if hasattr(one, "transformers_"):
            waiting += [inner for _, inner, _ in one.transformers_]
        if hasattr(one, "transformer_list"):
            waiting += [inner for _, inner in one.transformer_list]
        if type(one).__name__.startswith("Voting"):
            waiting += list(one.estimators_)
    return found


def _classes_of(objective: str, scores: int) -> int:
    if objective.startswith(("binary", "cross_entropy")):
        return 2
    return scores if objective.startswith("multiclass") else 0


def _xgboost_classes(booster: Any) -> int:
    import json

    learner: Mapping[str, Any] = json.loads(booster.save_config())["learner"]
    objective = str(learner["objective"]["name"])
    if objective in ("multi:softmax", "binary:hinge", "binary:logitraw", "rank:pairwise", "rank:ndcg"):
        raise PackageInvalid(f"XGBoost's objective {objective} gives no probabilities")
    if objective == "binary:logistic":
        return 2
    return int(learner["learner_model_param"]["num_class"]) if objective.startswith("multi:") else 0


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
