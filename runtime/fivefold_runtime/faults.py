"""What goes wrong beneath SQL and the disk, as typed errors: full, busy, gone. Anything else stays as it was raised.

The text of a driver's error never leaves here: it holds SQL, values and addresses.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fivefold_runtime.errors import ResourceExhausted, Unavailable

log = logging.getLogger(__name__)

_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_GONE = {
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
}  # fmt: skip
# The shared-memory file of the WAL could not grow: on a full disk this is how a first reader learns of it.
_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}

_PG_RACE = {"40001", "40P01"}  # serialization failure, deadlock
_PG_FULL = {"53100", "53400"}  # disk full, configured limit exceeded
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StorageFull(ResourceExhausted):
    """The disk or the quota is full. Reads go on; writes work again when there is room."""

    reason = "STORAGE_FULL"


class StoreUnavailable(Unavailable):
    """The database or object store does not answer at the moment."""

    reason = "STORE_UNAVAILABLE"


class LostRace(StoreUnavailable):
    """A transaction that PostgreSQL gave up in favour of another; running it again may succeed."""


@contextmanager
def mapped() -> Iterator[None]:
    """Turns what the database driver or the disk raises in the block into StorageFull, StoreUnavailable or LostRace."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, PoolTimeout, ResourceClosedError, OSError) as error:
        typed = typed_of(error)
        if typed is None:
            raise
        log.warning(
            "store failed", extra={"reason": typed.reason, "error": type(error).__name__, "detail": _code(error)}
        )
        raise typed from error


def typed_of(error: BaseException) -> StorageFull | StoreUnavailable | None:
    """Returns the typed error for a driver's or the disk's, None for one that is a defect or the caller's business."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("the store is busy; try again", retry_after=1.0)
    if isinstance(error, OSError):
        return full() if error.errno in _FULL else None
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        extended = getattr(cause, "sqlite_errorcode", None)
        if extended is None:
            return None
        if extended & 0xFF in _SQLITE_FULL or extended in _SQLITE_FULL:
            return full()
        if extended & 0xFF in _SQLITE_BUSY:
            return StoreUnavailable("the store is busy; try again", retry_after=1.0)
        return (
            StoreUnavailable("the store cannot be used at the moment", retry_after=5.0)
            if extended & 0xFF in _SQLITE_GONE
            else None
        )
    return _of_postgres(error, getattr(cause, "sqlstate", None) or "")


def _of_postgres(error: BaseException, state: str) -> StorageFull | StoreUnavailable | None:
    if state in _PG_RACE:
        return LostRace("the store was busy with a conflicting change; try again", retry_after=0.1)
    if state in _PG_FULL:
        return full()
    if state in {"55P03", "57014"}:  # lock or statement timeout
        return StoreUnavailable("the store is busy; try again", retry_after=1.0)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    # 08: connection, 53: resources, 57P: stopping, 25006: read-only; none: it failed before the server could answer.
    if (
        lost
        or state[:2] in {"08", "53"}
        or state[:3] == "57P"
        or state == "25006"
        or (not state and _is_operational(error))
    ):
        return StoreUnavailable("the store does not answer at the moment", retry_after=1.0)
    return None


def _is_operational(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and type(error.orig).__name__ in {
        "OperationalError",
        "ConnectionTimeout",
        "InterfaceError",
    }


def full() -> StorageFull:
    """Returns the error of a full disk."""
    return StorageFull("the server's disk or quota is full; nothing was written", retry_after=30.0)


def _code(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(
        getattr(cause, "sqlite_errorname", None)
        or getattr(cause, "sqlstate", None)
        or getattr(cause, "errno", "")
        or ""
    )
