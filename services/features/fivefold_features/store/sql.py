"""Metadata in SQL, on SQLite and PostgreSQL. Races are settled by the database, not here.

A write takes its table's row first (FOR UPDATE; SQLite has one writer anyway), then a number: versions have no gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, literal, select, true, update
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_features import lookups as specs_domain
from fivefold_features.errors import TableInUse
from fivefold_features.lookups import Lookup, completed
from fivefold_features.names import spec_name, table_name, training_set_name, version_name
from fivefold_features.offline import Part
from fivefold_features.schema import Column, Schema, check_extension
from fivefold_features.store import (
    Mode,
    Snapshot,
    SpecRecord,
    TableRecord,
    TrainingSetRecord,
    VersionRecord,
    Written,
    documents,
)
from fivefold_features.store.tables import (
    feature_tables,
    spec_tables,
    specs,
    training_set_tables,
    training_sets,
    versions,
)
from fivefold_runtime import grants
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, AlreadyExists, NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.sql import Database

MIGRATIONS = "fivefold_features.store.migrations"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MANY = 500  # parameters of one IN


class SqlStore:
    """A `MetadataStore` over one database."""

    def __init__(
        self, database: Database, may_read: Callable[[ColumnElement[str]], ColumnElement[bool]] = lambda _: true()
    ) -> None:
        """`may_read` gives the SQL condition that the caller may read a named resource (policy.Authorizer has it)."""
        self._database = database
        self._may_read = may_read

    def add_table(
        self, table: str, schema: Schema, *, description: str, tags: Mapping[str, str], publish_on_write: bool
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
            }
            if not self._inserted(tx, feature_tables, row):
                raise AlreadyExists(f"{table_name(table)} exists", name=table_name(table))
            grants.own(tx, table_name(table))
            return _table(_found_table(tx, table))

    def table(self, table: str) -> TableRecord:
        with self._database.read() as tx:
            return _table(_found_table(tx, table))

    def tables(self, after: str, limit: int) -> list[TableRecord]:
        query = (
            select(feature_tables)
            .where(feature_tables.c.id > after, self._may_read(literal("tables/") + feature_tables.c.id))
            .order_by(feature_tables.c.id)
            .limit(limit)
        )
        with self._database.read() as tx:
            return [_table(row) for row in tx.execute(query)]

    def update_table(
        self,
        table: str,
        revision: int | None,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        columns: tuple[Column, ...] | None = None,
        publish_on_write: bool | None = None,
    ) -> TableRecord:
        with self._database.write() as tx:
            present = _table(_found_table(tx, table, lock=True))
            if revision not in (None, present.revision):
                raise Aborted(
                    f"{table_name(table)} changed since its etag was read; read it again",
                    name=table_name(table),
                    etag=present.revision,
                )
            if columns is not None:
                check_extension(table_name(table), present.schema.columns, columns)
            changes: dict[str, Any] = {
                "description": description,
                "tags": None if tags is None else documents.dump(dict(tags)),
                "columns": None if columns is None else documents.dump(documents.of_columns(columns)),
                "publish_on_write": publish_on_write,
            }
            given = {name: value for name, value in changes.items() if value is not None}
            tx.execute(
                update(feature_tables)
                .where(feature_tables.c.uid == present.uid)
                .values(**given, revision=present.revision + 1, updated=self._now())
            )
            return _table(_found_table(tx, table))

    def delete_table(self, table: str) -> TableRecord:
        with self._database.write() as tx:
            record = _table(_found_table(tx, table, lock=True))
            user = tx.execute(
                select(spec_tables.c.spec).where(spec_tables.c.table_uid == record.uid).order_by(spec_tables.c.spec)
            ).scalar()
            if user is not None:
                raise TableInUse(
                    f"{spec_name(user)} refers to {table_name(table)}", name=table_name(table), used_by=spec_name(user)
                )
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
            base = number if written.mode is Mode.OVERWRITE else row.base
            before = 0
            if written.mode is Mode.MERGE and row.current_version:
                before = tx.execute(
                    select(versions.c.rows_total).where(
                        versions.c.table_uid == table.uid, versions.c.number == row.current_version
                    )
                ).scalar_one()
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
                )
            )
            tx.execute(
                update(feature_tables)
                .where(feature_tables.c.uid == table.uid)
                .values(current_version=number, base=base, updated=now)
            )
            return _version(table.id, _found_version(tx, table.id, table.uid, number))

    def versions(self, table: str, before: int | None, limit: int) -> list[VersionRecord]:
        with self._database.read() as tx:
            uid = _found_table(tx, table).uid
            query = select(versions).where(versions.c.table_uid == uid).order_by(versions.c.number.desc()).limit(limit)
            if before is not None:
                query = query.where(versions.c.number < before)
            return [_version(table, row) for row in tx.execute(query)]

    def snapshot(self, tables: Sequence[str], version: int = 0, *, after: int = 0) -> list[Snapshot]:
        with self._database.read() as tx:
            return [_snapshot(tx, table, version, after) for table in tables]

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

    def add_spec(self, spec: str, description: str, lookups: Sequence[Lookup]) -> SpecRecord:
        with self._database.write() as tx:
            tables = {lookup.table: _table(_found_table(tx, lookup.table, lock=True)) for lookup in lookups}
            whole = tuple(completed(lookup, tables[lookup.table].schema) for lookup in lookups)
            plan = specs_domain.resolve(whole, {table: record.schema for table, record in tables.items()})
            row = {
                "id": spec,
                "description": description,
                "lookups": documents.dump([documents.of_lookup(lookup) for lookup in whole]),
                "features": documents.dump(documents.of_columns(plan.features)),
                "keys": documents.dump(documents.of_columns(plan.keys)),
                "creator": caller().subject,
                "created": self._now(),
            }
            made = self._inserted(tx, specs, row)
            record = _spec(tx.execute(select(specs).where(specs.c.id == spec)).one())
            if not made:
                if (record.description, record.lookups) == (description, whole):
                    return record
                raise AlreadyExists(f"{spec_name(spec)} exists and is another spec", name=spec_name(spec))
            tx.execute(insert(spec_tables), [{"spec": spec, "table_uid": record.uid} for record in tables.values()])
            grants.own(tx, spec_name(spec))
            return record

    def spec(self, spec: str) -> SpecRecord:
        with self._database.read() as tx:
            row = tx.execute(select(specs).where(specs.c.id == spec)).first()
        if row is None:
            raise NotFound.of(spec_name(spec))
        return _spec(row)

    def specs(self, after: str, limit: int) -> list[SpecRecord]:
        query = (
            select(specs)
            .where(specs.c.id > after, self._may_read(literal("specs/") + specs.c.id))
            .order_by(specs.c.id)
            .limit(limit)
        )
        with self._database.read() as tx:
            return [_spec(row) for row in tx.execute(query)]

    def add_training_set(self, record: TrainingSetRecord) -> TrainingSetRecord:
        with self._database.write() as tx:
            now = self._now()
            made = replace(record, creator=caller().subject, created=_moment(now))
            uids = {table: _found_table(tx, table).uid for table in made.versions}
            tx.execute(
                insert(training_sets).values(
                    id=made.id,
                    spec=made.spec,
                    timestamp_column=made.timestamp_column,
                    labels=documents.dump(made.labels),
                    exclude=documents.dump(made.exclude),
                    versions=documents.dump(dict(made.versions)),
                    rows=made.rows,
                    columns=documents.dump(documents.of_columns(made.columns)),
                    label_digest=made.label_digest,
                    digest=made.digest,
                    key=made.key,
                    creator=made.creator,
                    created=now,
                )
            )
            tx.execute(
                insert(training_set_tables),
                [
                    {"training_set": made.id, "table_uid": uids[table], "version": version}
                    for table, version in made.versions.items()
                ],
            )
            grants.own(tx, training_set_name(made.id))
            return made

    def training_set(self, training_set: str) -> TrainingSetRecord:
        with self._database.read() as tx:
            row = tx.execute(select(training_sets).where(training_sets.c.id == training_set)).first()
        if row is None:
            raise NotFound.of(training_set_name(training_set))
        return TrainingSetRecord(
            id=row.id,
            spec=row.spec,
            timestamp_column=row.timestamp_column,
            labels=tuple(documents.load(row.labels)),
            exclude=tuple(documents.load(row.exclude)),
            versions=documents.load(row.versions),
            rows=row.rows,
            columns=documents.columns(row.columns),
            label_digest=row.label_digest,
            digest=row.digest,
            key=row.key,
            creator=row.creator,
            created=_moment(row.created),
        )

    def unnamed(self, keys: Collection[str]) -> set[str]:
        named: set[str] = set()
        some = sorted(keys)
        with self._database.read() as tx:
            for start in range(0, len(some), _MANY):
                part = some[start : start + _MANY]
                for column in (versions.c.key, training_sets.c.key):
                    named.update(tx.execute(select(column).where(column.in_(part))).scalars())
        return set(some) - named

    def _inserted(self, tx: Connection, table: SqlTable, row: Mapping[str, object]) -> bool:
        """Inserts a row and says whether its name was free; of two callers at once the second waits for the first."""
        dialect = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = dialect(table).values(row).on_conflict_do_nothing(index_elements=["id"]).returning(table.c.id)
        return tx.execute(statement).first() is not None

    def _now(self) -> int:
        return micros(self._database.clock.now())


def _found_table(tx: Connection, table: str, *, lock: bool = False) -> Row[Any]:
    query = select(feature_tables).where(feature_tables.c.id == table)
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound.of(table_name(table))
    return row


def _found_version(tx: Connection, table: str, uid: str, number: int) -> Row[Any]:
    row = tx.execute(select(versions).where(versions.c.table_uid == uid, versions.c.number == number)).first()
    if row is None:
        raise NotFound.of(version_name(table, number))
    return row


def _snapshot(tx: Connection, table: str, version: int, after: int) -> Snapshot:
    record = _table(_found_table(tx, table))
    number = version or record.current_version
    if not number:
        return Snapshot(record, 0, 0, ())
    base = _found_version(tx, table, record.uid, number).base
    rows = tx.execute(
        select(versions.c.key, versions.c.number)
        .where(versions.c.table_uid == record.uid, versions.c.number.between(max(base, after + 1), number))
        .order_by(versions.c.number)
    )
    return Snapshot(record, number, base, tuple(Part(row.key, row.number) for row in rows))


def _table(row: Row[Any]) -> TableRecord:
    return TableRecord(
        id=row.id,
        uid=row.uid,
        description=row.description,
        tags=documents.load(row.tags),
        schema=Schema(
            documents.columns(row.columns),
            tuple(documents.load(row.primary_keys)),
            row.timestamp_key,
            row.knowledge_key,
        ),
        publish_on_write=row.publish_on_write,
        current_version=row.current_version,
        base=row.base,
        online_version=row.online_version,
        published=row.published,
        creator=row.creator,
        created=_moment(row.created),
        updated=_moment(row.updated),
        revision=row.revision,
    )


def _version(table: str, row: Row[Any]) -> VersionRecord:
    return VersionRecord(
        table=table,
        number=row.number,
        base=row.base,
        mode=Mode(row.mode),
        rows=row.rows,
        rows_total=row.rows_total,
        digest=row.digest,
        creator=row.creator,
        created=_moment(row.created),
    )


def _spec(row: Row[Any]) -> SpecRecord:
    return SpecRecord(
        id=row.id,
        description=row.description,
        lookups=tuple(documents.lookup(found) for found in documents.load(row.lookups)),
        features=documents.columns(row.features),
        keys=documents.columns(row.keys),
        creator=row.creator,
        created=_moment(row.created),
    )


def _moment(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)
