"""Autologging of real training, and that the libraries are as they were afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import sklearn
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.ensemble._forest import BaseForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fivefold
from fivefold.models import lightgbm as lightgbm_package
from fivefold.models import sklearn as sklearn_package
from fivefold.models import xgboost as xgboost_package
from fivefold.sdk.client import Client
from fivefold.sdk.tracking.activerun import ActiveRun
from fivefold.sdk.tracking.autolog.recording import key_of
from fivefold.sdk.tracking.runs import check_key

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(200, 3)), columns=["wind", "rain", "snow"])
Y = (X["wind"] + 0.1 * RNG.normal(size=200) > 0).astype(int)

PATCHED = [
    (BaseForest, "fit"),
    (LinearRegression, "fit"),
    (xgboost, "train"),
    (xgboost.sklearn, "train"),
    (lightgbm, "train"),
    (lightgbm.sklearn, "train"),
    (xgboost.XGBModel, "fit"),
    (lightgbm.LGBMClassifier, "fit"),
]


def kept(client: Client, run: ActiveRun, tmp_path: Path) -> tuple[fivefold.sdk.tracking.Run, Path]:
    """Returns a run as it is kept, and its files in a folder."""
    return client.tracking.get_run(run.name), client.tracking.download(run.name, "", tmp_path / "files")


def test_a_fit_leaves_params_score_importances_and_a_package_that_predicts_the_same(
    client: Client, tmp_path: Path
) -> None:
    with client.tracking.run("autolog") as run, run.autolog():
        model = RandomForestClassifier(n_estimators=7, max_depth=3, random_state=1).fit(X, Y)
    found, files = kept(client, run, tmp_path)
    assert (found.params["n_estimators"], found.params["max_depth"]) == ("7", "3")
    assert found.metrics == {"training_score": model.score(X, Y)}
    assert (found.tags["estimator"], found.tags["sklearn"]) == ("RandomForestClassifier", sklearn.__version__)
    importances = json.loads((files / "feature_importances.json").read_text())
    assert next(iter(importances)) == "wind"
    assert set(importances) == set(X.columns)
    assert (sklearn_package.load(files / "model").predict(X) == model.predict(X)).all()


def test_a_package_that_a_run_logs_becomes_a_version_of_a_registered_model(client: Client) -> None:
    with client.tracking.run("log model") as run:
        source = run.log_model(LinearRegression().fit(X, Y), "models/linear", example=X, metadata={"team": "a"})
    client.registry.create_model("logged-linear")
    version = client.registry.create_version("logged-linear", source)
    assert (version.status, version.lineage.run) == ("READY", run.name)
    with pytest.raises(fivefold.InvalidArgument, match="must be a frame or a matrix"):
        run.log_model(LinearRegression().fit(X, Y), example=7)


def test_a_pipeline_and_a_search_are_one_model_each_and_further_models_are_nested_runs(client: Client) -> None:
    with client.tracking.run("autolog nested") as run, client.tracking.autolog():
        make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(X, Y)
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, Y)
        VotingClassifier([("a", LogisticRegression()), ("b", LinearRegressionClassifier())]).fit(X, Y)
        StandardScaler().fit(X)
    nested = client.tracking.search("autolog nested", parent_run=run.name, order_by="start_time")
    assert [one.tags["estimator"] for one in nested] == ["GridSearchCV", "VotingClassifier"]
    assert {one.status for one in nested} == {"FINISHED"}
    assert nested[0].params["best_C"] in ("0.1", "1.0")
    assert 0 < nested[0].metrics["best_score"] <= 1
    assert client.tracking.get_run(run.name).params["logisticregression__C"] == "0.5"


def test_what_the_threads_of_a_fit_train_is_part_of_it(client: Client) -> None:
    voting = VotingClassifier([("a", LogisticRegression()), ("b", xgboost.XGBClassifier(n_estimators=2))], n_jobs=2)
    with client.tracking.run("autolog threads") as run, run.autolog(models=False):
        with joblib.parallel_backend("threading"):
            voting.fit(X, Y)
    assert client.tracking.get_run(run.name).tags["estimator"] == "VotingClassifier"
    assert len(client.tracking.search("autolog threads", parent_run=run.name)) == 0


class LinearRegressionClassifier(ClassifierMixin, LinearRegression):
    """A class of the user's own, whose fit calls that of its parent."""

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        self.classes_ = np.unique(y)
        return super().fit(X, y)

    def predict(self, X):  # type: ignore[no-untyped-def]
        return (super().predict(X) > 0.5).astype(int)


def test_an_estimator_defined_within_the_block_is_recorded_and_restored(client: Client) -> None:
    with client.tracking.run("autolog own") as run, run.autolog():

        class Constant(ClassifierMixin, BaseEstimator):
            def fit(self, X, y):  # type: ignore[no-untyped-def]
                self.classes_ = np.unique(y)
                return self

            def predict(self, X):  # type: ignore[no-untyped-def]
                return np.zeros(len(X), int)

        Constant().fit(X, Y)
    assert client.tracking.get_run(run.name).tags["estimator"] == "Constant"
    assert not hasattr(Constant.fit, "__wrapped__")


def test_clusters_without_a_target_and_matrices_without_names_are_recorded(client: Client, tmp_path: Path) -> None:
    with client.tracking.run("autolog matrix") as run, run.autolog():
        model = KMeans(3, n_init=1, random_state=0).fit(X.to_numpy())
    found, files = kept(client, run, tmp_path)
    assert found.metrics["inertia"] == pytest.approx(model.inertia_)
    assert (files / "model" / "MLmodel").exists()


