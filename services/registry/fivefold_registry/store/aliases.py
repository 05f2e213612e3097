"""Aliases in SQL: names of a model's owner for versions, beside the stages."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.names import AliasName, VersionName
from fivefold_registry.store.change import Change, Ledger, changing
from fivefold_registry.store.records import EventType, VersionRecord
from fivefold_registry.store.tables import aliases, models
from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database


class SqlAliases:
    """Keeps the promises of AliasStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def set(self, name: AliasName, number: int, user: str) -> VersionRecord:
        version = VersionName(name.model, number)
        with changing(self._database, self._ledger, version, user) as change:
            change.version(version)
            if _meaning(change, name) != number:
                insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
                row = {"model_id": change.row.id, "alias": name.alias, "number": number}
                change.tx.execute(
                    insert(aliases)
                    .values(row)
                    .on_conflict_do_update(
                        index_elements=[aliases.c.model_id, aliases.c.alias], set_={"number": number}
                    )
                )
                _touch(change)
                change.event(EventType.MODEL_ALIAS_SET, number, subject=name.alias)
            return change.record(number)

    def delete(self, name: AliasName, user: str) -> None:
        with changing(self._database, self._ledger, name, user) as change:
            number = _meaning(change, name)
            if number is None:
                raise NotFound.of(str(name))
            change.tx.execute(delete(aliases).where(aliases.c.model_id == change.row.id, aliases.c.alias == name.alias))
            _touch(change)
            change.event(EventType.MODEL_ALIAS_DELETED, number, subject=name.alias)

    def resolve(self, name: AliasName) -> VersionName:
        query = (
            select(aliases.c.number)
            .join(models, models.c.id == aliases.c.model_id)
            .where(models.c.name == name.model, aliases.c.alias == name.alias)
        )
        with self._database.read() as tx:
            number = tx.execute(query).scalar_one_or_none()
        if number is None:
            raise NotFound.of(str(name))
        return VersionName(name.model, number)


def of_models(tx: Connection, model_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns all aliases of models, by the models' ids."""
    found: dict[str, dict[str, int]] = {}
    if model_ids:
        query = select(aliases).where(aliases.c.model_id.in_(model_ids)).order_by(aliases.c.alias)
        for row in tx.execute(query):
            found.setdefault(row.model_id, {})[row.alias] = row.number
    return found


def _meaning(change: Change, name: AliasName) -> int | None:
    query = select(aliases.c.number).where(aliases.c.model_id == change.row.id, aliases.c.alias == name.alias)
    return change.tx.execute(query).scalar_one_or_none()


def _touch(change: Change) -> None:
    change.tx.execute(update(models).where(models.c.id == change.row.id).values(revision=models.c.revision + 1))
