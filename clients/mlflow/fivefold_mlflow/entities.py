"""Messages of Fivefold as MLflow's entities. A page may have a thousand runs, so nothing is made that nobody asked for.

Times are milliseconds in MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Run,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
)
from mlflow.entities import RunData as MlflowRunData

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.marks import tags_of

_STATUS = {
    pb.RUN_STATUS_UNSPECIFIED: "RUNNING",
    pb.RUN_STATUS_RUNNING: "RUNNING",
    pb.RUN_STATUS_SCHEDULED: "SCHEDULED",
    pb.RUN_STATUS_FINISHED: "FINISHED",
    pb.RUN_STATUS_FAILED: "FAILED",
    pb.RUN_STATUS_KILLED: "KILLED",
}
_WIRE_STATUS = {RunStatus.from_string(name): number for number, name in _STATUS.items() if number}
_MODEL_STATUS = {
    pb.LOGGED_MODEL_STATUS_UNSPECIFIED: LoggedModelStatus.UNSPECIFIED,
    pb.LOGGED_MODEL_STATUS_PENDING: LoggedModelStatus.PENDING,
    pb.LOGGED_MODEL_STATUS_READY: LoggedModelStatus.READY,
    pb.LOGGED_MODEL_STATUS_FAILED: LoggedModelStatus.FAILED,
}
_WIRE_MODEL_STATUS = {status: number for number, status in _MODEL_STATUS.items()}


def millis(stamp: Timestamp) -> int:
    """Returns milliseconds since 1970."""
    return stamp.seconds * 1000 + stamp.nanos // 1_000_000


def stamp_of(time: float) -> Timestamp:
    """Returns the wire's time for milliseconds since 1970."""
    seconds, rest = divmod(int(time), 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def status_to_wire(status: int) -> Any:
    """Returns our number for MLflow's of a run's status."""
    return _WIRE_STATUS[status]


def model_status_to_wire(status: LoggedModelStatus | str) -> Any:
    """Returns our number for MLflow's status of a logged model."""
    return _WIRE_MODEL_STATUS[LoggedModelStatus(status)]


def stage_of(message: Any) -> str:
    """Returns MLflow's lifecycle stage of what can be deleted softly."""
    return LifecycleStage.DELETED if message.HasField("delete_time") else LifecycleStage.ACTIVE


def experiment_of(message: pb.Experiment, number: str, location: str) -> Experiment:
    """Returns the entity. `number` is the id that users see, `location` where files of its runs are."""
    return Experiment(
        experiment_id=number,
        name=message.display_name,
        artifact_location=location,
        lifecycle_stage=stage_of(message),
        tags=[ExperimentTag(key, value) for key, value in message.tags.items()],
        creation_time=millis(message.create_time),
        last_update_time=millis(message.update_time),
    )


class RunData(MlflowRunData):
    """What a run logged, taken from the message when someone looks at it."""

    def __init__(self, message: pb.Run) -> None:
        self._message = message

    @cached_property
    def _metrics(self) -> dict[str, float]:  # type: ignore[override]
        return {metric.key: metric.value for metric in self._message.metrics}

    @cached_property
    def _params(self) -> dict[str, str]:  # type: ignore[override]
        return dict(self._message.params)

    @cached_property
    def _tags(self) -> dict[str, str]:  # type: ignore[override]
        return tags_of(self._message)

    @cached_property
    def _metric_objs(self) -> list[Metric]:  # type: ignore[override]
        return [metric_of(metric) for metric in self._message.metrics]

    @classmethod
    def _properties(cls) -> list[str]:
        return MlflowRunData._properties()


def run_of(message: pb.Run, experiment: str, artifact_uri: str) -> Run:
    """Returns the entity. `experiment` is the id that users see."""
    info = RunInfo(
        run_id=message.name[5:],
        experiment_id=experiment,
        user_id=message.user,
        status=_STATUS[message.status],
        start_time=millis(message.start_time),
        end_time=millis(message.end_time) if message.HasField("end_time") else None,
        lifecycle_stage="deleted" if message.HasField("delete_time") else "active",
        artifact_uri=artifact_uri,
        run_name=message.display_name,
    )
    inputs = RunInputs(
        list(map(dataset_input_of, message.inputs)),
        [LoggedModelInput(last(name)) for name in message.model_inputs],
    )
    outputs = RunOutputs([LoggedModelOutput(last(made.logged_model), made.step) for made in message.outputs])
    return Run(info, RunData(message), inputs, outputs)


def dataset_input_of(message: pb.DatasetInput) -> DatasetInput:
    """Returns the entity."""
    dataset = Dataset(
        name=message.dataset,
        digest=message.digest,
        source_type=message.source_type,
        source=message.source,
        schema=message.schema or None,
        profile=message.profile or None,
    )
    return DatasetInput(dataset, [InputTag(key, value) for key, value in message.tags.items()])


def metric_of(message: pb.Metric, model: str | None = None) -> Metric:
    """Returns the entity. `model` is the id of the logged model whose metric it is."""
    return Metric(
        message.key,
        message.value,
        millis(message.time),
        message.step,
        model_id=model or last(message.logged_model) or None,
        dataset_name=message.dataset or None,
        dataset_digest=(message.dataset_digest or "") if message.dataset else None,
        run_id=last(message.run) or None,
    )


def logged_model_of(message: pb.LoggedModel, experiment: str, location: str) -> LoggedModel:
    """Returns the entity. `experiment` is the id that users see, `location` where its files are."""
    model = last(message.name)
    return LoggedModel(
        experiment_id=experiment,
        model_id=model,
        name=message.display_name,
        artifact_location=location,
        creation_timestamp=millis(message.create_time),
        last_updated_timestamp=millis(message.update_time),
        model_type=message.model_type or None,
        source_run_id=last(message.source_run) or None,
        status=_MODEL_STATUS[message.status],
        status_message=message.status_message or None,
        tags=dict(message.tags),
        params=dict(message.params),
        metrics=[metric_of(metric, model) for metric in message.metrics],
    )


def texts(pairs: Iterable[Any] | None) -> dict[str, str]:
    """Returns {key: value} of MLflow's tags or params; of one key, the last counts."""
    return {pair.key: "" if pair.value is None else str(pair.value) for pair in pairs or ()}


def last(name: str) -> str:
    """Returns the id in a resource name, "" of ""."""
    return name.rpartition("/")[2]
