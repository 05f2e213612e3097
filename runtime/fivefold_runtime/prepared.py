"""Statements of hot paths, made into SQL once.

SQLAlchemy takes 15 µs or more to run a statement that it has compiled before, SQLite's driver 1 µs. A write of a few
rows is mostly that, and all callers wait for SQLite's one writer. On PostgreSQL the round trip takes longer than either,
so there SQLAlchemy runs the statement as always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

Values = Mapping[str, Any]


class Prepared:
    """One statement without lists of values (`IN`), of columns whose values the driver takes and gives as they are."""

    def __init__(self, statement: Any, columns: Sequence[str] | None = None, *, elsewhere: Any = None) -> None:
        """
        columns    that an INSERT sets; None: it says so itself, or is no INSERT
        elsewhere  what PostgreSQL runs instead; None: the same
        """
        self._elsewhere = statement if elsewhere is None else elsewhere
        compiled = statement.compile(dialect=sqlite.dialect(), column_keys=columns)
        self._sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, tx: Connection, values: Values) -> None:
        """Runs it. `values` has every parameter."""
        self._execute(tx, values)

    def first(self, tx: Connection, values: Values) -> Any:
        """Returns the first row, a tuple in the order of the columns; None where there is none."""
        rows = self.all(tx, values)  # All of them, because a statement that is still open stops the commit.
        return rows[0] if rows else None

    def all(self, tx: Connection, values: Values) -> Sequence[Any]:
        """Returns all rows, each a tuple in the order of the columns."""
        rows: Sequence[Any] = self._execute(tx, values).fetchall()
        return rows

    def _execute(self, tx: Connection, values: Values) -> Any:
        if tx.dialect.name != "sqlite":
            return tx.execute(self._elsewhere, values)
        driver: Any = tx.connection.dbapi_connection
        fixed = self._fixed
        return driver.execute(self._sql, [values[name] if name in values else fixed[name] for name in self._names])
