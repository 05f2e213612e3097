"""Rows of tables as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from fivefold_registry.chain import Part
from fivefold_registry.lifecycle import Policy, Stage
from fivefold_registry.names import RequestName, VersionName
from fivefold_registry.package import Column
from fivefold_registry.requests import RequestState
from fivefold_registry.stagenames import called
from fivefold_registry.store.records import (
    ActivityRecord,
    ActivityType,
    CommentRecord,
    FileRecord,
    Lineage,
    ModelRecord,
    RequestRecord,
    VersionRecord,
    VersionStatus,
)

Row = Any  # of SQLAlchemy, with the columns of one table by name


class Owner(NamedTuple):
    """What a version's record tells of its model; a row of `models` will do as well."""

    name: str
    stage_names: dict[str, str]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(micros: int) -> datetime:
    """Returns the time of a stored number of microseconds."""
    return _EPOCH + timedelta(microseconds=micros)


def policy_of(row: Row) -> Policy:
    return Policy(row.one_production, row.stepwise, row.no_self_approval, names_of(row))


def names_of(owner: Owner | Row) -> dict[Stage, str]:
    return {Stage(stage): name for stage, name in owner.stage_names.items()}


def model_etag(row: Row) -> str:
    return f"{row.id[-12:]}-{row.revision}"


def version_etag(row: Row) -> str:
    return f"{row.model_id[-12:]}-{row.number}-{row.revision}"


def model_of(row: Row, latest: Iterable[Row] = (), aliases: Mapping[str, int] = MappingProxyType({})) -> ModelRecord:
    """latest  rows of `versions`, the newest of each stage; aliases  all of the model"""
    meaning: dict[int, list[str]] = {}
    for alias, number in sorted(aliases.items()):
        meaning.setdefault(number, []).append(alias)
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
        latest=tuple(version_of(version, row, aliases=meaning.get(version.number, ())) for version in latest),
        aliases=aliases,
    )


def version_of(
    row: Row, owner: Owner | Row, files: Iterable[FileRecord] = (), aliases: Iterable[str] = ()
) -> VersionRecord:
    return VersionRecord(
        model_id=row.model_id,
        model=owner.name,
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
            logged_model=row.logged_model,
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
        external_uri=row.external_uri,
        copied_from=row.copied_from,
        stage_name=called(names_of(owner), Stage(row.stage)),
        aliases=tuple(aliases),
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
        "logged_model": lineage.logged_model,
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


def comment_of(row: Row, model: str) -> CommentRecord:
    return CommentRecord(
        version=VersionName(model, row.number),
        sequence=row.sequence,
        text=row.text,
        author=row.author,
        created=moment(row.created),
        updated=moment(row.created if row.updated is None else row.updated),
    )


def chain_parts(model_id: str, activity: Row | Mapping[str, Part]) -> tuple[Part, ...]:
    """Returns what an activity's hash is over. Never to be changed: hashes that were made would not fit any more."""
    row = activity if isinstance(activity, Mapping) else activity._mapping
    return (
        model_id,
        row["sequence"],
        row["number"],
        row["type"],
        row["user"],
        row["from_stage"],
        row["to_stage"],
        row["comment"],
        row["created"],
        row["rollback"],
        row["passage"],
        row["subject"],
        row["digest"],
    )
