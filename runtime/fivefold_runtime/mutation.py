"""Mutations happen once: one transaction each, and the answer to a `request_id` is kept for 24 hours with the effect.

The answer and the effect commit together, so a crash keeps both or neither. The same id from the same caller with the
same request gets the first answer; with another request it is refused. A call that fails leaves nothing, so it may be
repeated.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from sqlalchemy import Connection, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_runtime import calls
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, FailedPrecondition
from fivefold_runtime.ids import new_id
from fivefold_runtime.prepared import Prepared
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import answers

M = TypeVar("M", bound=Message)
Method = Callable[[Any, Any, Any], M]

KEPT = timedelta(hours=24)
_LEASE = timedelta(minutes=10)  # after which work that never answered counts as dead
_SWEEP_EVERY = 500  # calls between two deletions of old answers
_calls = itertools.count(1)
_owners: WeakKeyDictionary[Database, str] = WeakKeyDictionary()


# What every call with a request_id runs.
_THIS = and_(
    answers.c.subject == bindparam("of_subject"),
    answers.c.method == bindparam("of_method"),
    answers.c.request_id == bindparam("of_request_id"),
)
_CLAIM = Prepared(
    sqlite.insert(answers).on_conflict_do_nothing().returning(answers.c.made),
    ["subject", "method", "request_id", "digest", "claim", "made"],
    elsewhere=postgresql.insert(answers).on_conflict_do_nothing().returning(answers.c.made),
)
_FOUND = select(answers).where(_THIS).with_for_update()
_KEEP = Prepared(
    update(answers)
    .where(_THIS, answers.c.claim == bindparam("of_claim"))
    .values(kind=bindparam("as_kind"), body=bindparam("as_body"))
)


class RequestIdReused(FailedPrecondition):
    """The `request_id` came before, with another request."""

    reason = "REQUEST_ID_REUSED"


class RequestRunning(Aborted):
    """A call with this `request_id` is still running; ask again for its answer."""

    reason = "REQUEST_RUNNING"


def mutation(method: Method[M]) -> Method[M]:
    """Makes a servicer's unary method one write transaction of `self.database`, answered once per `request_id`.

    The method may run again from its start when it lost a race, so all its effects must go through the transaction:
    stores that use `database.write()` and `database.read()` join it. Slow work (network, files) belongs outside: use
    `once`.
    """

    @functools.wraps(method)
    def within(self: Any, request: Any, context: Any) -> M:
        database: Database = self.database
        key = _key(request, method.__name__)
        if key is None:
            return database.run(lambda _: method(self, request, context))

        def work(tx: Connection) -> M:
            answer = _claim(database, tx, key, request, claim="")
            if answer is None:
                answer = method(self, request, context)
                _answer(tx, key, answer, claim="")
            return answer

        return database.run(work)

    return within


def once(database: Database, request: Any, work: Callable[[], M]) -> M:
    """Runs `work`, which is not one transaction, once per `request.request_id`, and keeps its answer.

    Without a request_id it just runs. A second call while the first runs gets RequestRunning. When the server dies
    within `work`, nothing is known of how far it came: the same id runs it again, on SQLite once the server is back, on
    PostgreSQL after ten minutes. So its steps must bear that.
    """
    key = _key(request, type(request).__name__)
    if key is None:
        return work()
    claim = f"{_owner(database)}/{new_id()}"
    answer = database.run(lambda tx: _claim(database, tx, key, request, claim))
    if answer is not None:
        return answer
    try:
        made = work()
    except BaseException:
        with database.write() as tx:  # Not `run`, which refuses once the caller's time is up: often why we are here.
            tx.execute(delete(answers).where(_is(key), answers.c.claim == claim, answers.c.kind.is_(None)))
        raise
    with database.write() as tx:  # Nor here: what was done stays done, whether or not the caller still waits.
        _answer(tx, key, made, claim)
    return made


def answered(database: Database, request: Any) -> Message | None:
    """Returns the answer that the caller's same call with this request_id had within a day; None when there is none."""
    key = _key(request, type(request).__name__)
    if key is None:
        return None
    since = micros(database.clock.now() - KEPT)
    query = select(answers).where(
        _is(key), answers.c.digest == _digest(request), answers.c.kind.is_not(None), answers.c.made >= since
    )
    with database.read() as tx:
        found = tx.execute(query).one_or_none()
    return None if found is None else _message(found)


def _owner(database: Database) -> str:
    """Returns what marks the claims of this server, which opened the database, and of no other or earlier one."""
    return _owners.setdefault(database, new_id())


def _is_dead(database: Database, found: Any) -> bool:
    """Says whether the work on a request id died with its server. SQLite has one server: the others are gone."""
    return database.is_sqlite and found.kind is None and not found.claim.startswith(_owner(database))


def _key(request: Any, method: str) -> tuple[str, str, str] | None:
    request_id = request.request_id
    if not request_id:
        return None
    call = calls.current.get()
    return calls.caller().subject, call.method if call else method, request_id


def _claim(database: Database, tx: Connection, key: tuple[str, str, str], request: Message, claim: str) -> Any:
    """Takes the request id for this call and returns None, or returns the answer that it has.

    PostgreSQL makes a second call wait here, on the primary key, until the first has committed or failed.
    """
    now = database.clock.now()
    digest = _digest(request)
    if next(_calls) % _SWEEP_EVERY == 0:
        tx.execute(delete(answers).where(answers.c.made < micros(now - KEPT)))
    subject, method, request_id = key
    row = {
        "subject": subject,
        "method": method,
        "request_id": request_id,
        "digest": digest,
        "claim": claim,
        "made": micros(now),
    }
    found = None
    while found is None:  # On PostgreSQL the row that was in the way may be gone again before it is read.
        if _CLAIM.first(tx, row) is not None:
            return None
        found = tx.execute(_FOUND, _of(key)).one_or_none()
    if found.made < micros(now - (KEPT if found.kind else _LEASE)) or _is_dead(database, found):
        tx.execute(
            update(answers).where(_is(key)).values(digest=digest, claim=claim, made=micros(now), kind=None, body=None)
        )
        return None
    if found.digest != digest:
        raise RequestIdReused(
            f"request_id {request_id!r} came before with another request; use a new one", request_id=request_id
        )
    if found.kind is None:
        raise RequestRunning(
            f"the call with request_id {request_id!r} is still running", retry_after=1.0, request_id=request_id
        )
    return _message(found)


def _answer(tx: Connection, key: tuple[str, str, str], answer: Message, claim: str) -> None:
    """Keeps the answer, unless another call has taken the request id over meanwhile."""
    kept = {"of_claim": claim, "as_kind": answer.DESCRIPTOR.full_name, "as_body": answer.SerializeToString()}
    _KEEP.run(tx, _of(key) | kept)


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _message(found: Any) -> Message:
    """Returns the answer that a row holds."""
    kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(found.kind))
    return kind.FromString(found.body)


def _of(key: tuple[str, str, str]) -> dict[str, Any]:
    """Returns the values of _THIS."""
    subject, method, request_id = key
    return {"of_subject": subject, "of_method": method, "of_request_id": request_id}


def _is(key: tuple[str, str, str]) -> Any:
    subject, method, request_id = key
    return and_(answers.c.subject == subject, answers.c.method == method, answers.c.request_id == request_id)
