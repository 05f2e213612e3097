"""Compiled models answer what their native ones answer, on rows that are made to find a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.preprocessing import OrdinalEncoder

from fivefold.models import lightgbm as lightgbm_flavor
from fivefold.models import xgboost as xgboost_flavor
from fivefold.models.signature import Column, Signature
from fivefold_serving import compile as compiling
from fivefold_serving.columns import Values, rows_of
from fivefold_serving.features import ValueRefused
from fivefold_serving.kernel import Trees
from fivefold_serving.plan import Plan
from fivefold_serving.predictor import Answers, Compiled
from tests.serving import fitted

ROWS = 3000


def rows() -> pd.DataFrame:
    """Rows with every known value, unknown ones, missing ones, extremes, and the float32 neighbours of values seen."""
    random = np.random.default_rng(11)
    seen = fitted.table()
    frame = seen.sample(ROWS, replace=True, random_state=7).reset_index(drop=True)
    for name in fitted.NUMBERS:
        values = frame[name].to_numpy(copy=True)
        edge = values.astype(np.float32)
        step = random.integers(0, 4, ROWS)
        values = np.where(step == 1, np.nextafter(edge, np.float32(np.inf)), values)
        values = np.where(step == 2, np.nextafter(edge, np.float32(-np.inf)), values)
        values[:4] = [0.0, -0.0, 1e12, -1e12]
        frame[name] = values if name != "jet" else random.choice([0.0, 1.0, np.nan], ROWS)
    for name in fitted.TEXTS:
        unknown = random.random(ROWS) < 0.1
        frame.loc[unknown, name] = random.choice(["", "nobody knows", "jfk", "aa"], int(unknown.sum()))
        frame.loc[random.random(ROWS) < 0.1, name] = np.nan
    return frame


def columns(frame: pd.DataFrame) -> dict[str, Values]:
    return {
        name: frame[name].to_numpy(float)
        if name not in fitted.TEXTS
        else [None if value != value else value for value in frame[name].tolist()]
        for name in frame
    }


def compiled(package: Path, out: Path) -> tuple[Plan, Compiled]:
    out.mkdir()
    compiling.run(package, out)
    plan = Plan.read(out)
    assert plan.root is not None, plan.why_not
    return plan, Compiled(plan, out)


def agree(got: Answers, wanted: Any) -> None:
    wanted = np.asarray(wanted, float)
    assert got.shape == wanted.shape
    far = np.abs(got - wanted) / max(1.0, np.abs(wanted).max())
    assert far.max() <= 1e-6, f"row {int(far.max(axis=1).argmax())} differs by {far.max():.3g}"


@pytest.mark.parametrize("name", fitted.MODELS)
def test_a_compiled_model_answers_what_the_native_one_does(name: str, tmp_path: Path) -> None:
    native = fitted.save(name, tmp_path / "package")
    plan, model = compiled(tmp_path / "package", tmp_path / "plan")
    assert plan.about == fitted.MODELS[name][2]
    frame = rows()
    agree(model(columns(frame), ROWS), fitted.expected(native, frame))


@pytest.mark.parametrize("prepared", fitted.PREPARATIONS)
@pytest.mark.parametrize("name", ["lightgbm pair", "logistic three", "ridge"])
def test_every_preparation_compiles_to_the_same_features(name: str, prepared: str, tmp_path: Path) -> None:
    native = fitted.save(name, tmp_path / "package", prepared=prepared)
    _, model = compiled(tmp_path / "package", tmp_path / "plan")
    frame = rows()
    agree(model(columns(frame), ROWS), fitted.expected(native, frame))


def test_one_row_gets_the_answer_that_it_gets_among_many(tmp_path: Path) -> None:
    fitted.save("xgboost three", tmp_path / "package")
    _, model = compiled(tmp_path / "package", tmp_path / "plan")
    table = columns(rows())
    together = model(table, ROWS)
    for row in range(0, ROWS, 97):
        alone = model({name: values[row : row + 1] for name, values in table.items()}, 1)
        assert (alone == together[row]).all()


def test_a_model_with_a_part_that_has_no_compiled_form_says_which(tmp_path: Path) -> None:
    fitted.save("histogram pair", tmp_path / "package")
    (tmp_path / "plan").mkdir()
    compiling.run(tmp_path / "package", tmp_path / "plan")
    plan = Plan.read(tmp_path / "plan")
    assert plan.root is None
    assert "HistGradientBoostingClassifier" in plan.why_not


def test_a_stock_xgboost_model_answers_the_same_at_the_edges_of_its_splits(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    matrix = random.integers(-4, 5, (500, 3)).astype(float) / 3  # few values, so that splits fall on them
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    target = (np.nan_to_num(matrix).sum(axis=1) > 0).astype(int)
    model = xgboost.XGBClassifier(n_estimators=20, n_jobs=1).fit(matrix, target)
    signature = Signature(tuple(Column(str(place), "double") for place in range(3)), unnamed=True)
    example = {str(place): matrix[:4, place] for place in range(3)}
    xgboost_flavor.save(model, tmp_path / "package", signature=signature, input_example=example)
    plan, compiled_model = compiled(tmp_path / "package", tmp_path / "plan")
    edges = np.concatenate([matrix, np.nextafter(matrix, np.inf), np.nextafter(matrix, -np.inf)])
    got = compiled_model({str(place): edges[:, place] for place in range(3)}, len(edges))
    agree(got, model.predict_proba(edges))
    assert plan.classes == (0, 1)


def test_a_lightgbm_booster_package_compiles(tmp_path: Path) -> None:
    frame = fitted.table()[["delay", "seats"]]
    booster = fitted.boosted().fit(frame, fitted.target("pair") == "late").booster_
    signature = Signature((Column("delay", "double"), Column("seats", "int64")))
    lightgbm_flavor.save(booster, tmp_path / "package", signature=signature, input_example=frame.head())
    plan, model = compiled(tmp_path / "package", tmp_path / "plan")
    got = model({name: frame[name].to_numpy(float) for name in frame}, len(frame))
    agree(got[:, 1:], booster.predict(frame)[:, None])
    assert (plan.task, plan.classes) == ("classification", (0, 1))


def test_an_encoder_that_refuses_unknown_values_makes_the_plan_refuse_them_by_column(tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline

    from fivefold.models import sklearn as flavor

    frame = fitted.table()[["carrier"]].fillna("none")
    model = Pipeline([("encode", OrdinalEncoder()), ("model", fitted.boosted())]).fit(frame, fitted.target("pair"))
    signature = Signature((Column("carrier", "string"),))
    flavor.save(model, tmp_path / "package", signature=signature, input_example=frame.head())
    plan, predict = compiled(tmp_path / "package", tmp_path / "plan")
    with pytest.raises(ValueRefused) as refused:
        predict({"carrier": ["AA", "XX"]}, 2)
    assert (refused.value.column, refused.value.value) == ("carrier", "XX")
    assert plan.not_null == ("carrier",)


def test_a_model_that_was_trained_with_none_takes_missing_text_as_none(tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline

    from fivefold.models import sklearn as flavor

    frame = fitted.table()[["carrier", "origin"]].astype(object)
    frame = frame.where(frame.notna(), None)
    native = Pipeline(
        [("prepare", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), ("model", fitted.boosted())]
    )
    native.fit(frame, fitted.target("pair"))
    signature = Signature((Column("carrier", "string"), Column("origin", "string")))
    flavor.save(native, tmp_path / "package", signature=signature, input_example=frame.head())
    _, model = compiled(tmp_path / "package", tmp_path / "plan")
    given: dict[str, Values] = {name: frame[name].tolist() for name in frame}
    agree(model(given, rows_of(given)), native.predict_proba(frame))


def test_trees_answer_the_same_from_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    frame = fitted.table()[["delay", "seats"]]
    booster = fitted.boosted().fit(frame, fitted.target("pair") == "late").booster_
    trees = Trees(booster.model_to_string(), 2)
    matrix = np.ascontiguousarray(frame.to_numpy(float))
    wanted = booster.predict(frame, raw_score=True)

    def one(row: int) -> float:
        return float(trees(np.ascontiguousarray(matrix[row : row + 1]))[0, 0])

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(one, list(range(len(matrix))) * 5))
    assert got == list(wanted) * 5
