"""From rows of the database to records, and the queries that several parts of the store share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_features.errors import VersionVacuumed
from fivefold_features.names import table_name, version_name
from fivefold_features.offline import Part
from fivefold_features.schema import Schema
from fivefold_features.store import Mode, Snapshot, SpecRecord, TableRecord, TrainingSetRecord, VersionRecord, documents
from fivefold_features.store.tables import compactions, feature_tables, versions
from fivefold_runtime.errors import NotFound

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def found_table(tx: Connection, table: str, *, lock: bool = False) -> Row[Any]:
    """Returns the row of a table. Raises NotFound."""
    query = select(feature_tables).where(feature_tables.c.id == table)
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound.of(table_name(table))
    return row


def found_version(tx: Connection, table: str, uid: str, number: int) -> Row[Any]:
    """Returns the row of a version. Raises NotFound."""
    row = tx.execute(select(versions).where(versions.c.table_uid == uid, versions.c.number == number)).first()
    if row is None:
        raise NotFound.of(version_name(table, number))
    return row


def inserted(tx: Connection, table: SqlTable, row: Mapping[str, object], *, key: str = "id") -> bool:
    """Inserts a row and says whether its key was free; of two callers at once the second waits for the first."""
    dialect = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = dialect(table).values(row).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
    return tx.execute(statement).first() is not None


def snapshot(tx: Connection, table: str, version: int, *, moment: int | None = None, after: int = 0) -> Snapshot:
    """Returns what a version is read from; see MetadataStore.snapshot. Raises NotFound, VersionVacuumed."""
    record = to_table(found_table(tx, table))
    if moment is not None:
        version = _version_at(tx, record, moment)
    number = version or record.current_version
    if not number:
        return Snapshot(record, 0, 0, ())
    row = found_version(tx, table, record.uid, number)
    if row.vacuumed:
        name = version_name(table, number)
        raise VersionVacuumed(f"the rows of {name} were given up by a vacuum", name=name)
    base: int = row.base
    if after >= max(base, 1):
        parts = _parts(tx, record.uid, after + 1, number)
        if parts is not None:
            return Snapshot(record, number, base, parts)
    whole = tx.execute(
        select(compactions)
        .where(
            compactions.c.table_uid == record.uid,
            compactions.c.base == base,
            compactions.c.version.between(base, number),
        )
        .order_by(compactions.c.version.desc())
        .limit(1)
    ).first()
    first, head = max(base, 1), list[Part]()
    if whole is not None:
        first, head = whole.version + 1, [Part(whole.key, whole.version, compacted=True, ordered=True, rows=whole.rows)]
    return Snapshot(record, number, base, (*head, *(_parts(tx, record.uid, first, number) or ())))


def _version_at(tx: Connection, record: TableRecord, moment: int) -> int:
    number = tx.execute(
        select(func.max(versions.c.number)).where(versions.c.table_uid == record.uid, versions.c.created <= moment)
    ).scalar()
    if number is None:
        raise NotFound(f"{table_name(record.id)} had no version at that time", name=table_name(record.id))
    return int(number)


def _parts(tx: Connection, uid: str, first: int, last: int) -> tuple[Part, ...] | None:
    """Returns the files of the writes from one to another; None when some were given up."""
    rows = tx.execute(
        select(versions.c.key, versions.c.number, versions.c.ordered, versions.c.retired, versions.c.rows)
        .where(versions.c.table_uid == uid, versions.c.number.between(first, last))
        .order_by(versions.c.number)
    ).all()
    if any(row.retired for row in rows):
        return None
    return tuple(Part(row.key, row.number, ordered=row.ordered, rows=row.rows) for row in rows)


def to_table(row: Row[Any]) -> TableRecord:
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
        created=moment_of(row.created),
        updated=moment_of(row.updated),
        revision=row.revision,
        owner=row.owner,
        freshness=None if row.freshness is None else timedelta(microseconds=row.freshness),
        newest_event=row.newest_event,
        written=row.written,
    )


def to_version(table: str, row: Row[Any]) -> VersionRecord:
    return VersionRecord(
        table=table,
        number=row.number,
        base=row.base,
        mode=Mode(row.mode),
        rows=row.rows,
        rows_total=row.rows_total,
        digest=row.digest,
        creator=row.creator,
        created=moment_of(row.created),
        producer=row.producer,
        vacuumed=row.vacuumed,
    )


def to_spec(row: Row[Any]) -> SpecRecord:
    return SpecRecord(
        id=row.id,
        description=row.description,
        lookups=tuple(documents.lookup(found) for found in documents.load(row.lookups)),
        features=documents.columns(row.features),
        keys=documents.columns(row.keys),
        creator=row.creator,
        created=moment_of(row.created),
        tags=documents.load(row.tags),
        functions=tuple(documents.function(found) for found in documents.load(row.functions)),
        inputs=documents.columns(row.inputs),
    )


def to_training_set(row: Row[Any]) -> TrainingSetRecord:
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
        created=moment_of(row.created),
        labels_key=row.labels_key,
        label_columns=None if row.label_columns is None else documents.columns(row.label_columns),
    )


def moment_of(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)
