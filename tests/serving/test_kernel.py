"""LightGBM's library gets no text that could make it read foreign memory or never end; what fails to compile is served
natively.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from fivefold.models import sklearn as flavor
from fivefold.models.signature import Column, Signature
from fivefold_serving import compile as compiling
from fivefold_serving import treetext
from fivefold_serving.compiler import estimators
from fivefold_serving.kernel import KernelError, Trees
from fivefold_serving.plan import Plan
from fivefold_serving.predictor import Compiled
from tests.serving import fitted

TEXT = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=regression
feature_names=a b c
feature_infos=[0:1] [0:1] 1:2:3
tree_sizes=300

Tree=0
num_leaves=4
num_cat=1
split_feature=0 2 1
threshold=0.5 0 1e-3
decision_type=2 1 10
left_child=1 -1 -2
right_child=2 -3 -4
leaf_value=1 2 3 4
cat_boundaries=0 1
cat_threshold=10
is_linear=0
shrinkage=1


end of trees

parameters:
[num_threads: 64]
end of parameters
"""


def matrix(rows: int = 600) -> Any:
    """Two numbers, some of them missing, and a column of codes."""
    random = np.random.default_rng(5)
    made = np.column_stack([random.normal(size=(rows, 2)), random.integers(0, 70, rows)])
    made[random.random(rows) < 0.1, 0] = np.nan
    return made


def booster(rounds: int = 20, **settings: Any) -> lightgbm.Booster:
    rows = matrix()
    labels = (np.nan_to_num(rows[:, 0]) + rows[:, 2] % 3).round().clip(0, 2)
    parameters = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_per_group": 3, "cat_smooth": 1}
    data = lightgbm.Dataset(rows, labels, categorical_feature=[2])
    return lightgbm.train({**parameters, **settings}, data, rounds)


def test_the_text_that_the_refusals_start_from_is_itself_accepted() -> None:
    rows = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert Trees(TEXT, 3)(rows)[:, 0].tolist() == [1.0, 3.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "a feature far outside": ("split_feature=0 2 1", "split_feature=0 2 500000000"),
        "a negative feature": ("split_feature=0 2 1", "split_feature=0 2 -1"),
        "a child that is its parent": ("left_child=1 -1 -2", "left_child=0 -1 -2"),
        "a child before its parent": ("left_child=1 -1 -2", "left_child=1 -1 1"),
        "a child behind the last node": ("right_child=2 -3 -4", "right_child=3 -3 -4"),
        "a leaf behind the last one": ("right_child=2 -3 -4", "right_child=2 -3 -5"),
        "a child too few": ("left_child=1 -1 -2", "left_child=1 -1"),
        "a child glued to the next": ("left_child=1 -1 -2", "left_child=1-1 -1 -2"),
        "an integer out of every range": ("left_child=1 -1 -2", "left_child=1 -1 " + "9" * 30),
        "an integer of another script": ("left_child=1 -1 -2", "left_child=1 -1 -\u0662"),
        "no decisions": ("decision_type=2 1 10\n", ""),
        "a decision that wraps around": ("decision_type=2 1 10", "decision_type=258 257 10"),
        "more leaves than values": ("num_leaves=4", "num_leaves=1000000"),
        "no leaves": ("num_leaves=4", "num_leaves=0"),
        "a leaf value too few": ("leaf_value=1 2 3 4", "leaf_value=1 2 3"),
        "a threshold that is a word": ("threshold=0.5", "threshold=half"),
        "a set of categories that is not there": ("threshold=0.5 0 1e-3", "threshold=0.5 1 1e-3"),
        "a negative set of categories": ("threshold=0.5 0 1e-3", "threshold=0.5 -1 1e-3"),
        "a categorical node without sets": ("num_cat=1", "num_cat=0"),
        "a border behind the last word": ("cat_boundaries=0 1", "cat_boundaries=0 90000"),
        "a border before the first word": ("cat_boundaries=0 1", "cat_boundaries=-9 1"),
        "a word of 40 bits": ("cat_threshold=10", "cat_threshold=1099511627776"),
        "linear leaves": ("is_linear=0", "is_linear=1"),
        "another number of features": ("max_feature_idx=2", "max_feature_idx=500000000"),
        "a name too few": ("feature_names=a b c", "feature_names=a b"),
        "more scores for a row than room for them": ("num_tree_per_iteration=1", "num_tree_per_iteration=9"),
        "no scores": ("num_class=1\nnum_tree_per_iteration=1", "num_class=0\nnum_tree_per_iteration=0"),
        "more scores than trees": ("num_class=1\nnum_tree_per_iteration=1", "num_class=9\nnum_tree_per_iteration=9"),
        "a key twice": ("left_child=1 -1 -2", "left_child=1 -1 -2\nleft_child=0 0 0"),
        "no end": ("end of trees", "end of tree"),
    }.values(),
)
def test_a_text_that_would_lead_the_library_astray_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(KernelError):
        Trees(TEXT.replace(old, new), 3)


