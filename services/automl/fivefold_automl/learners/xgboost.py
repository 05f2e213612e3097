"""Gradient boosted trees by XGBoost (histograms), stopped when the validation rows no longer gain."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners.base import Encoding, Float, Guess, Int, Params, Space, Task
from fivefold_automl.spec import Problem

_PATIENCE = 30  # rounds without gain before it stops


class XGBoost:
    name = "xgboost"
    library = "xgboost"
    encoding = Encoding.ORDINAL

    def space(self, problem: Problem) -> Space:
        return {
            "n_estimators": Int(50, 1000, log=True),
            "learning_rate": Float(0.02, 0.3, log=True),
            "max_depth": Int(3, 10),
            "min_child_weight": Float(0.5, 50.0, log=True),
            "subsample": Float(0.5, 1.0),
            "colsample_bytree": Float(0.4, 1.0),
            "reg_alpha": Float(1e-4, 10.0, log=True),
            "reg_lambda": Float(1e-4, 10.0, log=True),
        }

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        return (
            Guess(
                30,
                {
                    "n_estimators": 100,
                    "learning_rate": 0.15,
                    "max_depth": 6,
                    "min_child_weight": 1.0,
                    "subsample": 1.0,
                    "colsample_bytree": 1.0,
                    "reg_alpha": 1e-4,
                    "reg_lambda": 1.0,
                },
            ),
            Guess(
                70,
                {
                    "n_estimators": 400,
                    "learning_rate": 0.06,
                    "max_depth": 7,
                    "min_child_weight": 5.0,
                    "subsample": 0.8,
                    "colsample_bytree": 0.7,
                    "reg_alpha": 0.01,
                    "reg_lambda": 2.0,
                },
            ),
        )

    def fit(self, task: Task, params: Params) -> Any:
        import xgboost

        class StopInTime(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                return task.out_of_time

        kind = xgboost.XGBRegressor if task.problem is Problem.REGRESSION else xgboost.XGBClassifier
        model = kind(
            **params,
            tree_method="hist",
            n_jobs=1,
            random_state=task.seed,
            verbosity=0,
            # The best rounds are kept and the rest dropped, so that every reader of the model predicts the same.
            callbacks=[xgboost.callback.EarlyStopping(rounds=_PATIENCE, save_best=True), StopInTime()],
        )
        model.fit(task.train, task.train_target, eval_set=[(task.valid, task.valid_target)], verbose=False)
        return model.set_params(callbacks=None)
