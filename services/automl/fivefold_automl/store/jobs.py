"""The store of jobs and trials: the promises (`JobStore`) and how SQL keeps them (`SqlJobStore`).

Every method is one transaction, or joins the caller's. A change to a job or a trial raises the job's revision and wakes
those who wait for it, after the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, true, update

from fivefold_automl.errors import JobEnded
from fivefold_automl.metrics import rank
from fivefold_automl.names import TrialName, job_name
from fivefold_automl.store.records import JobRecord, JobState, Result, TrialRecord, TrialState
from fivefold_automl.store.rows import job_of, job_row, trial_of, trial_row
from fivefold_automl.store.tables import NO_RANK, jobs, trials
from fivefold_runtime import grants
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import NotFound
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

_ENDED = [state for state in JobState if state.ended]
_HAS_ENDED = jobs.c.state.in_(_ENDED)


class JobStore(Protocol):
    """What a store of jobs promises. Every method that names a job raises NotFound when there is none."""

    def add(self, job: JobRecord) -> JobRecord:
        """Records a new job; its creator manages it."""
        ...

    def get(self, job: str) -> JobRecord: ...

    def page(self, after: str | None, limit: int, authorizer: Authorizer) -> list[JobRecord]:
        """Returns jobs older than `after` that the caller may read, newest first."""
        ...

    def unended(self) -> list[str]:
        """Returns the ids of jobs that are PENDING or RUNNING, oldest first."""
        ...

    def update(self, job: str, **changes: Any) -> JobRecord:
        """Sets fields of a job that has not ended; one that has stays as it is."""
        ...

    def end(self, job: str, state: JobState, now: datetime, *, error: str = "", reason: str = "") -> JobRecord:
        """Ends a job, once: later ends change nothing.

        One that was asked to stop ends as CANCELLED whatever `state` says, as its canceller was told.
        """
        ...

    def cancel(self, job: str, now: datetime) -> JobRecord:
        """Asks a job to stop; one that is PENDING ends at once. Raises JobEnded."""
        ...

    def start_trial(self, trial: TrialRecord) -> None:
        """Journals that a trial runs."""
        ...

    def end_trial(self, name: TrialName, result: Result, now: datetime, spent_seconds: float) -> JobRecord:
        """Journals how a trial ended, and whether it leads. A trial ends once: later calls change nothing."""
        ...

    def stop_running(self, job: str, error: str, now: datetime) -> None:
        """Marks trials that are still RUNNING as STOPPED."""
        ...

    def logged(self, name: TrialName, run: str, *, complete: bool) -> None:
        """Records the run of a trial, and whether all of it is in tracking."""
        ...

    def unlogged(self, limit: int) -> list[TrialRecord]:
        """Returns trials that have ended but are not wholly in tracking, oldest first."""
        ...

    def unclosed(self, limit: int) -> list[JobRecord]:
        """Returns jobs that have ended, whose trials are all logged, but whose own end is not in tracking."""
        ...

    def close(self, job: str) -> None:
        """Records that the end of a job is in tracking."""
        ...

    def trial(self, name: TrialName) -> TrialRecord: ...

    def trials(self, job: str) -> list[TrialRecord]:
        """Returns all trials of a job by number."""
        ...

    def ranked(self, job: str, after: tuple[float, int] | None, limit: int) -> list[tuple[TrialRecord, float]]:
        """Returns trials, best first, after a (rank, number); those without a score last. Each comes with its rank."""
        ...

    def changes(self, job: str, after: int) -> tuple[JobRecord, list[TrialRecord]]:
        """Returns, of one moment, the job and the trials that changed after a revision."""
        ...

    def wait(self, job: str, after: int, timeout: float) -> None:
        """Waits until the job may have changed after a revision, at most `timeout` seconds."""
        ...


class SqlJobStore:
    """JobStore on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news = threading.Condition()
        self._revisions: dict[str, int] = {}  # newest known here, of jobs that are not closed

    def add(self, job: JobRecord) -> JobRecord:
        with self._database.write() as tx:
            tx.execute(insert(jobs).values(job_row(job)))
            grants.own(tx, job_name(job.id), job.creator)
        return job

    def get(self, job: str) -> JobRecord:
        with self._database.read() as tx:
            return self._job(tx, job)

    def page(self, after: str | None, limit: int, authorizer: Authorizer) -> list[JobRecord]:
        query = select(jobs).where(authorizer.may_read("jobs/" + jobs.c.id)).order_by(jobs.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(jobs.c.id < after)
        with self._database.read() as tx:
            rows = tx.execute(query).all()
            counts = _counts(tx, [row.id for row in rows])
        return [job_of(row, counts.get(row.id, {})) for row in rows]

    def unended(self) -> list[str]:
        query = select(jobs.c.id).where(jobs.c.state.in_([JobState.PENDING, JobState.RUNNING])).order_by(jobs.c.id)
        with self._database.read() as tx:
            return [str(id) for id in tx.execute(query).scalars()]

    def update(self, job: str, **changes: Any) -> JobRecord:
        def work(tx: Connection) -> JobRecord:
            found = self._locked(tx, job)
            if found.state.ended:
                return found
            self._touch(tx, job, **_stored(changes))
            return self._job(tx, job)

        return self._database.run(work)

    def end(self, job: str, state: JobState, now: datetime, *, error: str = "", reason: str = "") -> JobRecord:
        def work(tx: Connection) -> JobRecord:
            ends = {"state": state, "ended": micros(now)}
            if not self._touch_if(tx, job, ~_HAS_ENDED & ~jobs.c.cancelled, **ends, error=error, error_reason=reason):
                self._touch_if(tx, job, ~_HAS_ENDED, **{**ends, "state": JobState.CANCELLED})
            return self._job(tx, job)

        return self._database.run(work)

    def cancel(self, job: str, now: datetime) -> JobRecord:
        def work(tx: Connection) -> JobRecord:
            found = self._locked(tx, job)
            if found.state.ended:
                raise JobEnded(f"{job_name(job)} has ended as {found.state}", name=job_name(job), state=found.state)
            ends = {"state": JobState.CANCELLED, "ended": micros(now)} if found.state is JobState.PENDING else {}
            self._touch(tx, job, cancelled=True, **ends)
            return self._job(tx, job)

        return self._database.run(work)

    def start_trial(self, trial: TrialRecord) -> None:
        def work(tx: Connection) -> None:
            revision = self._touch(tx, trial.job)
            tx.execute(insert(trials).values({**trial_row(trial), "rank": NO_RANK, "revision": revision}))

        self._database.run(work)

    def end_trial(self, name: TrialName, result: Result, now: datetime, spent_seconds: float) -> JobRecord:
        def work(tx: Connection) -> JobRecord:
            job = self._locked(tx, name.job)
            standing = NO_RANK if result.score is None else rank(job.metric, result.score)
            revision = job.revision + 1
            ended = tx.execute(
                update(trials)
                .where(_is(name), trials.c.state == TrialState.RUNNING)
                .values(
                    state=result.state,
                    metrics=dict(result.metrics),
                    score=result.score,
                    rank=standing,
                    error=result.error,
                    packed=result.packed,
                    ended=micros(now),
                    revision=revision,
                )
            ).rowcount
            if not ended:
                return job
            best: dict[str, Any] = {}
            if result.score is not None and (not job.best_trial or standing < rank(job.metric, job.best_score)):
                best = {"best_trial": name.number, "best_score": result.score}
            self._touch(tx, name.job, spent_seconds=spent_seconds, **best)
            return self._job(tx, name.job)

        return self._database.run(work)

    def stop_running(self, job: str, error: str, now: datetime) -> None:
        def work(tx: Connection) -> None:
            revision = self._touch(tx, job)
            tx.execute(
                update(trials)
                .where(trials.c.job == job, trials.c.state == TrialState.RUNNING)
                .values(state=TrialState.STOPPED, error=error, ended=micros(now), revision=revision)
            )

        self._database.run(work)

    def logged(self, name: TrialName, run: str, *, complete: bool) -> None:
        def work(tx: Connection) -> None:
            revision = self._touch(tx, name.job)
            tx.execute(update(trials).where(_is(name)).values(run=run, logged=complete, revision=revision))

        self._database.run(work)

    def unlogged(self, limit: int) -> list[TrialRecord]:
        waiting = and_(trials.c.logged.is_(False), trials.c.state != TrialState.RUNNING)
        query = select(trials).where(waiting).order_by(trials.c.job, trials.c.number).limit(limit)
        with self._database.read() as tx:
            return [trial_of(row) for row in tx.execute(query)]

    def unclosed(self, limit: int) -> list[JobRecord]:
        pending = select(trials.c.job).where(trials.c.job == jobs.c.id, trials.c.logged.is_(False)).exists()
        query = select(jobs).where(jobs.c.closed.is_(False), _HAS_ENDED, ~pending)
        with self._database.read() as tx:
            rows = tx.execute(query.order_by(jobs.c.id).limit(limit)).all()
            counts = _counts(tx, [row.id for row in rows])
        return [job_of(row, counts.get(row.id, {})) for row in rows]

    def close(self, job: str) -> None:
        self._database.run(lambda tx: self._touch(tx, job, closed=True))

    def trial(self, name: TrialName) -> TrialRecord:
        with self._database.read() as tx:
            row = tx.execute(select(trials).where(_is(name))).one_or_none()
        if row is None:
            raise NotFound.of(str(name))
        return trial_of(row)

    def trials(self, job: str) -> list[TrialRecord]:
        with self._database.read() as tx:
            rows = tx.execute(select(trials).where(trials.c.job == job).order_by(trials.c.number)).all()
        return [trial_of(row) for row in rows]

    def ranked(self, job: str, after: tuple[float, int] | None, limit: int) -> list[tuple[TrialRecord, float]]:
        query = select(trials).where(trials.c.job == job).order_by(trials.c.rank, trials.c.number).limit(limit)
        if after is not None:
            standing, number = after
            query = query.where(
                or_(trials.c.rank > standing, and_(trials.c.rank == standing, trials.c.number > number))
            )
        with self._database.read() as tx:
            rows = tx.execute(query).all()
        return [(trial_of(row), row.rank) for row in rows]

    def changes(self, job: str, after: int) -> tuple[JobRecord, list[TrialRecord]]:
        with self._database.read() as tx:
            found = self._job(tx, job)
            if found.revision <= after:
                return found, []
            query = select(trials).where(trials.c.job == job, trials.c.revision > after).order_by(trials.c.number)
            return found, [trial_of(row) for row in tx.execute(query)]

    def wait(self, job: str, after: int, timeout: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._revisions.get(job, 0) > after, timeout)

    def _job(self, tx: Connection, job: str) -> JobRecord:
        row = tx.execute(select(jobs).where(jobs.c.id == job)).one_or_none()
        return job_of(_found(row, job), _counts(tx, [job]).get(job, {}))

    def _locked(self, tx: Connection, job: str) -> JobRecord:
        row = tx.execute(select(jobs).where(jobs.c.id == job).with_for_update()).one_or_none()
        return job_of(_found(row, job), {})

    def _touch(self, tx: Connection, job: str, **values: Any) -> int:
        """Sets fields of the job's row, raises its revision and returns it; wakes watchers after the commit."""
        revision = self._touch_if(tx, job, true(), **values)
        if revision is None:
            raise NotFound.of(job_name(job))
        return revision

    def _touch_if(self, tx: Connection, job: str, condition: ColumnElement[bool], **values: Any) -> int | None:
        """Does the same where the row meets a condition; returns None where it does not, or is not there."""
        changed = update(jobs).where(jobs.c.id == job, condition).values(**values, revision=jobs.c.revision + 1)
        row = tx.execute(changed.returning(jobs.c.revision, jobs.c.closed)).one_or_none()
        if row is None:
            return None
        self._database.after_commit(lambda: self._saw(job, row.revision, closed=row.closed))
        return int(row.revision)

    def _saw(self, job: str, revision: int, *, closed: bool) -> None:
        with self._news:
            if closed:  # Watchers left at the job's end, well before; one that is late waits for its timeout only.
                self._revisions.pop(job, None)
            else:
                self._revisions[job] = max(revision, self._revisions.get(job, 0))
            self._news.notify_all()


def _stored(changes: dict[str, Any]) -> dict[str, Any]:
    """Returns changed fields of a JobRecord as columns hold them."""
    stored = dict(changes)
    for name in ("started", "ended"):
        if stored.get(name) is not None:
            stored[name] = micros(stored[name])
    if "warnings" in stored:
        stored["warnings"] = list(stored["warnings"])
    return stored


def _is(name: TrialName) -> Any:
    return and_(trials.c.job == name.job, trials.c.number == name.number)


def _found(row: Row[Any] | None, job: str) -> Row[Any]:
    if row is None:
        raise NotFound.of(job_name(job))
    return row


def _counts(tx: Connection, ids: Sequence[str]) -> dict[str, dict[TrialState, int]]:
    counts: dict[str, dict[TrialState, int]] = {}
    query = select(trials.c.job, trials.c.state, func.count()).where(trials.c.job.in_(ids))
    for job, state, number in tx.execute(query.group_by(trials.c.job, trials.c.state)):
        counts.setdefault(job, {})[TrialState(state)] = number
    return counts
