"""XGBoost and LightGBM: `train`, which their scikit-learn estimators call as well, with a callback for each iteration."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fivefold.sdk.tracking.autolog.patches import Patches
from fivefold.sdk.tracking.autolog.recording import Autolog, Recording, guarded, ranked


def install_xgboost(autolog: Autolog, patches: Patches) -> None:
    """Wraps xgboost.train wherever it is named."""
    import xgboost

    class Iterations(xgboost.callback.TrainingCallback):
        """Logs what is evaluated in each iteration."""

        def __init__(self, recording: Recording) -> None:
            super().__init__()
            self._recording = recording

        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
            with guarded("an iteration"):
                latest = {
                    f"{data}-{metric}": values[-1][0] if isinstance(values[-1], tuple) else values[-1]
                    for data, metrics in evals_log.items()
                    for metric, values in metrics.items()
                }
                if latest:
                    self._recording.metrics(latest, epoch)
            return False

    def importances(booster: Any) -> dict[str, float]:
        scores = booster.get_score(importance_type="gain")
        return ranked(scores.keys(), scores.values())

    def example(data: Any) -> Any:
        raw = data.get_data()[:5].toarray()
        if data.feature_names is None:
            return raw
        import pandas

        return pandas.DataFrame(raw, columns=data.feature_names)

    _install(autolog, patches, "xgboost", xgboost, Iterations, example, importances)


def install_lightgbm(autolog: Autolog, patches: Patches) -> None:
    """Wraps lightgbm.train wherever it is named."""
    import lightgbm

    def iterations(recording: Recording) -> Callable[[Any], None]:
        def after(environment: Any) -> None:
            with guarded("an iteration"):
                found = environment.evaluation_result_list or ()
                latest = {f"{each[0]}-{each[1]}": each[2] for each in found}
                if latest:
                    recording.metrics(latest, environment.iteration)

        after.order = 25  # type: ignore[attr-defined]  # after the evaluation, before early stopping ends the training
        return after

    def importances(booster: Any) -> dict[str, float]:
        return ranked(booster.feature_name(), booster.feature_importance("gain"))

    def example(data: Any) -> Any:
        return data.get_data()[:5]

    _install(autolog, patches, "lightgbm", lightgbm, iterations, example, importances)


def _install(
    autolog: Autolog,
    patches: Patches,
    name: str,
    library: Any,
    callback: Callable[[Recording], Any],
    example: Callable[[Any], Any],
    importances: Callable[[Any], Mapping[str, float]],
) -> None:
    signature = inspect.signature(library.train)

    def with_callback(recording: Recording, original: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        bound = signature.bind(*arguments, **named)
        bound.arguments["callbacks"] = [*(bound.arguments.get("callbacks") or ()), callback(recording)]
        return original(*bound.args, **bound.kwargs)

    def trained(original: Any, *arguments: Any, **named: Any) -> Any:
        outer = autolog.recording
        if outer is not None:
            return with_callback(outer, original, arguments, named)
        if autolog.is_part:
            return original(*arguments, **named)
        with autolog.training(f"{name}.train") as recording:
            recording.tags({"estimator": "Booster", name: library.__version__})
            with guarded("params"):
                bound = signature.bind(*arguments, **named)
                bound.apply_defaults()
                recording.params({**bound.arguments["params"], "num_boost_round": bound.arguments["num_boost_round"]})
            booster = with_callback(recording, original, arguments, named)
            recording.importances(lambda: importances(booster))
            with guarded("the model"):
                data = bound.arguments["dtrain" if name == "xgboost" else "train_set"]
                recording.model(booster, example(data), outputs=_outputs())
            return booster

    original = library.train
    for module in [module for key, module in sys.modules.items() if key == name or key.startswith(f"{name}.")]:
        if vars(module).get("train") is original:
            patches.put(module, "train", trained)


def _outputs() -> tuple[Any, ...]:
    from fivefold.models.signature import Column

    return (Column("prediction", "double", True),)
