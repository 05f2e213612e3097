"""Between records and messages. Enums of the contract are those of the domain, by name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.chain import Fault, Head, Verdict
from fivefold_registry.lifecycle import Actor, Policy, Stage
from fivefold_registry.names import VersionName
from fivefold_registry.package import Column
from fivefold_registry.requests import Action, RequestState, actions
from fivefold_registry.stagenames import checked
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
    Tenure,
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
_FAULT = {fault: pb.ChainFault.Value(f"CHAIN_FAULT_{fault.name}") for fault in Fault}
_STAGES: dict[int, Stage] = {number: stage for stage, number in STAGE.items()}


def stage_of(number: int, field: str) -> Stage:
    """Returns the stage of its number on the wire. Raises FieldInvalid that names `field`."""
    stage = _STAGES.get(number)
    if stage is None:
        listed = ", ".join(pb.Stage.Name(known) for known in STAGE.values())
        raise FieldInvalid.at(field, f"is {number}; it must be one of {listed}", value=number)
    return stage


def policy_of(policy: pb.StagePolicy) -> Policy:
    """Raises FieldInvalid for a stage that is none, StageNameInvalid."""
    names = checked((stage_of(each.stage, "model.policy.stage_names"), each.name) for each in policy.stage_names)
    return Policy(policy.one_production, policy.stepwise, policy.no_self_approval, names)


def lineage_of(lineage: pb.Lineage) -> Lineage:
    return Lineage(
        run=lineage.run,
        experiment=lineage.experiment,
        training_set=lineage.training_set,
        table_versions=tuple(lineage.table_versions),
        job=lineage.job,
        feature_spec=lineage.feature_spec,
        logged_model=lineage.logged_model,
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
            stage_names=[
                pb.StageName(stage=STAGE[stage], name=policy.names[stage]) for stage in Stage if stage in policy.names
            ],
        ),
        latest_versions=[version(latest) for latest in record.latest],
        creator=record.creator,
        create_time=_time(record.created),
        update_time=_time(record.updated),
        etag=record.etag,
        aliases=record.aliases,
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
            logged_model=lineage.logged_model,
        ),
        signature=pb.Signature(inputs=_columns(record.inputs), outputs=_columns(record.outputs)),
        flavors=record.flavors,
        files=[file(one) for one in record.files],
        digest=record.digest,
        creator=record.creator,
        create_time=_time(record.created),
        update_time=_time(record.updated),
        etag=record.etag,
        aliases=record.aliases,
        external_uri=record.external_uri,
        copied_from=record.copied_from,
        stage_name=record.stage_name,
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
        name=str(record.name),
        text=record.text,
        author=record.author,
        create_time=_time(record.created),
        update_time=_time(record.updated),
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
        old_model=f"models/{record.old}" if record.old else "",
    )


def tenure(record: Tenure) -> pb.StageTenure:
    return pb.StageTenure(
        model_version=str(record.version),
        since=_time(record.since),
        user=record.user,
        activity=f"{record.version}/activities/{record.sequence}" if record.sequence else "",
    )


def head_of(head: pb.ActivityHead) -> Head | None:
    """Returns the head that a caller kept, None for that of an empty chain, which says nothing."""
    return Head(head.sequence, head.hash) if head.sequence else None


def verdict(found: Verdict, model: str, number: int) -> pb.VerifyActivitiesResponse:
    """number  version of the first bad activity, 0 when it is not there to tell"""
    parent = str(VersionName(model, number)) if number else f"models/{model}"
    return pb.VerifyActivitiesResponse(
        valid=found.fault is None,
        count=found.count,
        head=pb.ActivityHead(sequence=found.head.sequence, hash=found.head.hash),
        first_bad=f"{parent}/activities/{found.bad}" if found.bad else "",
        fault=pb.CHAIN_FAULT_UNSPECIFIED if found.fault is None else _FAULT[found.fault],
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
