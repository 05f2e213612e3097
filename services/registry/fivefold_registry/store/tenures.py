"""What was in a stage at a time, in SQL: read from the activities, which tell every move."""

from __future__ import annotations

from sqlalchemy import and_, func, select

from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import ActivityType, Tenure
from fivefold_registry.store.rows import moment
from fivefold_registry.store.tables import activities, deleted_versions, versions
from fivefold_runtime.sql import Database

_MOVES = (ActivityType.APPLIED_TRANSITION, ActivityType.APPROVED_REQUEST, ActivityType.SYSTEM_TRANSITION)


def tenures(database: Database, name: ModelName, stage: Stage, time: int) -> list[Tenure]:
    """Returns the versions that were in a stage at a time, by number. See StageStore."""
    with database.read() as tx:
        model_id = model_and_version(tx, name.model, None).id
        made = {
            row.number: row
            for row in tx.execute(
                select(versions.c.number, versions.c.creator, versions.c.created).where(
                    versions.c.model_id == model_id, versions.c.created <= time
                )
            )
        }
        gone = select(deleted_versions).where(
            deleted_versions.c.model_id == model_id,
            deleted_versions.c.created <= time,
            deleted_versions.c.deleted > time,
        )
        made |= {row.number: row for row in tx.execute(gone)}
        last = (
            select(activities.c.number, func.max(activities.c.sequence).label("sequence"))
            .where(activities.c.model_id == model_id, activities.c.type.in_(_MOVES), activities.c.created <= time)
            .group_by(activities.c.number)
            .subquery()
        )
        moves = tx.execute(
            select(activities).join(
                last, and_(activities.c.model_id == model_id, activities.c.sequence == last.c.sequence)
            )
        ).all()
    moved = {row.number: row for row in moves if row.number in made}
    found = [
        Tenure(version=VersionName(name.model, number), since=moment(row.created), user=row.user, sequence=row.sequence)
        for number, row in moved.items()
        if row.to_stage == stage
    ]
    if stage is Stage.NONE:
        found += [
            Tenure(version=VersionName(name.model, number), since=moment(row.created), user=row.creator, sequence=0)
            for number, row in made.items()
            if number not in moved
        ]
    return sorted(found, key=lambda tenure: tenure.version.number)
