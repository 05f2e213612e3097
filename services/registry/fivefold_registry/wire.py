"""Between records and messages. Enums of the contract are those of the domain, by name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.lifecycle import Actor, Policy, Stage
from fivefold_registry.names import VersionName
from fivefold_registry.package import Column
from fivefold_registry.requests import Action, RequestState, actions
from fivefold_registry.store.records import (
    ActivityRecord,
    ActivityType,
    CommentRecord,
    EventRecord,
    EventType,
    FileRecord,
    Lineage,
    ModelRecord,
    RequestRecord,
    VersionRecord,
    VersionStatus,
)
from fivefold_runtime.validation import FieldInvalid

STAGE = {stage: pb.Stage.Value(f"STAGE_{stage.name}") for stage in Stage}
_STATUS = {status: pb.VersionStatus.Value(f"VERSION_STATUS_{status.name}") for status in VersionStatus}
_STATE = {state: pb.RequestState.Value(f"REQUEST_STATE_{state.name}") for state in RequestState}
_ACTION = {action: pb.RequestAction.Value(f"REQUEST_ACTION_{action.name}") for action in Action}
_ACTIVITY = {kind: pb.ActivityType.Value(f"ACTIVITY_TYPE_{kind.name}") for kind in ActivityType}
_EVENT = {kind: pb.EventType.Value(f"EVENT_TYPE_{kind.name}") for kind in EventType}
_STAGES: dict[int, Stage] = {number: stage for stage, number in STAGE.items()}


def stage_of(number: int, field: str) -> Stage:
    """Returns the stage of its number on the wire. Raises FieldInvalid that names `field`."""
    stage = _STAGES.get(number)
    if stage is None:
        listed = ", ".join(pb.Stage.Name(known) for known in STAGE.values())
        raise FieldInvalid.at(field, f"is {number}; it must be one of {listed}", value=number)
    return stage


def policy_of(policy: pb.StagePolicy) -> Policy:
    return Policy(policy.one_production, policy.stepwise, policy.no_self_approval)


def lineage_of(lineage: pb.Lineage) -> Lineage:
    return Lineage(
        run=lineage.run,
        experiment=lineage.experiment,
        training_set=lineage.training_set,
        table_versions=tuple(lineage.table_versions),
        job=lineage.job,
        feature_spec=lineage.feature_spec,
    )


def model(record: ModelRecord) -> pb.Model:
    policy = record.policy
    return pb.Model(
        name=record.name,
        description=record.description,
        tags=record.tags,
        policy=pb.StagePolicy(
            one_production=policy.one_production,
            stepwise=policy.stepwise,
            no_self_approval=policy.no_self_approval,
        ),
        latest_versions=[version(latest) for latest in record.latest],
        creator=record.creator,
        create_time=_time(record.created),
        update_time=_time(record.updated),
        etag=record.etag,
    )


def version(record: VersionRecord) -> pb.ModelVersion:
    lineage = record.lineage
    return pb.ModelVersion(
        name=str(record.name),
        version=record.number,
        stage=STAGE[record.stage],
        status=_STATUS[record.status],
        status_message=record.status_message,
        description=record.description,
        tags=record.tags,
        source=record.source,
        lineage=pb.Lineage(
            run=lineage.run,
            experiment=lineage.experiment,
            training_set=lineage.training_set,
            table_versions=lineage.table_versions,
            job=lineage.job,
            feature_spec=lineage.feature_spec,
        ),
        signature=pb.Signature(inputs=_columns(record.inputs), outputs=_columns(record.outputs)),
        flavors=record.flavors,
        files=[file(one) for one in record.files],
        digest=record.digest,
        creator=record.creator,
        create_time=_time(record.created),
        update_time=_time(record.updated),
        etag=record.etag,
    )


def file(record: FileRecord) -> pb.ModelFile:
    return pb.ModelFile(path=record.path, size_bytes=record.size_bytes, sha256=record.sha256)


def request(record: RequestRecord, viewer: Actor) -> pb.TransitionRequest:
    """viewer  whose available actions it tells"""
    allowed = actions(record.state, record.creator, record.current, record.stage, record.policy, viewer)
    return pb.TransitionRequest(
        name=str(record.name),
        stage=STAGE[record.stage],
        creator=record.creator,
        comment=record.comment,
        state=_STATE[record.state],
        settled_by=record.settled_by,
        create_time=_time(record.created),
        settle_time=None if record.settled is None else _time(record.settled),
        available_actions=[_ACTION[action] for action in allowed],
    )


def comment(record: CommentRecord) -> pb.Comment:
    return pb.Comment(
        name=f"{record.version}/comments/{record.sequence}",
        text=record.text,
        author=record.author,
        create_time=_time(record.created),
    )


def activity(record: ActivityRecord) -> pb.Activity:
    return pb.Activity(
        name=f"{record.version}/activities/{record.sequence}",
        type=_ACTIVITY[record.type],
        user=record.user,
        from_stage=_stage(record.from_stage),
        to_stage=_stage(record.to_stage),
        comment=record.comment,
        create_time=_time(record.created),
        rollback=record.rollback,
    )


def event(record: EventRecord) -> pb.Event:
    return pb.Event(
        position=record.position,
        type=_EVENT[record.type],
        model=f"models/{record.model}",
        model_version=str(VersionName(record.model, record.number)) if record.number else "",
        from_stage=_stage(record.from_stage),
        to_stage=_stage(record.to_stage),
        user=record.user,
        time=_time(record.time),
        subject=record.subject,
    )


def names(model: str, numbers: Iterable[int]) -> list[str]:
    return [str(VersionName(model, number)) for number in numbers]


def _columns(columns: Iterable[Column]) -> list[pb.ColumnSpec]:
    return [
        pb.ColumnSpec(
            name=column.name,
            type=data_pb2.DataType.Value(f"DATA_TYPE_{column.type.upper() or 'UNSPECIFIED'}"),
            required=column.required,
        )
        for column in columns
    ]


def _stage(stage: StrEnum | None) -> pb.Stage.ValueType:
    return pb.STAGE_UNSPECIFIED if stage is None else STAGE[Stage(stage)]


def _time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