def test_a_matrix_of_another_width_is_refused() -> None:
    with pytest.raises(KernelError):
        Trees(TEXT, 3)(np.zeros((1, 2)))


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "regression"},
        {"objective": "regression", "max_cat_to_onehot": 100},
        {"objective": "multiclass", "num_class": 3, "max_cat_to_onehot": 1},
        {"objective": "multiclassova", "num_class": 3},
        {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"objective": "regression", "boosting": "dart", "num_leaves": 200},
        {"objective": "regression", "min_data_in_leaf": 10_000},
        {"objective": "regression", "zero_as_missing": True},
    ],
    ids=str,
)
def test_what_lightgbm_writes_is_loaded_and_answers_to_the_bit_as_before(settings: dict[str, Any]) -> None:
    trained = booster(**settings)
    rows = matrix()
    rows[:8, 2] = [-1, 0, 69, 70, 1e6, np.nan, 1.5, 31]
    got = Trees(trained.model_to_string(), 3)(rows)
    assert (got == trained.predict(rows, raw_score=True).reshape(got.shape)).all()


def test_checking_a_large_model_takes_a_fraction_of_a_second() -> None:
    text = booster(1000, objective="regression", num_leaves=63, max_cat_to_onehot=1).model_to_string()
    started = time.process_time()
    treetext.checked(text, 3)
    seconds = time.process_time() - started
    assert seconds < 0.2 * len(text) / 1e6, f"{seconds:.3f} s for {len(text) / 1e6:.1f} MB"


def saved(model: Any, folder: Path) -> Any:
    """Writes a package of a pipeline over two numbers; returns the inputs."""
    frame = fitted.table()[["delay", "seats"]].dropna()
    model.fit(frame, frame["delay"] + frame["seats"])
    signature = Signature((Column("delay", "double"), Column("seats", "double")))
    flavor.save(model, folder / "package", signature=signature, input_example=frame.head())
    (folder / "plan").mkdir()
    return frame


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        StandardScaler(with_mean=False, with_std=False),
        RobustScaler(with_centering=False),
        RobustScaler(with_scaling=False),
    ],
    ids=str,
)
def test_a_scaler_does_only_what_it_was_told_to(scaler: Any, tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    model = Pipeline([("scale", scaler), ("model", Ridge())])
    frame = saved(model, tmp_path)
    compiling.run(tmp_path / "package", tmp_path / "plan")
    plan = Plan.read(tmp_path / "plan")
    assert plan.root is not None, plan.why_not
    got = Compiled(plan, tmp_path / "plan")({name: frame[name].to_numpy(float) for name in frame}, len(frame))
    np.testing.assert_allclose(got[:, 0], model.predict(frame), rtol=1e-12)


def test_an_error_that_the_compiler_did_not_expect_makes_the_model_run_natively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(Pipeline([("scale", StandardScaler()), ("model", fitted.lightgbm.LGBMRegressor(verbose=-1))]), tmp_path)

    def broken(*_: Any, **__: Any) -> Any:
        raise AttributeError("no attribute booster_")

    monkeypatch.setattr(estimators, "over", broken)
    compiling.run(tmp_path / "package", tmp_path / "plan")
    plan = Plan.read(tmp_path / "plan")
    assert plan.root is None
    assert "AttributeError" in plan.why_not
    assert plan.columns == ("delay", "seats")
