"""INSERT … ON CONFLICT, which both databases spell alike but SQLAlchemy keeps with each dialect."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_runtime.masks import Entries
from fivefold_runtime.validation import TooManyItems

_MOST = 1000  # params, and tags, of one owner, by the contract


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


def change_tags(tx: Connection, table: Table, owner: Mapping[str, object], some: Entries, field: str) -> None:
    """Sets some tags of one owner and removes those that are None.

    owner  the columns that every tag of it has, and their values; of the primary key all but `key`
    Raises TooManyItems, which names `field`, when it would have more than 1000.
    """
    if not some:
        return
    put_tags(tx, table, owner, {key: value for key, value in some.items() if value is not None})
    mine = and_(*(table.c[name] == value for name, value in owner.items()))
    gone = [key for key, value in some.items() if value is None]
    if gone:
        tx.execute(delete(table).where(mine, table.c.key.in_(gone)))
    if len(gone) < len(some):
        check_count(tx.execute(select(func.count()).select_from(table).where(mine)).scalar_one(), field)


def check_count(count: int, field: str) -> None:
    """Raises TooManyItems, which names `field`, when one owner would have more than 1000 params or tags."""
    if count > _MOST:
        why = f"would have {count} items; at most {_MOST} are allowed"
        raise TooManyItems.at(field, why, limit=_MOST, count=count)