def test_xgboost_logs_each_iteration_of_train_and_of_its_estimators(client: Client, tmp_path: Path) -> None:
    data = xgboost.DMatrix(X, Y)
    with client.tracking.run("autolog xgboost") as run, run.autolog():
        booster = xgboost.train(
            {"max_depth": 2, "objective": "binary:logistic", "eval_metric": ["logloss", "ndcg@5"]},
            data,
            num_boost_round=12,
            evals=[(data, "train")],
            verbose_eval=False,
        )
        xgboost.XGBClassifier(n_estimators=5).fit(X, Y, eval_set=[(X, Y)], verbose=False)
    found, files = kept(client, run, tmp_path)
    assert (found.params["max_depth"], found.params["num_boost_round"]) == ("2", "12")
    assert list(client.tracking.history(run.name, "train-logloss").steps) == list(range(12))
    assert "train-ndcg_at_5" in found.metrics
    assert (found.tags["estimator"], found.tags["xgboost"]) == ("Booster", xgboost.__version__)
    loaded = xgboost_package.load(files / "model")
    assert np.allclose(loaded.predict(data), booster.predict(data))
    (nested,) = client.tracking.search("autolog xgboost", parent_run=run.name)
    assert len(client.tracking.history(nested.name, "validation_0-logloss")) == 5
    assert nested.params["n_estimators"] == "5"


def test_lightgbm_logs_each_iteration_also_with_early_stopping(client: Client, tmp_path: Path) -> None:
    train = lightgbm.Dataset(X[:150], Y[:150], free_raw_data=False)
    unseen = lightgbm.Dataset(X[150:], 1 - Y[150:], reference=train)  # upside down, so that it soon gets no better
    with client.tracking.run("autolog lightgbm") as run, run.autolog():
        booster = lightgbm.train(
            {"objective": "binary", "num_leaves": 4, "verbose": -1, "min_data_in_leaf": 5},
            train,
            num_boost_round=50,
            valid_sets=[unseen],
            valid_names=["unseen"],
            callbacks=[lightgbm.early_stopping(5, verbose=False)],
        )
        lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, Y, eval_X=X[150:], eval_y=Y[150:])
    found, files = kept(client, run, tmp_path)
    assert found.params["num_leaves"] == "4"
    assert len(client.tracking.history(run.name, "unseen-binary_logloss")) == booster.best_iteration + 5
    assert set(json.loads((files / "feature_importances.json").read_text())) == set(X.columns)
    assert np.allclose(lightgbm_package.load(files / "model").predict(X), booster.predict(X))
    (nested,) = client.tracking.search("autolog lightgbm", parent_run=run.name)
    assert len(client.tracking.history(nested.name, "valid_0-binary_logloss")) == 4


def test_the_libraries_are_as_they_were_after_the_block_also_after_an_error(client: Client) -> None:
    before = [vars(home)[name] for home, name in PATCHED]
    with pytest.raises(ValueError, match="NaN"), client.tracking.run("autolog error") as run, run.autolog():
        assert all(vars(home)[name] is not old for (home, name), old in zip(PATCHED, before, strict=True))
        LinearRegression().fit([[float("nan")]], [1])
    assert [vars(home)[name] for home, name in PATCHED] == before
    assert "__init_subclass__" not in vars(BaseEstimator)
    assert client.tracking.get_run(run.name).status == "FAILED"


def test_a_nested_model_whose_fit_fails_is_a_failed_run(client: Client) -> None:
    with client.tracking.run("autolog failed") as run, run.autolog():
        LinearRegression().fit(X, Y)
        with pytest.raises(ValueError, match="NaN"):
            LinearRegression().fit([[float("nan")]], [1])
    (nested,) = client.tracking.search("autolog failed", parent_run=run.name)
    assert (nested.status, client.tracking.get_run(run.name).status) == ("FAILED", "FINISHED")


def test_what_cannot_be_recorded_never_fails_training(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("recording is broken")

    for name in ("log", "upload", "child", "log_model"):
        monkeypatch.setattr(ActiveRun, name, fails)
    with client.tracking.run("autolog broken") as run, run.autolog():
        assert LinearRegression().fit(X, Y).score(X, Y) > 0
        assert LinearRegression().fit(X, Y).score(X, Y) > 0
        booster = xgboost.train({}, xgboost.DMatrix(X, Y), 3, evals=[(xgboost.DMatrix(X, Y), "t")], verbose_eval=False)
        assert booster.num_boosted_rounds() == 3
    assert any("params could not be recorded" in record.getMessage() for record in caplog.records)
    assert client.tracking.get_run(run.name).status == "FINISHED"


def test_nothing_is_recorded_outside_of_a_run_or_of_the_block(client: Client) -> None:
    with pytest.raises(fivefold.FailedPrecondition, match="needs a run"):
        client.tracking.autolog()
    with client.tracking.run("autolog after") as run:
        with run.autolog(models=False, importances=False, score=False):
            pass
        LinearRegression().fit(X, Y)
    assert client.tracking.get_run(run.name).params == {}


@pytest.mark.parametrize("text", ["ndcg@5", "a/b?c", "//", "../x", ".", "", "größe (%)", "a//b/"])
def test_every_name_of_a_library_becomes_a_key_that_is_allowed(text: str) -> None:
    assert check_key(key_of(text))
