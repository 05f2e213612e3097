"""From the rows of a training set to what workers learn from: plan, rows as models see them, split. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.models import statistics
from fivefold.models.package import FeatureSpec
from fivefold_automl import data, split
from fivefold_automl.errors import DataInvalid
from fivefold_automl.metrics import default_metric
from fivefold_automl.spec import JobSpec, Problem
from fivefold_automl.training import Dataset, Described

_STATISTICS_ROWS = 10_000
_EXAMPLE_ROWS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """What the features service says of a training set.

    left_out  its labels and its own time column
    spec      what its features were looked up by
    """

    name: str
    left_out: tuple[str, ...]
    spec: FeatureSpec | None


@dataclass(frozen=True, slots=True)
class Material:
    """Everything a search needs to know of its data."""

    plan: data.Plan
    described: Described
    dataset: Dataset
    metric: str
    warnings: tuple[str, ...]


def material_of(table: pa.Table, spec: JobSpec, source: Source, job: str) -> Material:
    """Understands a table and divides its rows. Raises TargetInvalid, DataInvalid."""
    table, warnings = _timed(table, spec)
    target, more = data.target_of(table, spec)
    left_out = {spec.target, spec.time_column, *spec.exclude_columns, *source.left_out}
    looked_up = {column.name for column in source.spec.features} if source.spec else set()
    inputs, odd = data.inputs_of(table, spec, left_out, looked_up)
    metric = spec.metric or default_metric(spec.problem, len(target.classes))
    train, valid = _split(table, target, spec)
    _check_classes(target, train, valid, spec, metric)
    random = np.random.default_rng(spec.seed)
    sampled = np.sort(random.choice(train, min(len(train), _STATISTICS_ROWS), replace=False))
    columns = data.sample(table, inputs, target.rows[sampled])
    described = Described(
        training_set=source.name,
        feature_spec=source.spec,
        example=data.sample(table, inputs, target.rows[valid[:_EXAMPLE_ROWS]]),
        statistics={column.name: statistics.summary(columns[column.name], column.type) for column in inputs},
        metadata={"job": job, "target": spec.target, "problem": spec.problem.value},
    )
    return Material(
        plan=data.Plan(spec.problem, spec.target, target.classes, inputs),
        described=described,
        dataset=Dataset(data.model_table(table, inputs, target.rows), target.values, train, valid),
        metric=metric,
        warnings=(*warnings, *more, *odd),
    )


def _timed(table: pa.Table, spec: JobSpec) -> tuple[pa.Table, Sequence[str]]:
    """Leaves out rows without a time where rows are divided by time."""
    if not spec.time_column:
        return table, ()
    missing = table[spec.time_column].null_count
    if not missing:
        return table, ()
    kept = table.filter(pc.is_valid(table[spec.time_column]))
    return kept, (f"column {spec.time_column!r} is missing in {missing} rows; they are left out",)


def _split(table: pa.Table, target: data.Target, spec: JobSpec) -> tuple[np.ndarray, np.ndarray]:
    if spec.time_column:
        times = table[spec.time_column].combine_chunks().take(pa.array(target.rows))
        if pa.types.is_temporal(times.type):
            times = times.cast(pa.int32() if pa.types.is_date32(times.type) else pa.int64())
        return split.chronological(times.to_numpy(zero_copy_only=False), spec.validation_share, spec.time_column)
    if spec.problem is Problem.CLASSIFICATION:
        return split.stratified(target.values, spec.validation_share, spec.seed)
    return split.shuffled(len(target.values), spec.validation_share, spec.seed)


def _check_classes(target: data.Target, train: np.ndarray, valid: np.ndarray, spec: JobSpec, metric: str) -> None:
    """Raises DataInvalid when a class is missing where it is needed: in training, and for ROC AUC in validation."""
    for rows, where in ((train, "training"), (valid, "validation")):
        if where == "validation" and metric != "roc_auc":
            continue
        present = set(np.unique(target.values[rows]).tolist()) if target.classes else set()
        for code, label in enumerate(target.classes):
            if code not in present:
                raise DataInvalid(
                    f"class {str(label)[:40]!r} of target {spec.target!r} has no {where} rows",
                    target=spec.target,
                    where=where,
                )
