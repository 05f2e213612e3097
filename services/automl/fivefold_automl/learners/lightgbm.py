"""Gradient boosted trees by LightGBM, stopped when the validation rows no longer gain."""

from __future__ import annotations

from typing import Any

from fivefold_automl.learners.base import Encoding, Float, Guess, Int, Params, Space, Task
from fivefold_automl.spec import Problem

_PATIENCE = 30  # rounds without gain before it stops


class LightGBM:
    name = "lightgbm"
    library = "lightgbm"
    encoding = Encoding.ORDINAL

    def space(self, problem: Problem) -> Space:
        return {
            "n_estimators": Int(50, 1000, log=True),
            "learning_rate": Float(0.02, 0.3, log=True),
            "num_leaves": Int(7, 255, log=True),
            "min_child_samples": Int(5, 200, log=True),
            "subsample": Float(0.5, 1.0),
            "colsample_bytree": Float(0.4, 1.0),
            "reg_alpha": Float(1e-4, 10.0, log=True),
            "reg_lambda": Float(1e-4, 10.0, log=True),
        }

    def guesses(self, problem: Problem) -> tuple[Guess, ...]:
        usual = {"subsample": 1.0, "colsample_bytree": 1.0, "reg_alpha": 1e-4, "reg_lambda": 1e-4}
        return (
            Guess(10, {**usual, "n_estimators": 100, "learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20}),
            Guess(
                40,
                {
                    "n_estimators": 400,
                    "learning_rate": 0.05,
                    "num_leaves": 31,
                    "min_child_samples": 40,
                    "subsample": 0.8,
                    "colsample_bytree": 0.7,
                    "reg_alpha": 0.01,
                    "reg_lambda": 1.0,
                },
            ),
            Guess(
                80,
                {
                    "n_estimators": 600,
                    "learning_rate": 0.05,
                    "num_leaves": 96,
                    "min_child_samples": 20,
                    "subsample": 0.8,
                    "colsample_bytree": 0.6,
                    "reg_alpha": 0.01,
                    "reg_lambda": 5.0,
                },
            ),
        )

    def fit(self, task: Task, params: Params) -> Any:
        import lightgbm

        def stop_in_time(env: Any) -> None:
            if task.out_of_time:
                raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

        kind = lightgbm.LGBMRegressor if task.problem is Problem.REGRESSION else lightgbm.LGBMClassifier
        model = kind(
            **params,
            subsample_freq=1,
            n_jobs=1,
            random_state=task.seed,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )
        return model.fit(
            task.train,
            task.train_target,
            eval_X=(task.valid,),
            eval_y=(task.valid_target,),
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False), stop_in_time],
        )
