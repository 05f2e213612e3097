"""A stock script: three libraries log by themselves, models are logged, registered, promoted, loaded and predict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

RANDOM = np.random.default_rng(7)
X = pd.DataFrame(RANDOM.normal(size=(120, 4)), columns=list("abcd"))
Y = (X.a + X.b > 0).astype(int)


@pytest.fixture(autouse=True)
def experiment(client: MlflowClient, name: str) -> Iterator[str]:
    yield mlflow.set_experiment(name).experiment_id
    mlflow.autolog(disable=True)


def sklearn() -> tuple[Any, Any]:
    from sklearn.ensemble import RandomForestClassifier

    mlflow.sklearn.autolog()
    return RandomForestClassifier(n_estimators=5, random_state=0).fit(X, Y), mlflow.sklearn


def xgboost() -> tuple[Any, Any]:
    import xgboost as library

    mlflow.xgboost.autolog()
    data = library.DMatrix(X, Y)
    settings = {"objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1}
    return library.train(settings, data, 5, evals=[(data, "train")], verbose_eval=False), mlflow.xgboost


def lightgbm() -> tuple[Any, Any]:
    import lightgbm as library

    mlflow.lightgbm.autolog()
    data = library.Dataset(X, Y)
    settings = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 1}
    return library.train(settings, data, 5, valid_sets=[data], valid_names=["train"]), mlflow.lightgbm


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("train", [sklearn, xgboost, lightgbm])
def test_what_a_library_logs_by_itself_is_registered_and_predicts(client: MlflowClient, name: str, train: Any) -> None:
    with mlflow.start_run() as run:
        fitted, flavor = train()
    found = client.get_run(run.info.run_id)
    assert len(found.data.params) >= 3
    assert found.data.metrics
    assert "dataset" in {each.dataset.name for each in found.inputs.dataset_inputs}
    if train is not sklearn:
        (key,) = (each for each in found.data.metrics if "logloss" in each)
        assert {each.step for each in client.get_metric_history(run.info.run_id, key)} == {0, 1, 2, 3, 4}
        assert "feature_importance_gain.json" in [each.path for each in client.list_artifacts(run.info.run_id)] or (
            "feature_importance_weight.json" in [each.path for each in client.list_artifacts(run.info.run_id)]
        )
    (made,) = found.outputs.model_outputs
    model = mlflow.get_logged_model(made.model_id)
    assert (str(model.status), model.source_run_id) == ("READY", run.info.run_id)

    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    client.transition_model_version_stage(name, version.version, "Production", archive_existing_versions=True)
    expected = mlflow.pyfunc.load_model(f"models:/{made.model_id}").predict(X)
    served = mlflow.pyfunc.load_model(f"models:/{name}/Production").predict(X)
    assert np.allclose(expected, served)
    native = flavor.load_model(f"models:/{name}/{version.version}")
    assert type(native) is type(fitted)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_search_over_settings_makes_a_run_for_each(client: MlflowClient, experiment: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    mlflow.sklearn.autolog(log_models=False)
    with mlflow.start_run() as run:
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(X, Y)
    text = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
    children = mlflow.search_runs([experiment], text, output_format="list")
    assert {each.data.params["C"] for each in children} == {"0.1", "1.0", "10.0"}
    assert "cv_results.csv" in [each.path for each in client.list_artifacts(run.info.run_id)]
