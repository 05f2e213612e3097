"""Between the contract's messages and what the stores keep. Raises what is wrong with a message, by its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.masks import Entries, chosen, entries
from fivefold_runtime.validation import FieldRequired
from fivefold_tracking import comparing, lifecycle, names, readable
from fivefold_tracking.fields import EXPERIMENTS, RUNS
from fivefold_tracking.keys import check_key
from fivefold_tracking.lifecycle import RunStatus, View
from fivefold_tracking.store.records import (
    ArtifactRecord,
    ExperimentQuery,
    ExperimentRecord,
    InputRecord,
    NewRun,
    RunChange,
    RunQuery,
    RunRecord,
    SourceRecord,
)

STATUS_OF = {status: pb.RunStatus.Value(f"RUN_STATUS_{status}") for status in RunStatus}
_STATUS: dict[int, RunStatus] = {number: status for status, number in STATUS_OF.items()}
_VIEWS: dict[int, View] = {pb.View.Value(f"VIEW_{view}"): view for view in View}
_SOURCES = {number: name.removeprefix("SOURCE_TYPE_") for name, number in pb.SourceType.items() if number}
_SOURCE_OF = {name: number for number, name in _SOURCES.items()} | {"": pb.SOURCE_TYPE_UNSPECIFIED}


def display_name_of(asked: pb.Experiment) -> str:
    """Returns the display name that an experiment is to have. Raises FieldRequired when it is blank."""
    if not asked.display_name.strip():
        raise FieldRequired.at("experiment.display_name", "is required")
    return asked.display_name


def texts_of(asked: Mapping[str, str], field: str) -> dict[str, str]:
    """Returns params or tags whose keys are fit. Raises NameInvalid."""
    return {check_key(key, field): value for key, value in asked.items()}


def to_new_run(asked: pb.Run, *, run: str, user: str, now: int) -> NewRun:
    """Returns the run that a request asks for.

    run, user, now  what it gets where the request says nothing: an id, who runs it, when it began
    """
    status = _STATUS.get(asked.status, RunStatus.RUNNING)
    started = to_micros(asked, "start_time", "run.start_time")
    return NewRun(
        id=run,
        experiment=names.experiment_number(asked.experiment, "run.experiment"),
        display_name=asked.display_name if asked.display_name.strip() else readable.display_name(run),
        status=status,
        user=asked.user or user,
        started=now if started is None else started,
        ended=lifecycle.end_time(status, None, to_micros(asked, "end_time", "run.end_time"), now),
        parent=names.run_id(asked.parent_run, "run.parent_run") if asked.parent_run else "",
        source=SourceRecord(
            _SOURCES.get(asked.source.type, ""),
            asked.source.name,
            asked.source.entry_point,
            asked.source.git_commit,
            asked.source.git_repo,
        ),
        params=texts_of(asked.params, "run.params"),
        tags=texts_of(asked.tags, "run.tags"),
    )


def to_run_change(request: pb.UpdateRunRequest) -> RunChange:
    """Returns the new values of an update. Raises FieldRequired for a field in the mask that has none."""
    asked = request.run
    fields = chosen(request.update_mask, asked, ("status", "end_time", "display_name", "tags"), maps=("tags",))
    if "status" in fields and asked.status not in _STATUS:
        raise FieldRequired.at("run.status", "is required where update_mask has it")
    if "display_name" in fields and not asked.display_name.strip():
        raise FieldRequired.at("run.display_name", "is required where update_mask has it")
    return RunChange(
        status=_STATUS[asked.status] if "status" in fields else None,
        display_name=asked.display_name if "display_name" in fields else None,
        ended=to_micros(asked, "end_time", "run.end_time") if "end_time" in fields else None,
        tags=texts_of(asked.tags, "run.tags") if "tags" in fields else None,
        some=some_tags(request.update_mask, asked),
    )


def some_tags(mask: FieldMask, asked: pb.Run | pb.Experiment) -> Entries:
    """Returns the single tags that a mask names. Raises NameInvalid for a key that is set and not allowed."""
    some = entries(mask, asked, "tags")
    for key, value in some.items():
        if value is not None:
            check_key(key, "update_mask")
    return some


def to_query(request: pb.SearchRunsRequest, experiments: Iterable[int]) -> RunQuery:
    """Returns what a search asks for, in those of its experiments that the caller may read. Raises FilterInvalid."""
    return RunQuery(
        tuple(experiments),
        names.run_id(request.parent_run, "parent_run") if request.parent_run else "",
        RUNS.parse(request.filter),
        RUNS.parse_order(request.order_by),
        view_of(request.view),
        counted=not request.skip_total_size,
    )


def to_export(request: pb.ExportRunsRequest, experiments: Iterable[int]) -> RunQuery:
    """Returns which runs a table has, as for a search."""
    return RunQuery(
        tuple(experiments),
        filter=RUNS.parse(request.filter),
        order=RUNS.parse_order(request.order_by),
        view=view_of(request.view),
        counted=False,
    )


def to_experiment_query(request: pb.ListExperimentsRequest) -> ExperimentQuery:
    """Returns what a list asks for. Raises FilterInvalid."""
    return ExperimentQuery(
        EXPERIMENTS.parse(request.filter), EXPERIMENTS.parse_order(request.order_by), view_of(request.view)
    )


def view_of(asked: pb.View.ValueType) -> View:
    return _VIEWS.get(asked, View.ACTIVE)


def of_compared(row: comparing.Row) -> pb.CompareRunsResponse.Row:
    return pb.CompareRunsResponse.Row(
        kind=pb.CompareRunsResponse.Kind.Name(row.kind),  # type: ignore[arg-type]  # the same numbers
        key=row.key,
        differs=row.differs,
        values=map(_of_value, row.values),
    )


def to_input(asked: pb.DatasetInput) -> InputRecord:
    return InputRecord(
        dataset=asked.dataset,
        digest=asked.digest,
        source_type=asked.source_type,
        source=asked.source,
        schema=asked.schema,
        profile=asked.profile,
        tags=dict(asked.tags),
    )


def of_experiment(record: ExperimentRecord) -> pb.Experiment:
    return pb.Experiment(
        name=record.name,
        display_name=record.display_name,
        tags=record.tags,
        create_time=of_micros(record.created),
        update_time=of_micros(record.updated),
        delete_time=of_micros(record.deleted),
        etag=record.etag,
        artifact_location=record.artifact_location,
    )


def of_run(record: RunRecord) -> pb.Run:
    return pb.Run(
        name=record.name,
        experiment=names.experiment_name(record.experiment),
        display_name=record.display_name,
        status=STATUS_OF[record.status],
        user=record.user,
        start_time=of_micros(record.started),
        end_time=of_micros(record.ended),
        parent_run=names.run_name(record.parent) if record.parent else "",
        source=_of_source(record.source),
        params=record.params,
        tags=record.tags,
        metrics=[
            pb.Metric(key=point.key, value=point.value, time=of_micros(point.time), step=point.step)
            for point in record.metrics
        ],
        inputs=[_of_input(one) for one in record.inputs],
        model_inputs=map(names.logged_model_name, record.model_inputs),
        outputs=[
            pb.ModelOutput(logged_model=names.logged_model_name(output.model), step=output.step)
            for output in record.outputs
        ],
        create_time=of_micros(record.created),
        delete_time=of_micros(record.deleted),
        etag=record.etag,
    )


def of_artifact(record: ArtifactRecord) -> pb.Artifact:
    return pb.Artifact(path=record.path, folder=record.folder, size_bytes=record.size, sha256=record.sha256)


def to_micros(message: Message, name: str, field: str) -> int | None:
    """Returns a Timestamp as microseconds since 1970, None when it is not set. Raises InvalidArgument before 1970."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    micros = stamp.ToMicroseconds()
    if micros < 0:
        raise InvalidArgument.at(
            field, f"is {stamp.ToJsonString()}; it must not be before 1970", value=stamp.ToJsonString()
        )
    return micros


def of_micros(micros: int | None) -> Timestamp | None:
    if micros is None:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def _of_source(record: SourceRecord) -> pb.Source | None:
    if record == SourceRecord():
        return None
    return pb.Source(
        type=_SOURCE_OF[record.type],
        name=record.name,
        entry_point=record.entry_point,
        git_commit=record.git_commit,
        git_repo=record.git_repo,
    )


def _of_input(record: InputRecord) -> pb.DatasetInput:
    return pb.DatasetInput(
        dataset=record.dataset,
        digest=record.digest,
        source_type=record.source_type,
        source=record.source,
        schema=record.schema,
        profile=record.profile,
        tags=record.tags,
    )


def _of_value(value: comparing.Value) -> pb.CompareRunsResponse.Value:
    if isinstance(value, str):
        return pb.CompareRunsResponse.Value(text=value)
    return pb.CompareRunsResponse.Value() if value is None else pb.CompareRunsResponse.Value(number=value)
