"""The write transaction that the running code is in, carried by a context variable so that stores join it unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sqlalchemy import Connection


@dataclass(slots=True)
class Transaction:
    """One write transaction (on SQLite: one savepoint of a group commit) and what is to happen around its commit.

    before_commit  steps that write once more at the end; their errors undo the transaction
    after_commit   steps that may only run when it is durable; they must not raise
    """

    owner: object
    connection: Connection
    before_commit: list[Callable[[Connection], None]] = field(default_factory=list)
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    def finish(self) -> None:
        """Runs the steps that belong to the end of the transaction, in order."""
        for step in self.before_commit:
            step(self.connection)

    def committed(self) -> None:
        """Runs the steps that waited for the commit, in order."""
        for step in self.after_commit:
            step()


_running: ContextVar[Transaction | None] = ContextVar("fivefold_transaction", default=None)


def running(owner: object) -> Transaction | None:
    """Returns the transaction of this database that the code is in, None outside of one."""
    transaction = _running.get()
    return transaction if transaction is not None and transaction.owner is owner else None


@contextmanager
def inside(transaction: Transaction) -> Iterator[None]:
    """Makes `transaction` the running one for the block, and finishes it at the block's regular end."""
    token = _running.set(transaction)
    try:
        yield
        transaction.finish()
    finally:
        _running.reset(token)
