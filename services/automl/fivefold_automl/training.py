"""One trial: prepare, fit, score on the validation rows, save. Runs in a Ray worker but knows nothing of Ray."""

from __future__ import annotations

import importlib
import math
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.models import statistics
from fivefold.models.package import About, FeatureSpec
from fivefold.models.signature import Column, Signature
from fivefold_automl.data import Plan
from fivefold_automl.learners.base import Encoding, Learner, Task
from fivefold_automl.metrics import evaluate_classes, evaluate_numbers
from fivefold_automl.preparation import fitted
from fivefold_automl.spec import Problem


@dataclass(frozen=True, slots=True)
class Described:
    """What a package says beside its model; the same for all trials of a job."""

    training_set: str
    feature_spec: FeatureSpec | None
    example: Mapping[str, list[Any]]
    statistics: Mapping[str, Any]  # of inputs
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows, as they lie in the object store.

    inputs        n rows: float64 and dictionary columns (data.model_table)
    target        n class codes or numbers
    train, valid  places of rows, ascending
    """

    inputs: pa.Table
    target: np.ndarray
    train: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, slots=True)
class Trained:
    """What a trial leaves: validation metrics, the package's files by relative path, seconds of the fit itself."""

    metrics: Mapping[str, float]
    files: Mapping[str, bytes]
    seconds: float


@dataclass(slots=True)
class Bench:
    """The data of one job, prepared once for each encoding."""

    plan: Plan
    described: Described
    dataset: Dataset
    _prepared: dict[Encoding, tuple[Any, Any, Any]] = field(default_factory=dict)
    _frame: Any = None

    def warm(self, learners: Iterable[Learner]) -> None:
        """Imports and prepares what these learners need, so that no trial's time goes into it."""
        for learner in learners:
            importlib.import_module(learner.library)
            self._matrices(learner.encoding)

    def train(self, learner: Learner, params: Mapping[str, Any], seed: int, seconds: float) -> Trained:
        """Runs one trial that should take at most `seconds`. Raises whatever the learner raises."""
        began = time.monotonic()
        preparation, train, valid = self._matrices(learner.encoding)
        target = self.dataset.target
        task = Task(
            problem=self.plan.problem,
            classes=len(self.plan.classes),
            train=train,
            train_target=target[self.dataset.train],
            valid=valid,
            valid_target=target[self.dataset.valid],
            seed=seed,
            until=began + seconds,
        )
        model = learner.fit(task, params)
        seconds_taken = time.monotonic() - began
        outputs, metrics = self._judged(model, task)
        return Trained(metrics, self._package(preparation, model, outputs, learner.name), seconds_taken)

    def frame(self, rows: np.ndarray) -> Any:
        """Returns the inputs of some rows as a pandas frame: float64 and categories, NaN where a value is missing."""
        if self._frame is None:
            self._frame = self.dataset.inputs.to_pandas()
        return self._frame.take(rows)

    def _matrices(self, encoding: Encoding) -> tuple[Any, Any, Any]:
        """Returns (fitted preparation, prepared training rows, prepared validation rows)."""
        if encoding not in self._prepared:
            preparation, train = fitted(encoding, self.plan.inputs, self.frame(self.dataset.train))
            self._prepared[encoding] = preparation, train, preparation.transform(self.frame(self.dataset.valid))
        return self._prepared[encoding]

    def _judged(self, model: Any, task: Task) -> tuple[dict[str, list[Any]], dict[str, float]]:
        """Returns the outputs on the validation rows by name, and their scores."""
        if self.plan.problem is Problem.REGRESSION:
            predicted = np.asarray(model.predict(task.valid), dtype=np.float64)
            outputs: dict[str, list[Any]] = {"prediction": predicted.tolist()}
            metrics = evaluate_numbers(task.valid_target, predicted)
        else:
            likely = np.asarray(model.predict_proba(task.valid), dtype=np.float64)
            outputs = {"label": [self.plan.classes[code] for code in likely.argmax(axis=1)]}
            names = [column.name for column in outputs_of(self.plan)[1:]]
            chosen = likely[:, 1:] if len(names) == 1 else likely
            outputs |= {name: chosen[:, place].tolist() for place, name in enumerate(names)}
            metrics = evaluate_classes(task.valid_target, likely)
        if not all(math.isfinite(score) for score in metrics.values()):
            raise ValueError("a score is not a number")
        return outputs, metrics

    def _package(
        self, preparation: Any, model: Any, outputs: Mapping[str, list[Any]], learner: str
    ) -> dict[str, bytes]:
        """Returns the files of a model package with preparation and model in one pipeline."""
        from sklearn.pipeline import Pipeline

        from fivefold.models import sklearn as flavor

        pipeline = Pipeline([("prepare", preparation), ("model", model)])

        signature = signature_of(self.plan)
        of_outputs = {c.name: statistics.summary(outputs[c.name], c.type) for c in signature.outputs}
        about = About(
            signature=signature,
            input_example=self.described.example,
            feature_spec=self.described.feature_spec,
            training_set=self.described.training_set,
            statistics={"inputs": self.described.statistics, "outputs": of_outputs},
            classes=self.plan.classes,
            metadata={**self.described.metadata, "learner": learner},
        )
        if len(self.plan.classes) == 2:
            about["positive"] = self.plan.classes[1]
        with tempfile.TemporaryDirectory(prefix="fivefold-model-") as scratch:
            folder = Path(scratch) / "model"
            flavor.save(pipeline, folder, **about)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def signature_of(plan: Plan) -> Signature:
    """Returns the signature of every model of a plan."""
    inputs = tuple(Column(column.name, column.type, column.required) for column in plan.inputs)
    return Signature(inputs, outputs_of(plan))


def outputs_of(plan: Plan) -> tuple[Column, ...]:
    """Returns what a model answers: `prediction`, or `label` and probabilities."""
    if plan.problem is Problem.REGRESSION:
        return (Column("prediction", "double", True),)
    kinds = {bool: "bool", int: "int64", str: "string"}
    label = Column("label", kinds[type(plan.classes[0])], True)
    if len(plan.classes) == 2:
        return label, Column("probability", "double", True)
    return label, *(Column(f"probability_{each}", "double", True) for each in plan.classes)
