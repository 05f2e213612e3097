"""Metadata in SQL, on SQLite and PostgreSQL. Races are settled by the database, not here.

A write takes its table's row first (FOR UPDATE; SQLite has one writer anyway), then a number: versions have no gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, literal, select, true, update

from fivefold_features.errors import TableInUse
from fivefold_features.names import spec_name, table_name
from fivefold_features.schema import Column, Schema, check_extension
from fivefold_features.searches import Search
from fivefold_features.store import Mode, Snapshot, TableRecord, VersionRecord, Written, documents
from fivefold_features.store.files import FileRows
from fivefold_features.store.lineages import LineageRows
from fivefold_features.store.rows import found_table, found_version, inserted, snapshot, to_table, to_version
from fivefold_features.store.searching import tables_query
from fivefold_features.store.specs import SpecRows
from fivefold_features.store.tables import compactions, feature_tables, spec_tables, versions
from fivefold_features.store.trainings import TrainingSetRows
from fivefold_runtime import grants
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, AlreadyExists, NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.masks import Entries, merged
from fivefold_runtime.paging import Key
from fivefold_runtime.sql import Database

MIGRATIONS = "fivefold_features.store.migrations"
_MICROSECOND = timedelta(microseconds=1)


class SqlStore(SpecRows, TrainingSetRows, FileRows, LineageRows):
    """A `MetadataStore` over one database."""

    def __init__(
        self, database: Database, may_read: Callable[[ColumnElement[str]], ColumnElement[bool]] = lambda _: true()
    ) -> None:
        """`may_read` gives the SQL condition that the caller may read a named resource (policy.Authorizer has it)."""
        self._database = database
        self._may_read = may_read

    def add_table(
        self,
        table: str,
        schema: Schema,
        *,
        description: str,
        tags: Mapping[str, str],
        publish_on_write: bool,
        owner: str = "",
        freshness: timedelta | None = None,
    ) -> TableRecord:
        with self._database.write() as tx:
            now = self._now()
            row = {
                "uid": new_id(),
                "id": table,
                "description": description,
                "tags": documents.dump(dict(tags)),
                "columns": documents.dump(documents.of_columns(schema.columns)),
                "primary_keys": documents.dump(schema.primary_keys),
                "timestamp_key": schema.timestamp_key,
                "knowledge_key": schema.knowledge_key,
                "publish_on_write": publish_on_write,
                "current_version": 0,
                "base": 0,
                "online_version": 0,
                "published": False,
                "creator": caller().subject,
                "created": now,
                "updated": now,
                "revision": 1,
                "owner": owner or caller().subject,
                "freshness": None if freshness is None else freshness // _MICROSECOND,
            }
            if not inserted(tx, feature_tables, row):
                raise AlreadyExists(f"{table_name(table)} exists", name=table_name(table))
            grants.own(tx, table_name(table))
            return to_table(found_table(tx, table))

    def table(self, table: str) -> TableRecord:
        with self._database.read() as tx:
            return to_table(found_table(tx, table))

    def tables(self, search: Search, after: Key | None, limit: int) -> list[TableRecord]:
        query = tables_query(search, after, self._database.is_sqlite).where(
            self._may_read(literal("tables/") + feature_tables.c.id)
        )
        with self._database.read() as tx:
            return [to_table(row) for row in tx.execute(query.limit(limit))]

    def update_table(
        self,
        table: str,
        revision: int | None,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        columns: tuple[Column, ...] | None = None,
        publish_on_write: bool | None = None,
        owner: str | None = None,
        freshness: timedelta | None = None,
        no_freshness: bool = False,
        tag_entries: Entries | None = None,
    ) -> TableRecord:
        with self._database.write() as tx:
            present = to_table(found_table(tx, table, lock=True))
            if revision not in (None, present.revision):
                raise Aborted(
                    f"{table_name(table)} changed since its etag was read; read it again",
                    name=table_name(table),
                    etag=present.revision,
                )
            if columns is not None:
                check_extension(table_name(table), present.schema.columns, columns)
            new_tags = dict(present.tags if tags is None else tags)
            if tag_entries:
                new_tags = merged(new_tags, tag_entries, "table.tags")
            changes: dict[str, Any] = {
                "description": description,
                "tags": documents.dump(new_tags),
                "owner": owner,
                "freshness": None if freshness is None else freshness // _MICROSECOND,
                "columns": None if columns is None else documents.dump(documents.of_columns(columns)),
                "publish_on_write": publish_on_write,
            }
            given = {name: value for name, value in changes.items() if value is not None}
            if no_freshness:
                given["freshness"] = None
            tx.execute(
                update(feature_tables)
                .where(feature_tables.c.uid == present.uid)
                .values(**given, revision=present.revision + 1, updated=self._now())
            )
            return to_table(found_table(tx, table))

    def delete_table(self, table: str) -> TableRecord:
        with self._database.write() as tx:
            record = to_table(found_table(tx, table, lock=True))
            using = select(spec_tables.c.spec).where(spec_tables.c.table_uid == record.uid)
            if tx.execute(using.limit(1)).first() is not None:
                readable = self._may_read(literal("specs/") + spec_tables.c.spec)
                user = tx.execute(using.where(readable).order_by(spec_tables.c.spec).limit(1)).scalar()
                shown = "a feature spec" if user is None else spec_name(user)
                raise TableInUse(f"{shown} refers to {table_name(table)}", name=table_name(table), used_by=shown)
            self._forget_source(tx, table_name(table))
            tx.execute(delete(compactions).where(compactions.c.table_uid == record.uid))
            tx.execute(delete(versions).where(versions.c.table_uid == record.uid))
            tx.execute(delete(feature_tables).where(feature_tables.c.uid == record.uid))
            grants.forget(tx, table_name(table))
            return record

    def add_version(self, table: TableRecord, written: Written) -> VersionRecord:
        with self._database.write() as tx:
            row = tx.execute(select(feature_tables).where(feature_tables.c.uid == table.uid).with_for_update()).first()
            if row is None:
                raise NotFound.of(table_name(table.id))
            number, now = row.current_version + 1, self._now()
            base, before, newest = number if written.mode is Mode.OVERWRITE else row.base, 0, written.newest_event
            if row.current_version:
                last = found_version(tx, table.id, table.uid, row.current_version)
                now = max(now, last.created)  # Whatever the clock does, times follow the order of the versions.
                if written.mode is Mode.MERGE:
                    before = last.rows_total
                    newest = max((one for one in (newest, row.newest_event) if one is not None), default=None)
            tx.execute(
                insert(versions).values(
                    table_uid=table.uid,
                    number=number,
                    base=base,
                    mode=written.mode,
                    rows=written.rows,
                    rows_total=before + written.rows,
                    digest=written.digest,
                    key=written.key,
                    size_bytes=written.size_bytes,
                    creator=caller().subject,
                    created=now,
                    producer=written.producer,
                    newest_event=written.newest_event,
                    ordered=written.ordered,
                )
            )
            tx.execute(
                update(feature_tables)
                .where(feature_tables.c.uid == table.uid)
                .values(current_version=number, base=base, updated=now, newest_event=newest, written=now)
            )
            return to_version(table.id, found_version(tx, table.id, table.uid, number))

    def versions(self, table: str, before: int | None, limit: int) -> list[VersionRecord]:
        with self._database.read() as tx:
            uid = found_table(tx, table).uid
            query = select(versions).where(versions.c.table_uid == uid).order_by(versions.c.number.desc()).limit(limit)
            if before is not None:
                query = query.where(versions.c.number < before)
            return [to_version(table, row) for row in tx.execute(query)]

    def snapshot(
        self, tables: Sequence[str], version: int = 0, *, moment: int | None = None, after: int = 0
    ) -> list[Snapshot]:
        with self._database.read() as tx:
            return [snapshot(tx, table, version, moment=moment, after=after) for table in tables]

    def offered_online(self, table: TableRecord, version: int) -> None:
        with self._database.write() as tx:
            row = tx.execute(
                select(feature_tables.c.online_version).where(feature_tables.c.uid == table.uid).with_for_update()
            ).first()
            if row is not None:
                tx.execute(
                    update(feature_tables)
                    .where(feature_tables.c.uid == table.uid)
                    .values(published=True, online_version=max(version, row.online_version))
                )

    def _now(self) -> int:
        return micros(self._database.clock.now())
