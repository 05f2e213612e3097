"""Creating a job: checks the training set and makes the parent run in the caller's name, then records the job."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2
from fivefold_automl.clients import Features, Tracking, request_id
from fivefold_automl.errors import DataInvalid, TargetInvalid
from fivefold_automl.recorder import parent_run
from fivefold_automl.spec import FEWEST_ROWS, JobSpec, Problem
from fivefold_automl.store.jobs import JobStore
from fivefold_automl.store.records import JobRecord
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import Clock
from fivefold_runtime.ids import new_id
from fivefold_runtime.validation import FieldInvalid

_NUMBERS = {data_pb2.DATA_TYPE_INT32, data_pb2.DATA_TYPE_INT64, data_pb2.DATA_TYPE_FLOAT, data_pb2.DATA_TYPE_DOUBLE}
_CLASSES = {*_NUMBERS, data_pb2.DATA_TYPE_BOOL, data_pb2.DATA_TYPE_STRING}
_LEARNABLE = {Problem.CLASSIFICATION: _CLASSES, Problem.REGRESSION: _NUMBERS}
_ORDERED = {*_NUMBERS, data_pb2.DATA_TYPE_TIMESTAMP, data_pb2.DATA_TYPE_DATE}


@dataclass(frozen=True, slots=True)
class Creation:
    """Makes jobs. `features` and `tracking` act for the caller, so that nobody learns from data they may not read."""

    store: JobStore
    features: Features
    tracking: Tracking
    clock: Clock

    def create(self, spec: JobSpec) -> JobRecord:
        """Records a new job, PENDING. Raises what `check` raises and what the other services refuse."""
        check(spec, self.features.training_set(spec.training_set))
        job = new_id()
        experiment = self.tracking.experiment(spec.experiment or f"automl {spec.target} {job}"[:200])
        run = self.tracking.create_run(parent_run(job, experiment, _params(spec)), request_id(job, "run"))
        return self.store.add(
            JobRecord(
                id=job, spec=spec, creator=caller().subject, experiment=experiment, run=run, created=self.clock.now()
            )
        )


def check(spec: JobSpec, found: features_pb2.TrainingSet) -> None:
    """Raises what a training set's description already tells against a job."""
    types = {column.name: column.type for column in found.columns}
    if spec.target not in types:
        raise TargetInvalid(
            f"target {spec.target!r} is no column of {found.name}", target=spec.target, training_set=found.name
        )
    if types[spec.target] not in _LEARNABLE[spec.problem]:
        kind = data_pb2.DataType.Name(types[spec.target])
        raise TargetInvalid(
            f"target {spec.target!r} is {kind}, which {spec.problem.value} cannot learn", target=spec.target, type=kind
        )
    if spec.time_column and spec.time_column not in types:
        raise FieldInvalid.at("job.time_column", f"is {spec.time_column!r}, which is no column of the training set")
    if spec.time_column and types[spec.time_column] not in _ORDERED:
        raise FieldInvalid.at("job.time_column", f"is {spec.time_column!r}, which is neither a time nor a number")
    for index, name in enumerate(spec.exclude_columns):
        if name not in types:
            raise FieldInvalid.at(
                f"job.exclude_columns[{index}]", f"is {name!r}, which is no column of the training set"
            )
    left_out = {spec.target, spec.time_column, found.timestamp_column, *spec.exclude_columns, *found.labels}
    if not set(types) - left_out:
        raise DataInvalid("no column is left that could be an input", columns=len(types))
    if found.rows < FEWEST_ROWS:
        raise DataInvalid(f"{found.rows} rows; at least {FEWEST_ROWS} are needed", rows=found.rows, needed=FEWEST_ROWS)


def _params(spec: JobSpec) -> dict[str, str]:
    chosen = {name: value for name, value in spec.to_json().items() if value not in ("", (), 0)}
    return {
        name: (", ".join(value) if isinstance(value, tuple) else str(value))[:6000] for name, value in chosen.items()
    }
