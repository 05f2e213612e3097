"""What is understood of a table: targets, inputs, warnings; and which rows validate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold_automl import split
from fivefold_automl.data import Kind, inputs_of, model_table, target_of
from fivefold_automl.dataset import Source, material_of
from fivefold_automl.errors import DataInvalid, TargetInvalid
from fivefold_automl.spec import JobSpec, Problem
from fivefold_automl.training import outputs_of, signature_of

ROWS = 40


def spec(**fields: Any) -> JobSpec:
    return JobSpec(**{"problem": Problem.CLASSIFICATION, "training_set": "trainingSets/a", "target": "y", **fields})


def columns(**more: Any) -> pa.Table:
    return pa.table({"x": [i % 7 + 0.5 for i in range(ROWS)], "y": ["a", "b"] * (ROWS // 2), **more})


def understood(**more: Any) -> tuple[dict[str, Any], list[str]]:
    """Returns the inputs by name and the warnings of a table with more columns."""
    inputs, warnings = inputs_of(columns(**more), spec(), {"y"}, set())
    return {column.name: column for column in inputs}, warnings


@pytest.mark.parametrize(
    ("values", "kind", "type_name"),
    [
        ([1, 2, 3, None] * 10, Kind.NUMERIC, "int64"),
        (pa.array([1, 2] * 20, pa.int32()), Kind.NUMERIC, "int32"),
        (pa.array([0.5, 2] * 20, pa.float32()), Kind.NUMERIC, "float"),
        ([True, False] * 20, Kind.BOOLEAN, "bool"),
        (["u", "v", None, "w"] * 10, Kind.CATEGORICAL, "string"),
        (pa.array(["u", "v"] * 20).dictionary_encode(), Kind.CATEGORICAL, "string"),
    ],
)
def test_a_columns_type_decides_what_it_means(values: Any, kind: Kind, type_name: str) -> None:
    inputs, warnings = understood(z=values)
    assert (inputs["z"].kind, inputs["z"].type, warnings) == (kind, type_name, [])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["same"] * ROWS, "is constant and is left out"),
        (pa.nulls(ROWS, pa.float64()), "has no values and is left out"),
        (
            [f"id-{i}" for i in range(ROWS)],
            "looks like an identifier or free text (40 different values) and is left out",
        ),
        (list(range(100, 100 + ROWS)), "numbers the rows and is left out"),
        (
            pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * ROWS, pa.timestamp("us", "UTC")),
            "is a time and is left out; give calendar columns such as the hour or the weekday instead",
        ),
        ([[1]] * ROWS, "has a type that is no input and is left out"),
    ],
)
def test_a_useless_column_is_left_out_with_a_warning_that_names_it(values: Any, why: str) -> None:
    inputs, warnings = understood(z=values)
    assert "z" not in inputs
    assert warnings == [f"column 'z' {why}"]


def test_odd_but_usable_columns_are_kept_with_a_warning() -> None:
    inputs, warnings = understood(sparse=[1.5, 2.5] + [None] * 38, wild=[float("inf"), 1.0] * 20)
    assert {"sparse", "wild"} <= set(inputs)
    assert warnings == [
        "column 'sparse' is 95 % missing",
        "column 'wild' is infinite or not a number in 20 rows, which count as missing",
    ]


def test_a_column_is_required_only_when_it_can_never_be_null() -> None:
    inputs, _ = inputs_of(columns(z=[1.5, None] * 20, w=[1.5, 2.5] * 20), spec(), {"y"}, {"w"})
    assert {column.name: column.required for column in inputs} == {"x": True, "z": False, "w": False}


def test_infinite_and_missing_values_are_null_for_models() -> None:
    data = columns(wild=[float("inf"), 1.0, None, float("nan")] * 10, flag=[True, None] * 20)
    inputs, _ = inputs_of(data, spec(), {"x", "y"}, set())
    seen = model_table(data, inputs, np.arange(4))
    assert seen.to_pydict() == {"wild": [None, 1.0, None, None], "flag": [1.0, None, 1.0, None]}


def test_equal_column_names_are_refused() -> None:
    twice = pa.table([pa.array([1.5] * 20), pa.array([2.5] * 20)], names=["x", "x"])
    with pytest.raises(DataInvalid, match="two columns are called 'x'"):
        inputs_of(twice, spec(), set(), set())


def test_no_input_left_is_refused() -> None:
    with pytest.raises(DataInvalid, match="no column is left"):
        inputs_of(columns(), spec(), {"x", "y"}, set())


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes"] * 20, ("no", "yes")),
        ([0, 1, 2, 1] * 10, (0, 1, 2)),
        ([0.0, 1.0] * 20, (0, 1)),
        ([True, False] * 20, (False, True)),
    ],
)
def test_classes_are_ordered_with_the_greater_one_positive(labels: list[Any], classes: tuple[Any, ...]) -> None:
    target, _ = target_of(pa.table({"y": labels}), spec())
    assert target.classes == classes
    assert [classes[code] for code in target.values] == [int(v) if isinstance(v, float) else v for v in labels]


def test_the_positive_class_that_was_asked_for_comes_last() -> None:
    target, _ = target_of(pa.table({"y": [True, False, False, False] * 10}), spec(positive_class="false"))
    assert target.classes == (True, False)


def test_rows_without_a_target_and_single_classes_are_left_out_with_a_warning() -> None:
    labels = ["a", "b"] * 10 + [None, None, "rare"]
    target, warnings = target_of(pa.table({"y": labels}), spec())
    assert list(target.rows) == list(range(20))
    assert warnings == [
        "target 'y' is missing in 2 of 23 rows; they are left out",
        "target 'y' has class 'rare' in one row; it is left out",
    ]


@pytest.mark.parametrize(
    ("labels", "fields", "why"),
    [
        (["a"] * 20, {}, "1 class"),
        ([float(i) + 0.5 for i in range(20)], {}, "fractions"),
        ([str(i % 201) for i in range(402)], {}, "201 classes"),
        (["a", "b"] * 10, {"positive_class": "c"}, "no class 'c'"),
        (["a", "b", "c"] * 10, {"positive_class": "c"}, "needs two"),
        ([3.0] * 20, {"problem": Problem.REGRESSION}, "constant"),
        (["a", "b"] * 10, {"problem": Problem.REGRESSION}, "needs numbers"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused(labels: list[Any], fields: dict[str, Any], why: str) -> None:
    with pytest.raises(TargetInvalid, match=why):
        target_of(pa.table({"y": labels}), spec(**fields))


def test_two_rows_are_refused() -> None:
    with pytest.raises(DataInvalid, match="2 rows have a target; at least 10"):
        target_of(pa.table({"y": ["a", "b"]}), spec())


def test_the_latest_rows_validate_and_equal_times_stay_together() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = pa.array([start + timedelta(hours=(i * 7) % 10) for i in range(ROWS)], pa.timestamp("us", "UTC"))
    data = columns(when=times)
    made = material_of(data, spec(time_column="when", validation_share=0.25), Source("t", (), None), "jobs/a").dataset
    hours = np.array([(i * 7) % 10 for i in range(ROWS)])
    assert hours[made.train].max() < hours[made.valid].min()
    assert "when" not in made.inputs.column_names


def test_one_time_for_all_rows_cannot_be_divided() -> None:
    with pytest.raises(DataInvalid, match="too few different times"):
        split.chronological(np.zeros(20), 0.2, "when")


def test_a_class_without_training_rows_is_refused() -> None:
    data = columns(when=pa.array(range(ROWS), pa.int64())).set_column(1, "y", [["a"] * 32 + ["b"] * 8])
    with pytest.raises(DataInvalid, match="class 'b' of target 'y' has no training rows"):
        material_of(data, spec(time_column="when"), Source("t", (), None), "jobs/a")


def test_labels_and_the_own_time_column_of_a_training_set_are_no_inputs() -> None:
    made = material_of(columns(late=[1, 0] * 20), spec(), Source("t", ("late", "y"), None), "jobs/a")
    assert [column.name for column in made.plan.inputs] == ["x"]


def test_outputs_follow_the_problem() -> None:
    three = columns().set_column(1, "y", [["a", "b", "c", "a"] * 10])
    of_three = material_of(three, spec(), Source("t", (), None), "jobs/a")
    assert [c.name for c in outputs_of(of_three.plan)] == ["label", "probability_a", "probability_b", "probability_c"]
    assert of_three.metric == "log_loss"
    of_two = material_of(columns(), spec(), Source("t", (), None), "jobs/a")
    assert [(c.name, c.type) for c in signature_of(of_two.plan).outputs] == [
        ("label", "string"),
        ("probability", "double"),
    ]
    assert of_two.metric == "roc_auc"


@given(st.lists(st.integers(0, 3), min_size=10, max_size=80), st.floats(0.05, 0.5), st.integers(0, 2**31))
def test_a_stratified_choice_has_every_class_on_both_sides(codes: list[int], share: float, seed: int) -> None:
    kept = np.array([code for code in codes if codes.count(code) > 1])
    if len(kept) == 0:
        return
    train, valid = split.stratified(kept, share, seed)
    assert sorted([*train, *valid]) == list(range(len(kept)))
    assert set(kept[train]) == set(kept[valid]) == set(kept)
