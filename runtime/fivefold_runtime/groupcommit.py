"""Group commit: one thread writes for all callers, and one commit makes all that had queued durable.

Each piece of work runs in a savepoint of its own, in its caller's context, so that a bad one fails alone. A caller
learns its result only after the commit. When the transaction itself is lost (disk full, failed commit), each piece
runs again alone.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection

from fivefold_runtime import faults
from fivefold_runtime.errors import DeadlineExceeded
from fivefold_runtime.transaction import Transaction, inside

T = TypeVar("T")
Work = Callable[[Connection], T]

_MOST = 256  # pieces of work in one commit


class _TransactionLost(Exception):
    """The database undid the whole transaction, not just one savepoint."""


class _Job:
    """One piece of work, and how it ended."""

    def __init__(self, work: Work[Any], owner: object, deadline: float | None) -> None:
        self.future: Future[Any] = Future()
        self._work = work
        self._owner = owner
        self._deadline = deadline
        self._context = contextvars.copy_context()
        self._error: BaseException | None = None
        self._result: Any = None
        self._transaction: Transaction | None = None

    def run_alone(self, connection: Connection) -> None:
        """Runs the work as all of a transaction. Raises what undoes it."""
        self._error = self._result = self._transaction = None
        if self._late:
            raise _too_late()
        self._context.run(self._inside, Transaction(self._owner, connection))

    def run(self, connection: Connection) -> None:
        """Runs the work in a savepoint and remembers how it ended. Raises _TransactionLost."""
        self._error = self._result = self._transaction = None
        if self._late:
            self._error = _too_late()
            return
        driver: Any = connection.connection.dbapi_connection  # by itself: see prepared.py
        driver.execute("SAVEPOINT fivefold_job")
        try:
            self._context.run(self._inside, Transaction(self._owner, connection))
            driver.execute("RELEASE fivefold_job")
        except BaseException as error:
            self._error, self._transaction = error, None
            if not driver.in_transaction:
                raise _TransactionLost from error
            driver.execute("ROLLBACK TO fivefold_job")
            driver.execute("RELEASE fivefold_job")

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _inside(self, transaction: Transaction) -> None:
        with faults.mapped(), inside(transaction):
            self._result = self._work(transaction.connection)
        self._transaction = transaction

    def settle(self, failure: BaseException | None = None) -> None:
        """Tells the caller. `failure` is why nothing was committed."""
        error = self._error or failure
        if error is not None:
            self.future.set_exception(error)
            return
        if self._transaction is not None:
            self._transaction.committed()
        self.future.set_result(self._result)


class Writer:
    """The one thread that writes.

    begin  gives a connection in a transaction that commits when the block ends
    """

    def __init__(self, owner: object, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._owner = owner
        self._begin = begin
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T], seconds: float | None = None) -> T:
        """Runs `work` on the writer thread and returns its result after the commit.

        seconds  until the caller's deadline: work that has not begun by then never runs. None or infinite: no deadline.
        Raises what `work` raised, DeadlineExceeded, StorageFull, StoreUnavailable.
        """
        limit = None if seconds is None or seconds == float("inf") else seconds
        job = _Job(work, self._owner, None if limit is None else time.monotonic() + limit)
        with self._closing:
            if self._closed:
                raise faults.StoreUnavailable("the store is closed: the server is stopping")
            self._queue.put(job)
        try:
            return job.future.result(limit)
        except FutureTimeout:
            if job.future.done() and not job.future.cancelled():
                return job.future.result()  # ended in the same moment, or itself raised TimeoutError
            if job.future.cancel():
                raise _too_late() from None
            return job.future.result()  # It has begun: the answer must say how it ended.
        except CancelledError:
            raise _too_late() from None

    def close(self) -> None:
        """Ends the thread after what is queued."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        going = True
        while going:
            first = self._queue.get()
            batch = [first]
            while first is not None and len(batch) < _MOST:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going = None not in batch
            self._write([job for job in batch if job is not None and job.future.set_running_or_notify_cancel()])

    def _write(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            with self._begin() as connection:
                if len(jobs) == 1:
                    jobs[0].run_alone(connection)  # without the cost of a savepoint
                else:
                    for job in jobs:
                        job.run(connection)
        except BaseException as failure:
            if len(jobs) > 1:
                for job in jobs:
                    self._write([job])
            else:
                jobs[0].settle(failure)
            return
        for job in jobs:
            job.settle()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the change was begun; nothing was written")
