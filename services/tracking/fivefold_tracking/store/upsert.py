"""INSERT … ON CONFLICT, which both databases spell alike but SQLAlchemy keeps with each dialect."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert(tx: Connection, table: Table) -> postgresql.Insert:
    """Returns an INSERT of the transaction's dialect."""
    # The two classes share what is used here; naming one of them keeps the callers typed.
    return (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)


def put_tags(tx: Connection, table: Table, owner: Mapping[str, object], tags: Mapping[str, str]) -> None:
    """Writes tags of one owner, over those that are there.

    table  whose primary key is the owner's columns and `key`
    owner  those columns' values
    """
    if not tags:
        return
    statement = insert(tx, table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={"value": statement.excluded.value}
    )
    # In one order everywhere, so that two writers never wait for each other in a circle.
    tx.execute(statement, [{**owner, "key": key, "value": value} for key, value in sorted(tags.items())])
