"""Versions in SQL: reserved under a number, then READY or FAILED, then never changed but in stage, words and labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.package import Package
from fivefold_registry.store.blobs import claim
from fivefold_registry.store.change import Change, changing, check_etag
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import (
    EventType,
    FileRecord,
    Lineage,
    VersionChange,
    VersionDraft,
    VersionRecord,
    VersionStatus,
)
from fivefold_registry.store.rows import Row, lineage_columns, version_of
from fivefold_registry.store.tables import files, models, versions
from fivefold_runtime.errors import NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.mutation import KEPT
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database

_KEPT = KEPT // timedelta(microseconds=1)


class CopyLost(Exception):
    """The version is not this copy's any more: it was taken for dead, or its model was deleted."""


class SqlVersions:
    """Keeps the promises of VersionStore."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def reserve(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        with changing(self._database, self._outbox, model, user) as change:
            again = self._attempted(change, draft)
            if again is not None:
                return again
            number = change.row.versions + 1
            change.tx.execute(update(models).where(models.c.id == change.row.id).values(versions=number))
            change.tx.execute(
                insert(versions).values(
                    model_id=change.row.id,
                    number=number,
                    stage=Stage.NONE,
                    sole=False,
                    status=VersionStatus.PENDING,
                    status_message="",
                    attempt=draft.attempt,
                    copier=new_id(),
                    beats=0,
                    description=draft.description,
                    tags=dict(draft.tags),
                    source=draft.source,
                    **lineage_columns(draft.lineage),
                    inputs=[],
                    outputs=[],
                    flavors=[],
                    digest="",
                    creator=user,
                    created=change.now,
                    updated=change.now,
                    revision=1,
                )
            )
            return version_of(change.version(VersionName(model.model, number)), model.model)

    def _attempted(self, change: Change, draft: VersionDraft) -> VersionRecord | None:
        """Returns the version of an earlier attempt of the same call; None when there is none.

        A FAILED one is taken up again. A READY one is the call's answer, for as long as answers are kept.
        """
        if not draft.attempt:
            return None
        row = change.tx.execute(
            select(versions)
            .where(
                versions.c.model_id == change.row.id,
                versions.c.attempt == draft.attempt,
                or_(
                    versions.c.status == VersionStatus.FAILED,
                    and_(versions.c.status == VersionStatus.READY, versions.c.created > change.now - _KEPT),
                ),
            )
            .order_by(versions.c.number.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        if row.status == VersionStatus.READY:
            return self._whole(change.tx, row, change.row.name)
        change.touch(row.number, status=VersionStatus.PENDING, status_message="", copier=new_id())
        return version_of(change.version(VersionName(change.row.name, row.number)), change.row.name)

    def claim(self, version: VersionRecord, listed: Sequence[FileRecord]) -> None:
        with self._database.write() as tx:
            self._pending(tx, version)
            claim(tx, self._database.is_sqlite, {file.sha256 for file in listed})
            tx.execute(
                insert(files),
                [
                    {
                        "model_id": version.model_id,
                        "number": version.number,
                        "path": file.path,
                        "size": file.size_bytes,
                        "sha256": file.sha256,
                    }
                    for file in listed
                ],
            )

    def beat(self, version: VersionRecord) -> None:
        with self._database.write() as tx:
            tx.execute(
                update(versions)
                .where(versions.c.model_id == version.model_id, versions.c.number == version.number)
                .values(beats=versions.c.beats + 1)
            )

    def finish(self, version: VersionRecord, digest: str, lineage: Lineage, package: Package | None) -> VersionRecord:
        with changing(self._database, self._outbox, version.name, version.creator) as change:
            self._pending(change.tx, version)
            found = package or Package()
            change.touch(
                version.number,
                status=VersionStatus.READY,
                digest=digest,
                **lineage_columns(lineage),
                inputs=[[column.name, column.type, column.required] for column in found.inputs],
                outputs=[[column.name, column.type, column.required] for column in found.outputs],
                flavors=list(found.flavors),
            )
            change.event(EventType.MODEL_VERSION_CREATED, version.number)
            return self._whole(change.tx, change.version(version.name), version.model)

    def fail(self, version: VersionRecord, why: str) -> VersionRecord:
        with changing(self._database, self._outbox, version.name, version.creator) as change:
            self._pending(change.tx, version)
            change.tx.execute(
                delete(files).where(files.c.model_id == version.model_id, files.c.number == version.number)
            )
            change.touch(version.number, status=VersionStatus.FAILED, status_message=why)
            change.event(EventType.MODEL_VERSION_CREATED, version.number)
            return version_of(change.version(version.name), version.model)

    def pending(self) -> list[VersionRecord]:
        query = (
            select(versions, models.c.name)
            .join(models, models.c.id == versions.c.model_id)
            .where(versions.c.status == VersionStatus.PENDING)
            .order_by(versions.c.model_id, versions.c.number)
        )
        with self._database.read() as tx:
            return [version_of(row, row.name) for row in tx.execute(query)]

    def get(self, name: VersionName) -> VersionRecord:
        query = (
            select(versions)
            .join(models, models.c.id == versions.c.model_id)
            .where(models.c.name == name.model, versions.c.number == name.number)
        )
        with self._database.read() as tx:
            row = tx.execute(query).one_or_none()
            if row is None:
                raise NotFound.of(str(name))
            return self._whole(tx, row, name.model)

    def list(self, model: ModelName, stages: Collection[Stage], before: int | None, limit: int) -> list[VersionRecord]:
        with self._database.read() as tx:
            row = model_and_version(tx, model.model, None)
            query = select(versions).where(versions.c.model_id == row.id)
            if stages:
                query = query.where(versions.c.stage.in_(stages))
            if before is not None:
                query = query.where(versions.c.number < before)
            rows = tx.execute(query.order_by(versions.c.number.desc()).limit(limit)).all()
        return [version_of(row, model.model) for row in rows]

    def update(self, name: VersionName, new: VersionChange, etag: str, user: str) -> VersionRecord:
        with changing(self._database, self._outbox, name, user) as change:
            check_etag(etag, version_of(change.version(name), name.model).etag, name)
            values: dict[str, object] = {}
            if new.description is not None:
                values["description"] = new.description
            if new.tags is not None:
                values["tags"] = dict(new.tags)
            change.touch(name.number, **values)
            change.event(EventType.MODEL_VERSION_UPDATED, name.number)
            return self._whole(change.tx, change.version(name), name.model)

    def _pending(self, tx: Connection, version: VersionRecord) -> None:
        """Locks the row of a version that this copy still owns. Raises CopyLost."""
        row = tx.execute(
            select(versions.c.status, versions.c.copier)
            .where(versions.c.model_id == version.model_id, versions.c.number == version.number)
            .with_for_update()
        ).one_or_none()
        if row is None or row.status != VersionStatus.PENDING or row.copier != version.copier:
            raise CopyLost(str(version.name))

    def _whole(self, tx: Connection, row: Row, model: str) -> VersionRecord:
        listed = tx.execute(select(files).where(files.c.model_id == row.model_id, files.c.number == row.number)).all()
        found = [FileRecord(file.path, file.size, file.sha256) for file in listed]
        return version_of(row, model, sorted(found, key=lambda file: file.path))
