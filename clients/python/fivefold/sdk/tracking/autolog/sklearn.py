"""scikit-learn: `fit` of every estimator that can predict. XGBoost's and LightGBM's estimators are such estimators too."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from fivefold.sdk.tracking.autolog.patches import Patches
from fivefold.sdk.tracking.autolog.recording import Autolog, Recording, guarded, ranked

_FIT = "fit"


def install(autolog: Autolog, patches: Patches) -> None:
    """Wraps `fit` of the estimators that are there, and of those that are defined within the block."""
    import sklearn
    from sklearn.base import BaseEstimator

    def fitted(original: Any, estimator: Any, *data: Any, **named: Any) -> Any:
        if autolog.is_part or not hasattr(estimator, "predict"):
            return original(estimator, *data, **named)
        with autolog.training(type(estimator).__name__) as recording:
            recording.tags({"estimator": type(estimator).__name__, "sklearn": sklearn.__version__})
            with guarded("params"):
                recording.params(estimator.get_params(deep=True))
            outcome = original(estimator, *data, **named)
            with guarded("the model"):
                _record(recording, estimator, *_training_data(data, named))
            return outcome

    def wrap(kind: type) -> None:
        if isinstance(vars(kind).get(_FIT), types.FunctionType):
            patches.put(kind, _FIT, fitted)

    for kind in list(_subclasses(BaseEstimator)):
        wrap(kind)

    inherited = BaseEstimator.__init_subclass__.__func__

    def defined(cls: type, /, **named: Any) -> None:
        inherited(cls, **named)
        wrap(cls)

    if "__init_subclass__" not in vars(BaseEstimator):
        patches.add(BaseEstimator, "__init_subclass__", classmethod(defined))


def _subclasses(kind: type) -> Iterator[type]:
    seen: set[type] = set()
    waiting = [kind]
    while waiting:
        each: type
        for each in waiting.pop().__subclasses__():
            if each not in seen:
                seen.add(each)
                waiting.append(each)
                yield each


def _training_data(data: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    features = data[0] if data else named.get("X")
    target = data[1] if len(data) > 1 else named.get("y")
    return features, target


def _record(recording: Recording, estimator: Any, features: Any, target: Any) -> None:
    if recording.autolog.score and hasattr(estimator, "score"):
        with guarded("the score"):
            score = estimator.score(features) if target is None else estimator.score(features, target)
            recording.metrics({"training_score": score})
    for name in ("best_score_", "loss_", "inertia_", "n_iter_"):
        value = getattr(estimator, name, None)
        if value is not None and getattr(value, "ndim", 0) == 0:
            recording.metrics({name.rstrip("_"): value})
    best = getattr(estimator, "best_params_", None)
    if best:
        recording.params({f"best_{name}": value for name, value in best.items()})
    recording.importances(lambda: _importances(estimator, features))
    recording.model(estimator, features)


def _importances(estimator: Any, features: Any) -> dict[str, float]:
    """Returns importances, or a linear model's coefficients where it has one target; {} where there is neither."""
    last = estimator[-1] if hasattr(estimator, "steps") else getattr(estimator, "best_estimator_", estimator)
    values = getattr(last, "feature_importances_", None)
    if values is None:
        values = getattr(last, "coef_", None)
        if values is not None and getattr(values, "ndim", 1) == 2:
            values = values[0] if len(values) == 1 else None
    if values is None or getattr(values, "ndim", 1) != 1:
        return {}
    names = getattr(last, "feature_names_in_", None)
    if names is None:
        names = list(getattr(features, "columns", range(len(values))))
    if len(names) != len(values):
        names = range(len(values))
    return ranked(names, values)
