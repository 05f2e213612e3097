"""Experiments, runs, what runs log, and their artifacts.

with client.tracking.run("late flights", name="baseline") as run:
    run.log(params={"depth": 6}, metrics={"auc": 0.81})
    run.upload("model", "model")

client.tracking.search("late flights", filter="metrics.auc > 0.8", order_by="metrics.auc desc").to_pandas()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.sdk.errors import FailedPrecondition, InvalidArgument
from fivefold.sdk.extras import need
from fivefold.sdk.names import full
from fivefold.sdk.records import Listing
from fivefold.sdk.tracking import provenance
from fivefold.sdk.tracking.activerun import FLUSH_SECONDS, ActiveRun, current
from fivefold.sdk.tracking.artifacts import Artifact, Artifacts, Progress
from fivefold.sdk.tracking.curves import Curve, Curves, Histories, MetricPoint
from fivefold.sdk.tracking.delivery import CAPACITY
from fivefold.sdk.tracking.experiments import Experiment, Experiments
from fivefold.sdk.tracking.loggedmodels import LoggedModel, LoggedModels
from fivefold.sdk.tracking.runcalls import RunCalls
from fivefold.sdk.tracking.runs import DatasetInput, ModelOutput, Run, Source, view_number
from fivefold.sdk.tracking.runsearch import Comparison, ComparisonRow, RunSearch
from fivefold.sdk.transport import Transport
from fivefold.tracking.v1 import tracking_pb2 as pb

if TYPE_CHECKING:
    from fivefold.sdk.tracking.autolog import Autolog

__all__ = [
    "ActiveRun",
    "Artifact",
    "Artifacts",
    "Comparison",
    "ComparisonRow",
    "Curve",
    "Curves",
    "DatasetInput",
    "Experiment",
    "Experiments",
    "LoggedModel",
    "LoggedModels",
    "MetricPoint",
    "ModelOutput",
    "Run",
    "RunSearch",
    "Source",
    "Tracking",
]


class Tracking(RunCalls):
    """The tracking service. Experiments and runs are named short ("3") or long ("experiments/3").

    experiments  to make, find, rename, delete, restore and purge them
    artifacts    files of runs and logged models
    models       logged models
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self.artifacts = Artifacts(transport)
        self.models = LoggedModels(transport)
        self._histories = Histories(transport)

    def run(
        self,
        experiment: str,
        *,
        name: str = "",
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        parent: str = "",
        nested: bool = False,
        system_metrics: bool | float = False,
        buffer: int = CAPACITY,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> ActiveRun:
        """Starts a run. In a `with` block it ends FINISHED, FAILED by an exception or KILLED by Ctrl-C; else by `end()`.

        experiment      display name, made if it is not there; or "experiments/3"
        parent          the run that this one is nested in; `nested`: the one whose block this is
        system_metrics  True: CPU, memory, disk and network every 10 s; a number: every so many seconds
        buffer          points that wait while the service is slow or away; then the oldest of the metrics with most
                        points give way
        flush_seconds   how long the end waits for points to arrive

        The source file, its commit and repository are recorded, and the user where the client has no token.
        Raises MissingExtra when `system_metrics` has no psutil; FivefoldError as CreateRun does.
        """
        if system_metrics:
            need("psutil", "system_metrics")
        outer = current()
        if nested and not parent:
            if outer is None:
                raise InvalidArgument("nested is set outside of the block of another run", reason="FIELD_INVALID")
            parent = outer.name
        home = experiment if experiment.startswith("experiments/") else self.experiments.create(experiment).name
        made = self.create_run(
            home,
            name=name,
            parent_run=parent,
            params=params,
            tags=tags,
            source=provenance.source(),
            user="" if self.transport.has_token else provenance.user(),
        )
        return ActiveRun(self, made, system_metrics=system_metrics, capacity=buffer, flush_seconds=flush_seconds)

    def autolog(self, run: ActiveRun | None = None, **options: Any) -> Autolog:
        """Logs what scikit-learn, XGBoost and LightGBM train within the block, to `run` or the run whose block this is.

        The first model goes to the run itself, each further one to a run nested in it. See fivefold.sdk.tracking.autolog.
        Raises FailedPrecondition where there is no run.
        """
        from fivefold.sdk.tracking.autolog import Autolog

        run = run or current()
        if run is None:
            raise FailedPrecondition("autolog() needs a run", hint="with client.tracking.run('experiment') as run: …")
        return Autolog(run, **options)

    def search(
        self,
        experiments: str | Sequence[str],
        filter: str = "",
        *,
        order_by: str = "",
        parent_run: str = "",
        view: str = "active",
        limit: int | None = None,
    ) -> RunSearch:
        """Finds runs: a sequence of them that also becomes a frame or a file.

        experiments  one or several: numbers, names or display names
        filter       MLflow's language with OR, NOT and parentheses:
                     "metrics.auc > 0.8 AND (params.depth >= 4 OR NOT tags.team = 'a')"
        order_by     attributes, "metrics.KEY", "params.KEY", "tags.KEY", each with " asc" or " desc", separated by
                     commas; "": the latest start first
        view         "active", "deleted" or "all"

        Raises InvalidArgument (FILTER_INVALID), whose message shows the place; NotFound for a display name that is not
        there.
        """
        return RunSearch(self.transport, self._search(experiments, filter, order_by, parent_run, view), limit)

    def search_runs(
        self,
        experiment: str | Sequence[str],
        *,
        filter: str = "",
        order_by: str = "",
        parent_run: str = "",
        limit: int | None = None,
        view: str = "active",
    ) -> Listing[Run]:
        """Returns what `search` finds as a list, all of it at once; with a limit sooner, since nothing is counted."""
        request = self._search(experiment, filter, order_by, parent_run, view)
        request.skip_total_size = True
        return RunSearch(self.transport, request, limit).all()

    def _search(
        self, experiments: str | Sequence[str], filter: str, order_by: str, parent_run: str, view: str
    ) -> pb.SearchRunsRequest:
        named = [experiments] if isinstance(experiments, str) else experiments
        return pb.SearchRunsRequest(
            experiments=[self.experiments.name_of(one) for one in named],
            filter=filter,
            order_by=order_by,
            parent_run=full("runs", parent_run) if parent_run else "",
            view=view_number(view),
        )

    def compare(self, runs: Sequence[str], *, show_equal: bool = False) -> Comparison:
        """Puts runs side by side: what differs; with `show_equal`, what does not as well. Raises NotFound."""
        named = [full("runs", run) for run in runs]
        request = pb.CompareRunsRequest(runs=named, show_equal=show_equal)
        return Comparison.made(named, self.transport.call(self._stub.CompareRuns, request))

    def history(self, run: str, key: str, *, min_step: int | None = None, max_step: int | None = None) -> Curve:
        """Returns every point of one metric, ordered by step, time and order of logging."""
        return self._histories.whole(run, key, min_step, max_step)

    def metric_history(self, run: str, key: str) -> Listing[MetricPoint]:
        """Lists what `history` returns, point by point."""
        return Listing(self.history(run, key).points())

    def curves(
        self,
        runs: Sequence[str],
        keys: Sequence[str],
        *,
        points: int = 500,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Curves:
        """Returns histories of several runs and metrics with at most so many points each, as a plot needs them: of each
        bucket of steps the first, last, least and greatest. A run that has no such metric has no curve.
        """
        return self._histories.sampled(runs, keys, points, min_step, max_step)

    def watch(
        self, run: str, keys: Sequence[str] = (), *, only_new: bool = False, forever: bool = False
    ) -> Iterator[MetricPoint]:
        """Yields the points of a run as they are logged, until it ends; survives restarts of the service.

        keys      only these metrics; empty: all
        only_new  leaves out what was logged before
        forever   goes on when the run has ended
        """
        return self._histories.watched(run, keys, only_new, forever)

    # Shorthands of `experiments` and `artifacts`.

    def create_experiment(
        self, display_name: str, *, tags: Mapping[str, str] | None = None, allow_existing: bool = True
    ) -> Experiment:
        """Returns a new experiment, or the active one of that display name where `allow_existing`."""
        return self.experiments.create(display_name, tags=tags, allow_existing=allow_existing)

    def get_experiment(self, name: str) -> Experiment:
        """Returns one experiment. Raises NotFound."""
        return self.experiments.get(name)

    def find_experiment(self, text: str) -> Experiment:
        """Returns one experiment by name ("experiments/3"), number ("3") or else display name. Raises NotFound."""
        return self.experiments.find(text)

    def list_experiments(self, *, limit: int | None = None, view: str = "active") -> Listing[Experiment]:
        """Lists experiments, newest first."""
        return self.experiments.search(limit=limit, view=view)

    def list_artifacts(self, run: str, path: str = "", *, recursive: bool = False) -> Listing[Artifact]:
        """Lists the files and folders below a folder of a run's artifacts; `recursive`: all files below it."""
        return self.artifacts.list(run, path, recursive=recursive)

    def upload(
        self, run: str, local: str | os.PathLike[str], path: str = "", *, progress: Progress | None = None
    ) -> Listing[Artifact]:
        """Stores a file, or all files below a folder, among a run's artifacts, as Artifacts.put does."""
        return self.artifacts.put(run, local, path, progress=progress)

    def download(self, run: str, path: str, local: str | os.PathLike[str], *, progress: Progress | None = None) -> Path:
        """Fetches a file to the path `local`, or all files of a folder below it, as Artifacts.get does."""
        return self.artifacts.get(run, path, local, progress=progress)
