"""The life of experiments and runs: statuses, end times, and what a deleted one refuses.

A run counts as deleted when it, or its experiment, is. So deleting an experiment takes its runs along, and restoring it
brings back those that were not deleted by themselves, without touching one of them.
"""

from __future__ import annotations

from enum import StrEnum

from fivefold_runtime.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class View(StrEnum):
    """Which of the active and the deleted."""

    ACTIVE = "ACTIVE"
    DELETED = "DELETED"
    ALL = "ALL"


PURGED = -1  # as the time of a deletion: gone for everyone; its rows are still being removed
ENDED = frozenset({RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED})


class RunDeleted(FailedPrecondition):
    """The run, or its experiment, is deleted."""

    reason = "RUN_DELETED"


class RunEnded(FailedPrecondition):
    """The run has ended, and takes no metrics unless the call says so."""

    reason = "RUN_ENDED"


class ExperimentDeleted(FailedPrecondition):
    """The experiment is deleted."""

    reason = "EXPERIMENT_DELETED"


class NotDeleted(FailedPrecondition):
    """Only what is deleted can be purged."""

    reason = "NOT_DELETED"


class DisplayNameTaken(AlreadyExists):
    """Another active experiment has the display name."""

    @classmethod
    def of(cls, display_name: str) -> DisplayNameTaken:
        return cls(f"an experiment with the display name {display_name[:80]!r} exists", display_name=display_name)


class EtagMismatch(Aborted):
    """Someone wrote since the etag was read."""


def is_purged(deleted: int | None) -> bool:
    """Says whether what has this time of deletion is there for nobody any more."""
    return deleted is not None and deleted < 0


def end_time(status: RunStatus, current: int | None, given: int | None, now: int) -> int | None:
    """Returns the end time of a run that gets a status: none while it is at work.

    current  what it had, kept where it ended before
    given    what the caller says, wins
    now      taken where it ends without either

    Raises InvalidArgument when an end time is given to a run at work.
    """
    if status in ENDED:
        return given if given is not None else current if current is not None else now
    if given is not None:
        raise InvalidArgument.at("run.end_time", f"is given, but a run that is {status} has not ended", status=status)
    return None


def check_etag(name: str, etag: str, current: str) -> None:
    """Raises EtagMismatch when an etag is given and is not the current one."""
    if etag and etag != current:
        raise EtagMismatch(f"{name} changed since etag {etag!r} was read; it has {current!r} now", name=name, etag=etag)


def check_run_active(name: str, deleted: int | None) -> None:
    """Raises RunDeleted."""
    if deleted is not None:
        raise RunDeleted(f"{name} is deleted", name=name)


def check_run_open(name: str, status: RunStatus) -> None:
    """Raises RunEnded."""
    if status in ENDED:
        raise RunEnded(f"{name} is {status}; a run that has ended takes no metrics", name=name, status=status)


def check_experiment_active(name: str, deleted: int | None) -> None:
    """Raises ExperimentDeleted."""
    if deleted is not None:
        raise ExperimentDeleted(f"{name} is deleted", name=name)


def check_deleted(name: str, deleted: int | None) -> None:
    """Raises NotDeleted."""
    if deleted is None:
        raise NotDeleted(f"{name} is active; delete it first", name=name)
