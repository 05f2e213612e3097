"""Versions in SQL: reserved under a number, then READY or FAILED, then never changed but in stage, words and labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, and_, delete, insert, literal, or_, select, update

from fivefold_registry.lifecycle import ACTIVE, Stage, VersionInUse
from fivefold_registry.names import MODELS, ModelName, VersionName
from fivefold_registry.package import Package
from fivefold_registry.searches import Search
from fivefold_registry.store import aliases, searching
from fivefold_registry.store.blobs import claim
from fivefold_registry.store.change import Change, Ledger, changing, check_etag
from fivefold_registry.store.copies import copied, new_version
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.records import (
    ActivityType,
    EventType,
    FileRecord,
    Lineage,
    VersionChange,
    VersionDraft,
    VersionRecord,
    VersionStatus,
)
from fivefold_registry.store.rows import Row, lineage_columns, version_etag, version_of
from fivefold_registry.store.tables import deleted_versions, files, models, versions
from fivefold_runtime.errors import NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.masks import merged
from fivefold_runtime.mutation import KEPT
from fivefold_runtime.paging import Key
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

_KEPT = KEPT // timedelta(microseconds=1)


class CopyLost(Exception):
    """The version is not this copy's any more: it was taken for dead, or its model was deleted."""


class SqlVersions:
    """Keeps the promises of VersionStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def reserve(self, model: ModelName, draft: VersionDraft, user: str) -> VersionRecord:
        with changing(self._database, self._ledger, model, user) as change:
            again = self._attempted(change, draft)
            if again is not None:
                return again
            number = new_version(
                change,
                status=VersionStatus.PENDING,
                attempt=draft.attempt,
                copier=new_id(),
                description=draft.description,
                tags=dict(draft.tags),
                source=draft.source,
                external_uri=draft.external_uri,
                **lineage_columns(draft.lineage),
            )
            return change.record(number)

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
            return self._whole(change.tx, row, change.row)
        change.touch(row.number, status=VersionStatus.PENDING, status_message="", copier=new_id())
        return change.record(row.number)

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
        with changing(self._database, self._ledger, version.name, version.creator) as change:
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
            change.event(EventType.MODEL_VERSION_CREATED, version.number, status=VersionStatus.READY)
            return self._whole(change.tx, change.version(version.name), change.row)

    def fail(self, version: VersionRecord, why: str) -> VersionRecord:
        with changing(self._database, self._ledger, version.name, version.creator) as change:
            self._pending(change.tx, version)
            change.tx.execute(
                delete(files).where(files.c.model_id == version.model_id, files.c.number == version.number)
            )
            change.touch(version.number, status=VersionStatus.FAILED, status_message=why)
            change.event(EventType.MODEL_VERSION_CREATED, version.number, status=VersionStatus.FAILED)
            return change.record(version.number)

    def pending(self) -> list[VersionRecord]:
        query = (
            select(versions, models.c.name, models.c.stage_names)
            .join(models, models.c.id == versions.c.model_id)
            .where(versions.c.status == VersionStatus.PENDING)
            .order_by(versions.c.model_id, versions.c.number)
        )
        with self._database.read() as tx:
            return [version_of(row, row) for row in tx.execute(query)]

    def get(self, name: VersionName) -> VersionRecord:
        query = (
            select(versions, models.c.name, models.c.stage_names)
            .join(models, models.c.id == versions.c.model_id)
            .where(models.c.name == name.model, versions.c.number == name.number)
        )
        with self._database.read() as tx:
            row = tx.execute(query).one_or_none()
            if row is None:
                raise NotFound.of(str(name))
            return self._whole(tx, row, row)

    def list(
        self, model: ModelName | None, search: Search, after: Key | None, limit: int, authorizer: Authorizer
    ) -> list[VersionRecord]:
        query = searching.versions_query(search, after, self._database.is_sqlite).limit(limit)
        with self._database.read() as tx:
            if model is None:
                query = query.where(authorizer.may_read(literal(f"{MODELS}/").concat(models.c.name)))
            else:
                query = query.where(versions.c.model_id == model_and_version(tx, model.model, None).id)
            rows = tx.execute(query).all()
            meaning = aliases.of_models(tx, list({row.model_id for row in rows}))
        return [
            version_of(
                row, row, aliases=[a for a, number in meaning.get(row.model_id, {}).items() if number == row.number]
            )
            for row in rows
        ]

    def update(self, name: VersionName, new: VersionChange, etag: str, user: str) -> VersionRecord:
        with changing(self._database, self._ledger, name, user) as change:
            row = change.version(name)
            check_etag(etag, version_etag(row), name)
            values: dict[str, object] = {}
            if new.description is not None:
                values["description"] = new.description
            tags = row.tags
            if new.tags is not None or new.tag_entries:
                tags = merged(row.tags if new.tags is None else new.tags, new.tag_entries, "model_version.tags")
                values["tags"] = tags
            change.touch(name.number, **values)
            change.event(EventType.MODEL_VERSION_UPDATED, name.number)
            for key in sorted(tags):
                if row.tags.get(key) != tags[key]:
                    change.event(EventType.MODEL_VERSION_TAG_SET, name.number, subject=key)
            return self._whole(change.tx, change.version(name), change.row)

    def delete(self, name: VersionName, etag: str, user: str) -> None:
        with changing(self._database, self._ledger, name, user) as change:
            row = change.version(name)
            check_etag(etag, version_etag(row), name)
            stage = Stage(row.stage)
            if stage in ACTIVE:
                raise VersionInUse(f"{name} is in {stage}; archive it first", name=name, stage=stage)
            change.activity(ActivityType.DELETED_VERSION, name.number, from_stage=stage)
            change.event(EventType.MODEL_VERSION_DELETED, name.number)
            change.tx.execute(
                insert(deleted_versions).values(
                    model_id=row.model_id,
                    number=row.number,
                    creator=row.creator,
                    created=row.created,
                    deleted=change.now,
                )
            )
            change.tx.execute(
                delete(versions).where(versions.c.model_id == row.model_id, versions.c.number == row.number)
            )

    def copy(self, source: VersionName, destination: ModelName, user: str) -> VersionRecord:
        return copied(self._database, self._ledger, source, destination, user)

    def _pending(self, tx: Connection, version: VersionRecord) -> None:
        """Locks the row of a version that this copy still owns. Raises CopyLost."""
        row = tx.execute(
            select(versions.c.status, versions.c.copier)
            .where(versions.c.model_id == version.model_id, versions.c.number == version.number)
            .with_for_update()
        ).one_or_none()
        if row is None or row.status != VersionStatus.PENDING or row.copier != version.copier:
            raise CopyLost(str(version.name))

    def _whole(self, tx: Connection, row: Row, owner: Row) -> VersionRecord:
        listed = tx.execute(select(files).where(files.c.model_id == row.model_id, files.c.number == row.number)).all()
        found = [FileRecord(file.path, file.size, file.sha256) for file in listed]
        meaning = aliases.of_models(tx, [row.model_id]).get(row.model_id, {})
        return version_of(
            row,
            owner,
            sorted(found, key=lambda file: file.path),
            [alias for alias, number in meaning.items() if number == row.number],
        )
