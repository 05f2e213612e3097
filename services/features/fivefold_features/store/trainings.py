"""Training sets in SQL. Each pins the table versions that it was built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, insert, literal, select

from fivefold_features.errors import VersionVacuumed
from fivefold_features.names import spec_name, training_set_name, version_name
from fivefold_features.searches import Search
from fivefold_features.store import TrainingSetRecord, documents
from fivefold_features.store.rows import found_table, found_version, moment_of, to_training_set
from fivefold_features.store.searching import training_sets_query
from fivefold_features.store.tables import consumers, retired_files, specs, training_set_tables, training_sets
from fivefold_runtime import grants
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import NotFound
from fivefold_runtime.paging import Key
from fivefold_runtime.sql import Database


class TrainingSetRows:
    """Part of SqlStore."""

    _database: Database
    _may_read: Callable[[ColumnElement[str]], ColumnElement[bool]]

    def add_training_set(self, record: TrainingSetRecord) -> TrainingSetRecord:
        with self._database.write() as tx:
            now = micros(self._database.clock.now())
            made = replace(record, creator=caller().subject, created=moment_of(now))
            spec = tx.execute(
                select(specs.c.id).where(specs.c.id == made.spec, ~specs.c.deleted).with_for_update()
            ).first()
            if spec is None:
                raise NotFound.of(spec_name(made.spec))
            uids = {}
            for table, version in sorted(made.versions.items()):
                uids[table] = found_table(tx, table, lock=True).uid
                if version and found_version(tx, table, uids[table], version).vacuumed:
                    name = version_name(table, version)
                    raise VersionVacuumed(
                        f"the rows of {name} were given up while they were read; try again", name=name
                    )
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
                    labels_key=made.labels_key,
                    label_columns=None
                    if made.label_columns is None
                    else documents.dump(documents.of_columns(made.label_columns)),
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
        return to_training_set(row)

    def training_sets(self, search: Search, after: Key | None, limit: int) -> list[TrainingSetRecord]:
        query = training_sets_query(search, after, self._database.is_sqlite).where(
            self._may_read(literal("trainingSets/") + training_sets.c.id)
        )
        with self._database.read() as tx:
            return [to_training_set(row) for row in tx.execute(query.limit(limit))]

    def delete_training_set(self, training_set: str) -> None:
        name = training_set_name(training_set)
        with self._database.write() as tx:
            row = tx.execute(select(training_sets).where(training_sets.c.id == training_set).with_for_update()).first()
            if row is None:
                raise NotFound.of(name)
            now = micros(self._database.clock.now())
            gone = [{"key": key, "retired": now} for key in (row.key, row.labels_key) if key]
            tx.execute(insert(retired_files), gone)
            tx.execute(delete(training_set_tables).where(training_set_tables.c.training_set == training_set))
            tx.execute(delete(training_sets).where(training_sets.c.id == training_set))
            tx.execute(delete(consumers).where(consumers.c.source == name))
            grants.forget(tx, name)
