"""Feature specs in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import ColumnElement, delete, insert, literal, select, update

from fivefold_features import lookups as specs_domain
from fivefold_features.errors import SpecInUse
from fivefold_features.functions import FunctionUse, Installed, bound
from fivefold_features.lookups import Lookup, completed
from fivefold_features.names import spec_name
from fivefold_features.searches import Search
from fivefold_features.store import SpecRecord, documents
from fivefold_features.store.rows import found_table, inserted, to_spec, to_table
from fivefold_features.store.searching import specs_query
from fivefold_features.store.tables import consumers, spec_tables, specs, training_sets
from fivefold_runtime import grants
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import AlreadyExists, NotFound
from fivefold_runtime.paging import Key
from fivefold_runtime.sql import Database


class SpecRows:
    """Part of SqlStore."""

    _database: Database
    _may_read: Callable[[ColumnElement[str]], ColumnElement[bool]]

    def add_spec(
        self,
        spec: str,
        description: str,
        lookups: Sequence[Lookup],
        *,
        tags: Mapping[str, str] | None = None,
        functions: Sequence[FunctionUse] = (),
        installed: Installed | None = None,
    ) -> SpecRecord:
        with self._database.write() as tx:
            tables = {lookup.table: to_table(found_table(tx, lookup.table, lock=True)) for lookup in lookups}
            whole = tuple(completed(lookup, tables[lookup.table].schema) for lookup in lookups)
            plan = specs_domain.resolve(whole, {table: record.schema for table, record in tables.items()})
            program = bound(functions, plan.features, plan.keys, installed or Installed())
            uses, results, inputs = (program.uses, program.results, program.inputs) if program else ((), (), ())
            row = {
                "id": spec,
                "description": description,
                "lookups": documents.dump([documents.of_lookup(lookup) for lookup in whole]),
                "features": documents.dump(documents.of_columns((*plan.features, *results))),
                "keys": documents.dump(documents.of_columns(plan.keys)),
                "creator": caller().subject,
                "created": micros(self._database.clock.now()),
                "tags": documents.dump(dict(tags or {})),
                "functions": documents.dump([documents.of_function(use) for use in uses]),
                "inputs": documents.dump(documents.of_columns(inputs)),
            }
            made = inserted(tx, specs, row)
            found = tx.execute(select(specs).where(specs.c.id == spec)).one()
            record = to_spec(found)
            if not made and found.deleted:
                raise AlreadyExists(
                    f"{spec_name(spec)} was deleted; models may still mean that spec by this name, so choose another one",
                    name=spec_name(spec),
                )
            if not made:
                present = (record.description, record.lookups, record.tags, record.functions)
                if present == (description, whole, dict(tags or {}), uses):
                    return record
                raise AlreadyExists(f"{spec_name(spec)} exists and is another spec", name=spec_name(spec))
            tx.execute(insert(spec_tables), [{"spec": spec, "table_uid": record.uid} for record in tables.values()])
            grants.own(tx, spec_name(spec))
            return record

    def spec(self, spec: str) -> SpecRecord:
        with self._database.read() as tx:
            row = tx.execute(select(specs).where(specs.c.id == spec, ~specs.c.deleted)).first()
        if row is None:
            raise NotFound.of(spec_name(spec))
        return to_spec(row)

    def specs(self, search: Search, after: Key | None, limit: int) -> list[SpecRecord]:
        query = specs_query(search, after, self._database.is_sqlite).where(
            ~specs.c.deleted, self._may_read(literal("specs/") + specs.c.id)
        )
        with self._database.read() as tx:
            return [to_spec(row) for row in tx.execute(query.limit(limit))]

    def delete_spec(self, spec: str) -> None:
        name = spec_name(spec)
        with self._database.write() as tx:
            if (
                tx.execute(select(specs.c.id).where(specs.c.id == spec, ~specs.c.deleted).with_for_update()).first()
                is None
            ):
                raise NotFound.of(name)
            user = tx.execute(select(training_sets.c.id).where(training_sets.c.spec == spec).limit(1)).scalar()
            if user is None:
                user = tx.execute(select(consumers.c.consumer).where(consumers.c.source == name).limit(1)).scalar()
            if user is not None:  # Not named: it may be one that the caller must not know of.
                raise SpecInUse(f"{name} is in use: a training set or a recorded consumer refers to it", name=name)
            tx.execute(delete(spec_tables).where(spec_tables.c.spec == spec))
            tx.execute(update(specs).where(specs.c.id == spec).values(deleted=True))
            grants.forget(tx, name)
