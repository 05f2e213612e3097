"""A service's database: SQLite in its own data folder, or PostgreSQL shared by replicas, through SQLAlchemy Core.

`read()` gives a snapshot, `write()` a write transaction, `run(work)` runs a function in one; inside a transaction all
three join it. On SQLite `run` goes to one writer thread that commits what has queued together (`groupcommit.py`); on
PostgreSQL it runs on the caller's thread and repeats what lost a race. What the disk or the server does wrong leaves
as a typed error.
"""

from __future__ import annotations

import importlib.util
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from fivefold_runtime import calls, faults, migration
from fivefold_runtime.clock import Clock, SystemClock
from fivefold_runtime.groupcommit import Writer
from fivefold_runtime.settings import StartError
from fivefold_runtime.transaction import Transaction, inside, running

T = TypeVar("T")

_ATTEMPTS = 6  # runs of one PostgreSQL transaction that keeps losing races
_POOL, _OVERFLOW = 8, 24  # connections kept open, and more of them under load
_BUSY_SECONDS = 10.0  # longest wait for a connection, a row lock, or another write


def sqlite_in(folder: str | Path, name: str = "store.db") -> str:
    """Returns the URL of a SQLite file in a data folder."""
    return f"sqlite:///{Path(folder).absolute() / name}"


class Database:
    """One database, for the life of the server. Safe for use by many threads."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        """Takes an engine of `engine_for`. Use `open`, which also brings the schema up to date."""
        self.clock = clock or SystemClock()
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.engine = engine
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**snapshot)
        self._writing = engine.execution_options(fivefold_writes=True)
        self._one_writer = threading.Lock()
        self._kept: Connection | None = None  # SQLite's, for the next who writes: the pool costs more than a statement
        self._writer = Writer(self, self._exclusive) if self.is_sqlite else None

    @classmethod
    def open(
        cls, url: str, *, migrations: str, clock: Clock | None = None, statement_seconds: float = 30.0
    ) -> Database:
        """Opens the database and brings it to the schema of this version.

        url                sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME (psycopg 3)
        migrations         the package whose modules are Alembic revisions, as "fivefold_tracking.store.migrations"
        statement_seconds  what one PostgreSQL statement may take

        Raises StartError: no such driver, no connection, a newer schema, disk full.
        """
        engine = engine_for(url, statement_seconds)
        shown = engine.url.set(query={}).render_as_string(hide_password=True)  # a query may hold a password, too
        try:
            with faults.mapped():
                migration.upgrade(engine, migrations)
        except faults.StorageFull:
            raise StartError(f"the disk or quota under {shown} is full. Free some space, then start again.") from None
        except faults.StoreUnavailable:
            raise StartError(
                f"cannot use the database {shown}. Check that it is there, runs, and lets this server write."
            ) from None
        return cls(engine, clock)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Gives a connection that sees one snapshot; within a write transaction, that transaction.

        Do not keep it open while a stream waits for its client: it holds a pooled connection.
        """
        joined = running(self)
        if joined is not None:
            yield joined.connection
            return
        with faults.mapped(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Gives a connection in a write transaction that commits at the end of the block, and rolls back if it raises.

        Joins the transaction of `run` or `@mutation` when there is one. By itself it holds SQLite's only write lock, so
        keep the block short; a hot path uses `run`, which shares commits.
        """
        joined = running(self)
        if joined is not None:
            yield joined.connection
            return
        with faults.mapped(), self._exclusive() as connection:
            transaction = Transaction(self, connection)
            with inside(transaction):
                yield connection
        transaction.committed()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one write transaction and returns its result once that is durable.

        `work` may run more than once (a lost race, a failed batch): nothing it does may have effect outside the
        transaction. What it raises undoes it, and it alone. Joins the running transaction when there is one.
        """
        joined = running(self)
        if joined is not None:
            return work(joined.connection)
        calls.check_deadline()
        if self._writer is not None:
            call = calls.current.get()
            return self._writer.submit(work, call.remaining() if call else None)
        return self._repeated(work)

    def before_commit(self, step: Callable[[Connection], None]) -> None:
        """Runs `step` at the end of the running transaction. Raises RuntimeError outside of one."""
        self._joined().before_commit.append(step)

    def after_commit(self, step: Callable[[], None]) -> None:
        """Runs `step`, which must not raise, once the running transaction is durable. RuntimeError outside of one."""
        self._joined().after_commit.append(step)

    def close(self) -> None:
        """Ends the writer thread after what is queued, and closes all connections."""
        if self._writer is not None:
            self._writer.close()
        with self._one_writer:
            if self._kept is not None:
                self._kept.close()
                self._kept = None
        self.engine.dispose()

    def _joined(self) -> Transaction:
        joined = running(self)
        if joined is None:
            raise RuntimeError("not within a write transaction of this database")
        return joined

    def _repeated(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, _ATTEMPTS):
            try:
                with self.write() as connection:
                    return work(connection)
            except faults.LostRace:
                time.sleep(random.uniform(0.5, 1.5) * 0.004 * 2**attempt)
                calls.check_deadline()
        with self.write() as connection:
            return work(connection)

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        """A connection in a transaction. SQLite has one writer: those of this process take turns by a lock."""
        if not self.is_sqlite:
            with self._writing.connect() as connection, connection.begin():
                yield connection
            return
        if not self._one_writer.acquire(timeout=_BUSY_SECONDS):
            raise faults.StoreUnavailable("the store is busy; try again", retry_after=1.0)
        try:
            with faults.mapped():
                connection = self._kept or self._writing.connect()
                self._kept = None
                try:
                    with connection.begin():
                        yield connection
                except BaseException:
                    connection.close()
                    raise
                self._kept = connection
        finally:
            self._one_writer.release()


def engine_for(url: str, statement_seconds: float = 30.0) -> Engine:
    """Returns an engine with our settings; connects to nothing yet. Raises StartError for any other kind of URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: what stands for the port is no number
        raise StartError(
            "the store's URL is not one. It must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
        ) from None
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return _sqlite(parsed)
    if kind == "postgresql":
        return _postgres(parsed, statement_seconds)
    raise StartError(
        f"the store's URL begins with {kind!r}. It must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
    )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turns WAL on. While another connection does so SQLite answers "locked" at once, whatever the time-out."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.02)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite"),
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=_POOL,
        max_overflow=_OVERFLOW,
        pool_timeout=_BUSY_SECONDS,
        pool_use_lifo=True,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # We say BEGIN ourselves: the driver's own rules break savepoints and DDL.
        _use_wal(connection)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("fivefold_writes")
        driver: Any = connection.connection.dbapi_connection  # by itself: see prepared.py
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL, statement_seconds: float) -> Engine:
    if importlib.util.find_spec("psycopg") is None:
        raise StartError("PostgreSQL needs the package psycopg: pip install 'fivefold-runtime[postgres]'.")
    limits = {
        "statement_timeout": int(statement_seconds * 1000),
        "lock_timeout": int(_BUSY_SECONDS * 1000),
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
    }
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,  # What callers store has no place in the log, where an error's traceback goes.
        pool_size=_POOL,
        max_overflow=_OVERFLOW,
        pool_timeout=_BUSY_SECONDS,
        pool_pre_ping=True,  # A database that restarted costs one round trip here, not one failed call per connection.
        pool_use_lifo=True,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        },
    )
