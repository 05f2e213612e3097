"""How old a table is, and whether that is too old. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from fivefold_features.store import TableRecord
from fivefold_runtime.clock import micros


def staleness(table: TableRecord, now: datetime) -> timedelta | None:
    """Returns the age of the newest row by its event, without time stamps that of the newest write; never below zero.

    None before the first write. Rows from before events were noted count by their write.
    """
    newest = table.newest_event if table.newest_event is not None else table.written
    return None if newest is None else max(timedelta(0), timedelta(microseconds=micros(now) - newest))


def is_stale(table: TableRecord, age: timedelta | None) -> bool:
    """Says whether a table is older than it declares to become."""
    return table.freshness is not None and age is not None and age > table.freshness
