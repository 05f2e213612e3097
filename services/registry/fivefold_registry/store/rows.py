"""Rows of tables as records."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from fivefold_registry.lifecycle import Policy, Stage
from fivefold_registry.names import RequestName, VersionName
from fivefold_registry.package import Column
from fivefold_registry.requests import RequestState
from fivefold_registry.store.records import (
    ActivityRecord,
    ActivityType,
    FileRecord,
    Lineage,
    ModelRecord,
    RequestRecord,
    VersionRecord,
    VersionStatus,
)

Row = Any  # of SQLAlchemy, with the columns of one table by name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(micros: int) -> datetime:
    """Returns the time of a stored number of microseconds."""
    return _EPOCH + timedelta(microseconds=micros)


def policy_of(row: Row) -> Policy:
    return Policy(row.one_production, row.stepwise, row.no_self_approval)


def model_of(row: Row, latest: Iterable[Row] = ()) -> ModelRecord:
    """latest  rows of `versions`, the newest of each stage"""
    return ModelRecord(
        id=row.id,
        model=row.name,
        description=row.description,
        tags=row.tags,
        policy=policy_of(row),
        creator=row.creator,
        created=moment(row.created),
        updated=moment(row.updated),
        revision=row.revision,
        latest=tuple(version_of(version, row.name) for version in latest),
    )


def version_of(row: Row, model: str, files: Iterable[FileRecord] = ()) -> VersionRecord:
    return VersionRecord(
        model_id=row.model_id,
        model=model,
        number=row.number,
        stage=Stage(row.stage),
        status=VersionStatus(row.status),
        status_message=row.status_message,
        description=row.description,
        tags=row.tags,
        source=row.source,
        lineage=Lineage(
            run=row.run,
            experiment=row.experiment,
            training_set=row.training_set,
            table_versions=tuple(row.table_versions),
            job=row.job,
            feature_spec=row.feature_spec,
        ),
        inputs=tuple(Column(*column) for column in row.inputs),
        outputs=tuple(Column(*column) for column in row.outputs),
        flavors=tuple(row.flavors),
        digest=row.digest,
        creator=row.creator,
        created=moment(row.created),
        updated=moment(row.updated),
        revision=row.revision,
        copier=row.copier,
        beats=row.beats,
        files=tuple(files),
    )


def lineage_columns(lineage: Lineage) -> dict[str, object]:
    """Returns the values of a version's lineage columns."""
    return {
        "run": lineage.run,
        "experiment": lineage.experiment,
        "training_set": lineage.training_set,
        "table_versions": list(lineage.table_versions),
        "job": lineage.job,
        "feature_spec": lineage.feature_spec,
    }


def request_of(row: Row, model: str, current: str, policy: Policy) -> RequestRecord:
    return RequestRecord(
        name=RequestName(model, row.number, row.sequence),
        stage=Stage(row.stage),
        creator=row.creator,
        comment=row.comment,
        state=RequestState(row.state),
        settled_by=row.settled_by,
        created=moment(row.created),
        settled=None if row.settled is None else moment(row.settled),
        current=Stage(current),
        policy=policy,
    )


def activity_of(row: Row, model: str, text: str | None) -> ActivityRecord:
    """text  of the comment that a NEW_COMMENT made, None for the others"""
    return ActivityRecord(
        version=VersionName(model, row.number),
        sequence=row.sequence,
        type=ActivityType(row.type),
        user=row.user,
        from_stage=None if row.from_stage is None else Stage(row.from_stage),
        to_stage=None if row.to_stage is None else Stage(row.to_stage),
        comment=row.comment if text is None else text,
        created=moment(row.created),
        rollback=row.rollback,
    )
