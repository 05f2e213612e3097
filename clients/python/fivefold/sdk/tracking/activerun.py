"""A run inside its `with` block: what is logged travels in the background, and never stops or slows training.

    with client.tracking.run("late flights", name="baseline", system_metrics=True) as run:
        run.log_params({"depth": 6})
        for epoch in range(100):
            run.log(metrics={"auc": …}, step=epoch)

Params, tags, datasets and files are logged at once: what is wrong with them is raised where they are logged. Metrics go
to a buffer and from there to the service. While the service is away they wait (a million points by default) and are
sent when it is back; when the buffer is full, the oldest points of the metrics with the most points give way. The
number of points that got lost is in `dropped` and `refused`, and is said once as a warning of the logger
"fivefold.tracking". Only the process that started the run logs to it and ends it. The child of a fork neither sends what
its parent has logged nor marks the run, and what it logs itself is refused with a warning, as gRPC does not survive a
fork; a process that is spawned connects for itself and starts a run with `parent=`.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time as clock
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from fivefold.sdk.errors import FivefoldError, InvalidArgument
from fivefold.sdk.times import microseconds
from fivefold.sdk.tracking.datasets import described
from fivefold.sdk.tracking.delivery import CAPACITY, Delivery
from fivefold.sdk.tracking.logbatches import batches
from fivefold.sdk.tracking.runs import Run, check_key, check_step, number
from fivefold.sdk.tracking.systemmetrics import INTERVAL_SECONDS, SystemMetrics

if TYPE_CHECKING:
    from fivefold.sdk.records import Listing
    from fivefold.sdk.tracking import Tracking
    from fivefold.sdk.tracking.artifacts import Artifact, Progress

log = logging.getLogger("fivefold.tracking")

FLUSH_SECONDS = 30.0  # how long the end of a run waits for its points to arrive

_current: ContextVar[ActiveRun | None] = ContextVar("fivefold_run", default=None)
_ACTIVE: set[ActiveRun] = set()  # kept until they end, so that the end of the program can


def current() -> ActiveRun | None:
    """Returns the run whose `with` block this is, the innermost one."""
    return _current.get()


class ActiveRun:
    """A run at work. Safe for use by many threads.

    name           Format: runs/{run}
    experiment     Format: experiments/{experiment}
    dropped        points that gave way because the buffer was full
    refused        points that the service did not take
    """

    def __init__(
        self,
        tracking: Tracking,
        run: Run,
        *,
        system_metrics: bool | float = False,
        capacity: int = CAPACITY,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.name = run.name
        self.experiment = run.experiment
        self.display_name = run.display_name
        self._tracking = tracking
        self._flush_seconds = flush_seconds
        self._delivery = Delivery(tracking.transport, run.name, capacity)
        self._pid = os.getpid()
        self._keys: set[str] = set()
        self._ending = threading.Lock()
        self._ended = False
        self._before: ActiveRun | None = None
        self._system: SystemMetrics | None = None
        if system_metrics:
            interval = INTERVAL_SECONDS if system_metrics is True else float(system_metrics)
            self._system = SystemMetrics(lambda metrics, step: self.log(metrics=metrics, step=step), interval)
            self._system.start()
        _ACTIVE.add(self)

    @property
    def dropped(self) -> int:
        return self._delivery.dropped

    @property
    def refused(self) -> int:
        return self._delivery.refused

    def log(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        time: datetime | None = None,
    ) -> None:
        """Logs values: params and tags at once, metrics in the background.

        step, time  of the metrics; None: now

        Raises InvalidArgument for a value, key, step or time that cannot be, before anything is logged;
        FailedPrecondition (PARAM_CHANGED) for a param that has another value already.
        """
        points = [(self._checked(key), number(key, value)) for key, value in (metrics or {}).items()]
        step = check_step(step)
        moment = microseconds(time, "time") if time is not None else clock.time_ns() // 1000
        if moment < 0:
            raise InvalidArgument(
                f"time is {time}, which is before 1970", reason="FIELD_INVALID", facts={"field": "time"}
            )
        for batch in batches(self.name, params=params, tags=tags):
            self._delivery.call(batch)
        if points:
            self._delivery.add(points, step, moment)

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """Logs one point, in the background."""
        self._delivery.add([(self._checked(key), number(key, value))], check_step(step), clock.time_ns() // 1000)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs points of one step, in the background."""
        self.log(metrics=metrics, step=step)

    def log_param(self, key: str, value: Any) -> None:
        """Logs a param, at once."""
        self.log(params={key: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs params, at once."""
        self.log(params=params)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags, at once."""
        self.log(tags=tags)

    def log_dataset(
        self,
        data: Any,
        *,
        context: str = "",
        name: str = "",
        source: str = "",
        source_type: str = "",
        digest: str = "",
        tags: Mapping[str, Any] | None = None,
    ) -> str:
        """Records a dataset that the run uses; returns its digest.

        data     a pandas, polars or pyarrow frame, a numpy array, a dict of columns; a training set of the features
                 service; or a text that names the dataset, with its `digest`
        context  what it is used for, such as "training"
        """
        used = described(
            data, name=name, context=context, source=source, source_type=source_type, digest=digest, tags=tags
        )
        self._tracking.log_inputs(self.name, [used])
        return used.digest

    def upload(
        self, local: str | os.PathLike[str], path: str = "", *, progress: Progress | None = None
    ) -> Listing[Artifact]:
        """Stores a file or folder among the run's artifacts, as Artifacts.put does."""
        return self._tracking.artifacts.put(self.name, local, path, progress=progress)

    log_artifact = upload
    log_artifacts = upload

    def log_model(self, model: Any, path: str = "model", *, example: Any, outputs: Any = None, **about: Any) -> str:
        """Stores a fitted scikit-learn, XGBoost or LightGBM model as a package among the run's artifacts.

        example  a few rows of what it was trained on: a pandas frame or a numpy array
        outputs  the columns that it answers, as fivefold.models.signature has them; None: as served models answer
        about    more of what fivefold.models keeps: feature_spec, training_set, classes, …

        Returns its source, which `client.registry.create_version(model, source)` takes.
        Raises PackageInvalid for a model that no safe format holds.
        """
        from fivefold.sdk.tracking.modelpackages import packaged

        with packaged(model, example, outputs, about) as folder:
            self.upload(folder, path)
        return f"{self.name}/artifacts/{path}"

    def child(self, name: str = "", **options: Any) -> ActiveRun:
        """Starts a run that is nested in this one; `options` are those of Tracking.run."""
        return self._tracking.run(self.experiment, name=name, parent=self.name, **options)

    def autolog(self, **options: Any) -> AbstractContextManager[Any]:
        """Logs what scikit-learn, XGBoost and LightGBM train within the block to this run, as Tracking.autolog does."""
        return self._tracking.autolog(self, **options)

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Waits until every point that was logged is on the service's disk, at most `timeout` seconds.

        Returns whether all are there.
        """
        return self._delivery.flush(timeout)

    def end(self, status: str = "FINISHED") -> None:
        """Sends what waits, for at most `flush_seconds`, and marks the run FINISHED, FAILED or KILLED.

        Says as a warning what could not be delivered, and raises nothing for it. Again, or in the child of a fork: does
        nothing.
        """
        if self._pid != os.getpid():
            return
        with self._ending:
            if self._ended:
                return
            self._ended = True
        _ACTIVE.discard(self)
        if self._system is not None:
            self._system.stop()
        self._delivery.flush(self._flush_seconds)
        waiting = self._delivery.waiting
        self._delivery.stop()
        if waiting or self.dropped or self.refused:
            log.warning(
                "%s: %d points could not be delivered in time, %d were dropped because the buffer was full, %d refused",
                self.name,
                waiting,
                self.dropped,
                self.refused,
            )
        try:
            self._tracking.finish(self.name, status)
        except FivefoldError as error:
            log.warning("%s could not be marked %s: %s", self.name, status, error.message)

    def __enter__(self) -> Self:
        self._before = _current.get()
        _current.set(self)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        _current.set(self._before)
        if isinstance(error, SystemExit):
            return self.end("FINISHED" if error.code in (None, 0) else "FAILED")
        return self.end("FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED")

    def __repr__(self) -> str:
        return f"ActiveRun({self.name}, {self.display_name!r}, of {self.experiment})"

    def _checked(self, key: str) -> str:
        if key not in self._keys:
            self._keys.add(check_key(key))
        return key


@atexit.register
def _end_all() -> None:
    """Ends runs that nobody ended: FAILED where an exception ends the program."""
    failed = getattr(sys, "last_value", None) is not None
    for run in list(_ACTIVE):
        run.end("FAILED" if failed else "FINISHED")
