"""Files in SQL: which ones are named, compacted, vacuumed, and given up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, or_, select, update

from fivefold_features import vacuuming
from fivefold_features.store import Compacted, Snapshot, Vacuumed
from fivefold_features.store.rows import found_table
from fivefold_features.store.tables import (
    compactions,
    feature_tables,
    retired_files,
    training_set_tables,
    training_sets,
    versions,
)
from fivefold_features.vacuuming import Compaction, Version
from fivefold_runtime.clock import micros
from fivefold_runtime.sql import Database

T = TypeVar("T")
_SHARE = 8  # a table is compacted again when an eighth of its rows is new, or for eight times as many files
_MANY = 500  # parameters of one IN
_NAMING = (versions.c.key, compactions.c.key, training_sets.c.key, training_sets.c.labels_key, retired_files.c.key)


class FileRows:
    """Part of SqlStore."""

    _database: Database

    def unnamed(self, keys: Collection[str]) -> set[str]:
        named: set[str] = set()
        with self._database.read() as tx:
            for part in _parts(sorted(keys)):
                for column in _NAMING:
                    named.update(tx.execute(select(column).where(column.in_(part))).scalars())
        return set(keys) - named

    def add_compaction(self, snapshot: Snapshot, made: Compacted) -> bool:
        uid = snapshot.table.uid
        with self._database.write() as tx:
            if tx.execute(select(feature_tables.c.uid).where(_of(uid)).with_for_update()).first() is None:
                return False
            present, wholes = _files(tx, uid)
            if any(one.version == snapshot.version for one in wholes):
                return False
            tx.execute(
                insert(compactions).values(
                    table_uid=uid,
                    version=snapshot.version,
                    base=snapshot.base,
                    key=made.key,
                    rows=made.rows,
                    size_bytes=made.size_bytes,
                    created=micros(self._database.clock.now()),
                )
            )
            wholes.append(Compaction(snapshot.version, snapshot.base))
            self._retire_compactions(tx, uid, vacuuming.superseded(present, wholes, snapshot.version))
            return True

    def vacuum(self, table: str, oldest: int, *, dry_run: bool) -> Vacuumed:
        with self._database.write() as tx:
            uid = found_table(tx, table, lock=True).uid
            present, wholes = _files(tx, uid)
            pins = tx.execute(
                select(training_set_tables.c.version).where(training_set_tables.c.table_uid == uid).distinct()
            ).scalars()
            plan = vacuuming.vacuum(present, wholes, set(pins), oldest)
            size = 0
            for numbers, column, of in (
                (plan.files, versions.c.size_bytes, versions.c.number),
                (plan.compactions, compactions.c.size_bytes, compactions.c.version),
            ):
                for part in _parts(numbers):
                    query = select(func.sum(column)).where(column.table.c.table_uid == uid, of.in_(part))
                    size += int(tx.execute(query).scalar() or 0)
            if not dry_run:
                for part in _parts(plan.given_up):
                    tx.execute(update(versions).where(_numbered(uid, part)).values(vacuumed=True))
                self._retire_files(tx, uid, plan.files)
                self._retire_compactions(tx, uid, plan.compactions)
            return Vacuumed(plan.given_up, plan.pinned, len(plan.files) + len(plan.compactions), size)

    def uncompacted(self, most_files: int, limit: int) -> list[str]:
        made = compactions.alias()
        newest = (
            select(func.max(made.c.version))
            .where(made.c.table_uid == feature_tables.c.uid, made.c.base == feature_tables.c.base)
            .correlate(feature_tables)
            .scalar_subquery()
        )
        before = case((feature_tables.c.base > 0, feature_tables.c.base - 1), else_=0)
        files = feature_tables.c.current_version - func.coalesce(newest, before)
        last, whole = versions.alias(), versions.alias()
        rows_since = last.c.rows_total - whole.c.rows_total
        # Without this a large table with small writes would be written again and again for a few rows.
        worth = or_(newest.is_(None), rows_since * _SHARE >= compactions.c.rows, files > most_files * _SHARE)
        query = (
            select(feature_tables.c.id)
            .join(
                last, and_(last.c.table_uid == feature_tables.c.uid, last.c.number == feature_tables.c.current_version)
            )
            .outerjoin(whole, and_(whole.c.table_uid == feature_tables.c.uid, whole.c.number == newest))
            .outerjoin(
                compactions, and_(compactions.c.table_uid == feature_tables.c.uid, compactions.c.version == newest)
            )
            .where(files > most_files, worth)
            .order_by(feature_tables.c.id)
            .limit(limit)
        )
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())

    def retired(self, before: int, limit: int) -> list[str]:
        query = (
            select(retired_files.c.key)
            .where(retired_files.c.retired <= before)
            .order_by(retired_files.c.retired)
            .limit(limit)
        )
        with self._database.read() as tx:
            return list(tx.execute(query).scalars())

    def forget_retired(self, keys: Sequence[str]) -> None:
        with self._database.write() as tx:
            for part in _parts(keys):
                tx.execute(delete(retired_files).where(retired_files.c.key.in_(part)))

    def _retire_files(self, tx: Connection, uid: str, numbers: Sequence[int]) -> None:
        for part in _parts(numbers):
            keys = tx.execute(select(versions.c.key).where(_numbered(uid, part))).scalars().all()
            tx.execute(update(versions).where(_numbered(uid, part)).values(retired=True))
            self._retire(tx, keys)

    def _retire_compactions(self, tx: Connection, uid: str, numbers: Sequence[int]) -> None:
        for part in _parts(numbers):
            which = and_(compactions.c.table_uid == uid, compactions.c.version.in_(part))
            keys = tx.execute(select(compactions.c.key).where(which)).scalars().all()
            tx.execute(delete(compactions).where(which))
            self._retire(tx, keys)

    def _retire(self, tx: Connection, keys: Sequence[str]) -> None:
        now = micros(self._database.clock.now())
        if keys:
            tx.execute(insert(retired_files), [{"key": key, "retired": now} for key in keys])


def _files(tx: Connection, uid: str) -> tuple[list[Version], list[Compaction]]:
    present = tx.execute(
        select(versions.c.number, versions.c.base, versions.c.created, versions.c.vacuumed, versions.c.retired)
        .where(versions.c.table_uid == uid)
        .order_by(versions.c.number)
    )
    wholes = tx.execute(select(compactions.c.version, compactions.c.base).where(compactions.c.table_uid == uid))
    return [Version(*row) for row in present], [Compaction(*row) for row in wholes]


def _of(uid: str) -> ColumnElement[bool]:
    return feature_tables.c.uid == uid


def _numbered(uid: str, numbers: Sequence[int]) -> ColumnElement[bool]:
    return and_(versions.c.table_uid == uid, versions.c.number.in_(numbers))


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))
