"""Packages: what is written is what is read, in the form that MLflow reads, and nothing else is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fivefold.features.v1 import features_pb2
from fivefold.models import lightgbm as lightgbm_flavor
from fivefold.models import package, statistics
from fivefold.models import sklearn as sklearn_flavor
from fivefold.models import xgboost as xgboost_flavor
from fivefold.models.package import FeatureSpec, PackageInvalid
from fivefold.models.signature import TYPES, Column, Signature, SignatureInvalid, infer

FRAME = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "b": [1, 0, 1, 0]})
TARGET = [0, 1, 0, 1]
SIGNATURE = Signature(
    (Column("a", "double"), Column("b", "int64", True)), (Column("label", "int64"), Column("p", "double"))
)


def boosted() -> Any:
    return lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbose=-1).fit(FRAME, TARGET)


def test_a_package_says_after_reading_what_it_said_when_written(tmp_path: Path) -> None:
    written = sklearn_flavor.save(
        boosted(),
        tmp_path,
        signature=SIGNATURE,
        input_example=FRAME,
        feature_spec=FeatureSpec("specs/x", (Column("k", "string"),), (Column("a", "double"),)),
        training_set="trainingSets/7",
        statistics={"inputs": {"a": {"rows": 4}}, "outputs": {}},
        classes=("no", "yes"),
        positive="yes",
        metadata={"learner": "lightgbm"},
    )
    assert package.read(tmp_path) == written
    assert written.input_example == {"a": [1.0, 2.0, None, 4.0], "b": [1, 0, 1, 0]}


def test_the_mlmodel_file_has_the_fields_by_which_mlflow_loads_it(tmp_path: Path) -> None:
    sklearn_flavor.save(boosted(), tmp_path, signature=SIGNATURE, input_example=FRAME)
    described = yaml.safe_load((tmp_path / "MLmodel").read_text())
    function, flavor = described["flavors"]["python_function"], described["flavors"]["sklearn"]
    assert (function["loader_module"], function["model_path"], function["predict_fn"]) == (
        "mlflow.sklearn", "model.skops", "predict",
    )  # fmt: skip
    assert (flavor["pickled_model"], flavor["serialization_format"]) == ("model.skops", "skops")
    assert set(flavor["skops_trusted_types"]) >= {"lightgbm.sklearn.LGBMClassifier", "lightgbm.basic.Booster"}
    assert json.loads(described["signature"]["inputs"]) == [
        {"type": "double", "name": "a", "required": False},
        {"type": "long", "name": "b", "required": True},
    ]
    assert described["saved_input_example_info"]["artifact_path"] == "input_example.json"
    needs = (tmp_path / "requirements.txt").read_text().split()
    assert {need.partition("==")[0] for need in needs} == {"scikit-learn", "skops", "numpy", "pandas", "lightgbm"}


@pytest.mark.parametrize("kind", ["classifier", "regressor", "booster"])
def test_xgboost_models_come_back_as_what_they_were(tmp_path: Path, kind: str) -> None:
    made = {"classifier": xgboost.XGBClassifier, "regressor": xgboost.XGBRegressor, "booster": xgboost.XGBClassifier}
    model = made[kind](n_estimators=3).fit(FRAME, TARGET)
    model = model.get_booster() if kind == "booster" else model
    xgboost_flavor.save(model, tmp_path, signature=SIGNATURE, input_example=FRAME)
    loaded = xgboost_flavor.load(tmp_path)
    assert type(loaded) is type(model)
    data = xgboost.DMatrix(FRAME) if kind == "booster" else FRAME
    assert (loaded.predict(data) == model.predict(data)).all()


def test_lightgbm_boosters_and_sklearn_pipelines_answer_the_same_after_loading(tmp_path: Path) -> None:
    booster = boosted().booster_
    lightgbm_flavor.save(booster, tmp_path / "booster", signature=SIGNATURE, input_example=FRAME)
    assert (lightgbm_flavor.load(tmp_path / "booster").predict(FRAME) == booster.predict(FRAME)).all()
    for number, learner in enumerate([lightgbm.LGBMClassifier(verbose=-1), xgboost.XGBClassifier(n_estimators=2)]):
        pipeline = Pipeline([("scale", StandardScaler()), ("model", learner)]).fit(FRAME, TARGET)
        sklearn_flavor.save(pipeline, tmp_path / str(number), signature=SIGNATURE, input_example=FRAME)
        loaded = sklearn_flavor.load(tmp_path / str(number))
        assert (loaded.predict_proba(FRAME) == pipeline.predict_proba(FRAME)).all()


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    pipeline = Pipeline([("call", FunctionTransformer(subprocess.getoutput)), ("model", Ridge())])
    with pytest.raises(PackageInvalid, match=r"not allowed: subprocess.getoutput"):
        sklearn_flavor.save(pipeline, tmp_path / "x", signature=SIGNATURE, input_example=FRAME)
    assert not (tmp_path / "x").exists()
    with pytest.raises(PackageInvalid, match=r"it must be one of xgboost\.core\.Booster"):
        xgboost_flavor.save(Ridge(), tmp_path / "x", signature=SIGNATURE, input_example=FRAME)


def test_what_a_package_calls_trusted_is_not_trusted(tmp_path: Path) -> None:
    sklearn_flavor.save(
        LogisticRegression().fit([[0], [1]], [0, 1]), tmp_path, signature=SIGNATURE, input_example=FRAME
    )
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(subprocess.getoutput))
    described = yaml.safe_load((tmp_path / "MLmodel").read_text())
    described["flavors"]["sklearn"]["skops_trusted_types"] = ["subprocess.getoutput"]
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(described))
    with pytest.raises(PackageInvalid, match=r"not allowed: subprocess.getoutput"):
        sklearn_flavor.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "MLmodel is missing"),
        ("", "MLmodel must be a mapping"),
        ("a: [", "MLmodel is not YAML"),
        ("[" * 100_000, "MLmodel is not YAML"),
        ("flavors: 3", "flavors must be a mapping"),
        ("flavors: {}", "flavors is empty"),
        ("flavors: {x: 1}", "flavor x must be a mapping"),
        ("flavors: {x: {}}\nsignature: {inputs: '['}", "the signature is not JSON"),
        ("flavors: {x: {}}\nsignature: {inputs: '{}'}", "not a list of columns"),
        ('flavors: {x: {}}\nsignature: {inputs: \'[{"type": "map", "name": "a"}]\'}', "'map', which is not served"),
        ("flavors: {x: {}}\nmetadata: {fivefold: {signature: {inputs: [{name: a}]}}}", "lacks its name or type"),
        ("flavors: {x: {}}\nmetadata: {fivefold: {feature_spec: {}}}", "feature_spec lacks its name"),
        ("flavors: {x: {}}\nmetadata: {fivefold: {classes: [[1]]}}", "classes must be a list of labels"),
    ],
)
def test_a_folder_that_is_no_package_is_refused_by_the_field_at_fault(
    tmp_path: Path, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(PackageInvalid, match=why) as raised:
        package.read(tmp_path)
    assert str(tmp_path) not in str(raised.value)


def test_a_package_of_mlflows_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  lightgbm: {data: model.lgb}\n"
        "metadata: {team: x}\n"
        "saved_input_example_info: {artifact_path: input_example.json, pandas_orient: split, type: dataframe}\n"
        "signature:\n"
        '  inputs: \'[{"type": "datetime", "name": "t", "required": true}, {"type": "boolean", "name": "b"}]\'\n'
        '  outputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]\'\n'
    )
    (tmp_path / "input_example.json").write_text('{"columns": ["t", "b"], "data": [["2026-01-02T03:04:05", null]]}')
    found = package.read(tmp_path)
    assert found.signature == Signature((Column("t", "timestamp", True), Column("b", "bool", True)))
    assert found.input_example == {"t": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)], "b": [None]}
    assert found.metadata == {"team": "x"}


def test_a_matrix_signature_becomes_numbered_columns() -> None:
    described = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
    found = Signature.from_mlflow({"inputs": described})
    assert (found.unnamed, [column.name for column in found.inputs]) == (True, ["0", "1", "2"])
    with pytest.raises(SignatureInvalid, match="no table"):
        Signature.from_mlflow({"inputs": described.replace("[-1, 3]", "[-1, 3, 3]")})


def test_dates_and_times_survive_the_example(tmp_path: Path) -> None:
    signature = Signature((Column("d", "date"), Column("t", "timestamp")))
    example = {"d": [date(2026, 2, 3), None], "t": [datetime(2026, 1, 1, 12, tzinfo=UTC), pd.NaT]}
    sklearn_flavor.save(Ridge().fit([[1]], [1]), tmp_path, signature=signature, input_example=example)
    found = package.read(tmp_path)
    assert found.input_example == {"d": [date(2026, 2, 3), None], "t": [datetime(2026, 1, 1, 12, tzinfo=UTC), None]}
    assert found.signature == signature


def test_an_example_without_a_column_of_the_signature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageInvalid, match="lacks column 'b'"):
        sklearn_flavor.save(boosted(), tmp_path, signature=SIGNATURE, input_example=FRAME[["a"]])


def test_reading_and_writing_needs_neither_pandas_nor_a_learner() -> None:
    program = (
        "import sys\n"
        "from fivefold.models import package, signature\n"
        "print(sorted({'pandas', 'numpy', 'sklearn', 'grpc', 'google.protobuf'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_feature_spec_is_made_of_the_services_message() -> None:
    message = features_pb2.FeatureSpec(
        name="specs/x",
        keys=[features_pb2.TableColumn(name="k", type="DATA_TYPE_STRING")],
        features=[features_pb2.TableColumn(name="f", type="DATA_TYPE_DOUBLE")],
    )
    assert FeatureSpec.of(message) == FeatureSpec("specs/x", (Column("k", "string"),), (Column("f", "double"),))


names = st.text(min_size=1, max_size=20).filter(str.isprintable)
columns = st.lists(
    st.builds(Column, names, st.sampled_from(TYPES), st.booleans()), max_size=6, unique_by=lambda c: c.name
)


@given(columns, columns)
def test_every_signature_survives_both_of_its_forms(inputs: list[Column], outputs: list[Column]) -> None:
    signature = Signature(tuple(inputs), tuple(outputs))
    assert Signature.from_plain(json.loads(json.dumps(signature.to_plain()))) == signature
    theirs = Signature.from_mlflow(signature.to_mlflow())
    kinds = [("timestamp" if c.type == "date" else c.type) for c in inputs]
    assert [(c.name, c.type, c.required) for c in theirs.inputs] == [
        (c.name, kind, c.required) for c, kind in zip(inputs, kinds, strict=True)
    ]


def test_types_are_inferred_from_dtypes() -> None:
    frame = pd.DataFrame(
        {
            "double": [1.0], "float": np.array([1], np.float32), "int64": [1], "int32": np.array([1], np.int32),
            "bool": [True], "string": ["x"], "timestamp": [pd.Timestamp("2026-01-01", tz="UTC")],
        }
    )  # fmt: skip
    assert all(column.name == column.type and not column.required for column in infer(frame))
    assert infer(frame.astype({"string": "category"}), required=True)[5] == Column("string", "string", True)
    with pytest.raises(SignatureInvalid, match="dtype complex128"):
        infer(pd.DataFrame({"c": [1j]}))


def test_a_column_of_no_type_and_a_column_twice_are_refused() -> None:
    with pytest.raises(SignatureInvalid, match="must be one of bool"):
        Column("a", "text")
    with pytest.raises(SignatureInvalid, match="'a' occurs twice"):
        Signature((Column("a", "bool"), Column("a", "bool")))


def test_statistics_summarise_what_is_there() -> None:
    found = statistics.of(
        {"a": [1.0, 2.0, 3.0, None], "b": ["x", "x", "y", None]},
        {"label": [True, False, True, True]},
        Signature((Column("a", "double"), Column("b", "string")), (Column("label", "bool"),)),
    )
    assert found["inputs"]["a"]["missing"] == 1
    assert (found["inputs"]["a"]["mean"], found["inputs"]["a"]["quantiles"][10]) == (2.0, 2.0)
    assert found["inputs"]["b"]["top"] == [{"value": "x", "rows": 2}, {"value": "y", "rows": 1}]
    assert found["outputs"]["label"]["distinct"] == 2
    assert statistics.summary([None], "double") == {"rows": 1, "missing": 1}
    with pytest.raises(PackageInvalid, match="the table lacks column 'b'"):
        statistics.of({"a": [1.0]}, {}, Signature((Column("a", "double"), Column("b", "string"))))
