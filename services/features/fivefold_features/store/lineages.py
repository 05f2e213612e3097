"""Who made what from what, one step at a time, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_features import names
from fivefold_features.names import SourceKind
from fivefold_features.store import Edge
from fivefold_features.store.rows import found_table, found_version
from fivefold_features.store.tables import (
    consumers,
    feature_tables,
    spec_tables,
    specs,
    training_set_tables,
    training_sets,
    versions,
)
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database

_Step = Callable[[Connection, str, int], list[Edge]]


class LineageRows:
    """Part of SqlStore."""

    _database: Database

    def add_consumer(self, source: str, consumer: str) -> None:
        with self._database.write() as tx:
            _require(tx, source)
            row = {
                "source": source,
                "consumer": consumer,
                "creator": caller().subject,
                "created": micros(self._database.clock.now()),
            }
            dialect = sqlite.insert if self._database.is_sqlite else postgresql.insert
            tx.execute(dialect(consumers).values(row).on_conflict_do_nothing())

    def require_source(self, source: str) -> None:
        with self._database.read() as tx:
            _require(tx, source)

    def made_from(self, sources: Sequence[str], limit: int) -> list[Edge]:
        return self._steps(_FORWARD, sources, limit)

    def makings_of(self, targets: Sequence[str], limit: int) -> list[Edge]:
        return self._steps(_BACKWARD, targets, limit)

    def _steps(self, steps: dict[SourceKind | None, list[_Step]], wanted: Sequence[str], limit: int) -> list[Edge]:
        found: list[Edge] = []
        with self._database.read() as tx:
            for name in wanted:
                for step in steps.get(names.source_kind(name), []):
                    found += step(tx, name, limit)
        found.sort(key=lambda edge: (-edge.created, edge.source, edge.target))
        return found[:limit]

    def _forget_source(self, tx: Connection, name: str) -> None:
        tx.execute(delete(consumers).where(_of_source(name)))


def _of_source(name: str) -> ColumnElement[bool]:
    return or_(consumers.c.source == name, consumers.c.source.startswith(f"{name}/versions/", autoescape=True))


def _require(tx: Connection, source: str) -> None:
    kind, parts = names.source_kind(source), source.split("/")
    if kind is SourceKind.SPEC:
        there = tx.execute(select(specs.c.id).where(specs.c.id == parts[1], ~specs.c.deleted)).first()
    elif kind is SourceKind.TRAINING_SET:
        there = tx.execute(select(training_sets.c.id).where(training_sets.c.id == parts[1])).first()
    else:
        there = found_table(tx, parts[1])
        if kind is SourceKind.VERSION:
            found_version(tx, parts[1], there.uid, int(parts[3]))
    if there is None:
        raise NotFound.of(source)


def _consumers_of(tx: Connection, name: str, limit: int) -> list[Edge]:
    query = select(consumers).where(_of_source(name)).order_by(consumers.c.created.desc()).limit(limit)
    return [Edge(row.source, row.consumer, row.creator, row.created, recorded=True) for row in tx.execute(query)]


def _sources_of(tx: Connection, name: str, limit: int) -> list[Edge]:
    query = select(consumers).where(consumers.c.consumer == name).order_by(consumers.c.created.desc()).limit(limit)
    return [Edge(row.source, row.consumer, row.creator, row.created, recorded=True) for row in tx.execute(query)]


def _specs_of_table(tx: Connection, name: str, limit: int) -> list[Edge]:
    return _spec_edges(tx, feature_tables.c.id == name.split("/")[1], limit)


def _tables_of_spec(tx: Connection, name: str, limit: int) -> list[Edge]:
    return _spec_edges(tx, specs.c.id == name.split("/")[1], limit)


def _spec_edges(tx: Connection, condition: ColumnElement[bool], limit: int) -> list[Edge]:
    query = (
        select(feature_tables.c.id, specs.c.id, specs.c.creator, specs.c.created)
        .join(spec_tables, spec_tables.c.table_uid == feature_tables.c.uid)
        .join(specs, specs.c.id == spec_tables.c.spec)
        .where(condition)
        .order_by(specs.c.created.desc())
        .limit(limit)
    )
    return [
        Edge(names.table_name(table), names.spec_name(spec), creator, created)
        for table, spec, creator, created in tx.execute(query)
    ]


def _training_sets_of_table(tx: Connection, name: str, limit: int) -> list[Edge]:
    parts = name.split("/")
    condition: ColumnElement[bool] = feature_tables.c.id == parts[1]
    if len(parts) == 4:
        condition &= training_set_tables.c.version == int(parts[3])
    return _training_edges(tx, condition, limit)


def _versions_of_training_set(tx: Connection, name: str, limit: int) -> list[Edge]:
    return _training_edges(tx, training_sets.c.id == name.split("/")[1], limit)


def _training_edges(tx: Connection, condition: ColumnElement[bool], limit: int) -> list[Edge]:
    query = (
        select(feature_tables.c.id, training_set_tables.c.version, *_MADE)
        .join(training_set_tables, training_set_tables.c.table_uid == feature_tables.c.uid)
        .join(training_sets, training_sets.c.id == training_set_tables.c.training_set)
        .where(condition)
        .order_by(training_sets.c.created.desc())
        .limit(limit)
    )
    return [
        Edge(names.version_name(table, version), names.training_set_name(made), creator, created)
        for table, version, made, creator, created in tx.execute(query)
    ]


_MADE: tuple[ColumnElement[Any], ...] = (training_sets.c.id, training_sets.c.creator, training_sets.c.created)


def _training_sets_of_spec(tx: Connection, name: str, limit: int) -> list[Edge]:
    query = select(*_MADE).where(training_sets.c.spec == name.split("/")[1])
    query = query.order_by(training_sets.c.created.desc()).limit(limit)
    return [Edge(name, names.training_set_name(made), creator, created) for made, creator, created in tx.execute(query)]


def _spec_of_training_set(tx: Connection, name: str, limit: int) -> list[Edge]:
    query = select(training_sets).where(training_sets.c.id == name.split("/")[1])
    return [Edge(names.spec_name(row.spec), name, row.creator, row.created) for row in tx.execute(query)]


def _producers(tx: Connection, name: str, limit: int) -> list[Edge]:
    parts = name.split("/")
    query = (
        select(versions)
        .join(feature_tables, feature_tables.c.uid == versions.c.table_uid)
        .where(feature_tables.c.id == parts[1], versions.c.producer != "")
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    if len(parts) == 4:
        query = query.where(versions.c.number == int(parts[3]))
    return [
        Edge(row.producer, names.version_name(parts[1], row.number), row.creator, row.created)
        for row in tx.execute(query)
    ]


_FORWARD: dict[SourceKind | None, list[_Step]] = {
    SourceKind.TABLE: [_specs_of_table, _training_sets_of_table, _consumers_of],
    SourceKind.VERSION: [_training_sets_of_table, _consumers_of],
    SourceKind.SPEC: [_training_sets_of_spec, _consumers_of],
    SourceKind.TRAINING_SET: [_consumers_of],
}
_BACKWARD: dict[SourceKind | None, list[_Step]] = {
    SourceKind.TABLE: [_producers],
    SourceKind.VERSION: [_producers],
    SourceKind.SPEC: [_tables_of_spec],
    SourceKind.TRAINING_SET: [_spec_of_training_set, _versions_of_training_set],
    None: [_sources_of],
}
