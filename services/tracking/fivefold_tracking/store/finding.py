"""Finds the run that a change is about, and keeps others from changing it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from fivefold_runtime.errors import NotFound
from fivefold_runtime.prepared import Prepared
from fivefold_tracking import lifecycle
from fivefold_tracking.names import run_name
from fivefold_tracking.store.tables import experiments, runs

_ONE = (
    select(
        runs.c.id,
        runs.c.experiment,
        runs.c.status,
        runs.c.display_name,
        runs.c.ended,
        runs.c.revision,
        runs.c.deleted,
        experiments.c.deleted.label("experiment_deleted"),
    )
    .join(experiments, runs.c.experiment == experiments.c.number)
    .where(runs.c.id == bindparam("of"))
)
_FIND, _LOCK = Prepared(_ONE), Prepared(_ONE.with_for_update(of=runs, key_share=True))


@dataclass(frozen=True, slots=True)
class Found:
    """What a change needs to know of its run. Times of deletion, None while active."""

    # In the order of the columns of _ONE.
    id: str
    experiment: int
    status_text: str
    display_name: str
    ended: int | None
    revision: int
    deleted: int | None  # the run by itself
    experiment_deleted: int | None

    @property
    def status(self) -> lifecycle.RunStatus:
        return lifecycle.RunStatus(self.status_text)

    @property
    def etag(self) -> str:
        return str(self.revision)

    @property
    def name(self) -> str:
        return run_name(self.id)

    def check_active(self) -> None:
        """Raises RunDeleted."""
        lifecycle.check_run_active(self.name, self.deleted if self.deleted is not None else self.experiment_deleted)


def find(tx: Connection, run: str, *, lock: bool) -> Found:
    """Returns a run; with `lock` nobody else changes it until the commit. Raises NotFound."""
    row = (_LOCK if lock else _FIND).first(tx, {"of": run})
    found = None if row is None else Found(*row)
    if found is None or lifecycle.is_purged(found.deleted) or lifecycle.is_purged(found.experiment_deleted):
        raise NotFound.of(run_name(run))
    return found
