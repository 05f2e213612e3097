"""One trial without Ray: every learner fits, and its saved package predicts raw rows exactly as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fivefold.models import package
from fivefold.models import sklearn as flavor
from fivefold_automl.dataset import Material, Source, material_of
from fivefold_automl.learners import LEARNERS
from fivefold_automl.metrics import evaluate_classes, evaluate_numbers
from fivefold_automl.spec import JobSpec, Problem
from fivefold_automl.training import Bench, Trained
from tests.automl.conftest import table

SOURCE = Source("trainingSets/t", (), package.FeatureSpec("specs/s"))
TARGETS = {Problem.CLASSIFICATION: ("y", "amount"), Problem.REGRESSION: ("amount", "y")}


def made(problem: Problem) -> tuple[Any, Material]:
    target, other = TARGETS[problem]
    data = table(400)
    spec = JobSpec(problem=problem, training_set=SOURCE.name, target=target, exclude_columns=(other,), seed=3)
    return data, material_of(data, spec, SOURCE, "jobs/j")


def trained(material: Material, name: str, *, seconds: float = 60.0) -> Trained:
    bench = Bench(material.plan, material.described, material.dataset)
    return bench.train(LEARNERS[name], LEARNERS[name].guesses(material.plan.problem)[0].params, 3, seconds)


def loaded(files: dict[str, bytes], folder: Path) -> Any:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return flavor.load(folder)


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_saved_package_reaches_its_validation_scores_on_raw_rows(name: str, problem: Problem, tmp_path: Path) -> None:
    data, material = made(problem)
    outcome = trained(material, name)
    model = loaded(dict(outcome.files), tmp_path)
    raw = data.to_pandas().iloc[material.dataset.valid]
    truth = material.dataset.target[material.dataset.valid]
    if problem is Problem.CLASSIFICATION:
        assert evaluate_classes(truth, model.predict_proba(raw)) == outcome.metrics
    else:
        assert evaluate_numbers(truth, model.predict(raw)) == outcome.metrics


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_model_beats_the_constant_answer(name: str) -> None:
    _, material = made(Problem.CLASSIFICATION)
    assert trained(material, name).metrics["roc_auc"] > 0.7


def test_a_package_says_what_it_is(tmp_path: Path) -> None:
    _, material = made(Problem.CLASSIFICATION)
    loaded(dict(trained(material, "lightgbm").files), tmp_path)
    read = package.read(tmp_path)
    assert read.classes == ("no", "yes")
    assert read.positive == "yes"
    assert read.training_set == "trainingSets/t"
    assert read.feature_spec is not None and read.feature_spec.name == "specs/s"
    assert read.signature is not None
    assert [(c.name, c.type, c.required) for c in read.signature.inputs] == [
        ("number", "double", False),
        ("other", "double", True),
        ("count", "int64", True),
        ("color", "string", False),
        ("flag", "bool", False),
    ]
    assert read.metadata["learner"] == "lightgbm"
    assert read.input_example is not None and len(read.input_example["color"]) == 5
    assert read.statistics is not None
    assert read.statistics["inputs"]["color"]["distinct"] == 3
    assert read.statistics["outputs"]["label"]["rows"] == len(material.dataset.valid)
    assert json.dumps(read.statistics)


def test_a_category_and_a_number_that_were_never_seen_are_predicted(tmp_path: Path) -> None:
    data, material = made(Problem.CLASSIFICATION)
    for name in LEARNERS:
        model = loaded(dict(trained(material, name).files), tmp_path / name)
        raw = data.to_pandas().iloc[:2].assign(color=["violet", None], number=[None, 1e9]).astype({"number": float})
        assert np.isfinite(model.predict_proba(raw)).all()


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "random_forest", "extra_trees"])
def test_a_learner_that_grows_stops_with_what_it_has_when_the_time_is_up(name: str) -> None:
    _, material = made(Problem.CLASSIFICATION)
    bench = Bench(material.plan, material.described, material.dataset)
    slowest = {
        "lightgbm": {"n_estimators": 1000},
        "xgboost": {"n_estimators": 1000},
        "random_forest": {"n_estimators": 240},
        "extra_trees": {"n_estimators": 240},
    }[name]
    params = {**LEARNERS[name].guesses(Problem.CLASSIFICATION)[0].params, **slowest}
    hurried = bench.train(LEARNERS[name], params, 3, seconds=-1.0)
    calm = bench.train(LEARNERS[name], params, 3, seconds=60.0)
    assert len(hurried.files["model.skops"]) < len(calm.files["model.skops"])


def test_the_same_trial_gives_the_same_scores() -> None:
    _, material = made(Problem.CLASSIFICATION)
    for name in LEARNERS:
        assert trained(material, name).metrics == trained(material, name).metrics
