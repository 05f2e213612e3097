"""Experiments, runs, what runs log, and their artifacts.

with client.tracking.run("late flights", name="baseline") as run:
    run.log(params={"depth": 6}, metrics={"auc": 0.81})
    run.upload("model", "model")
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fivefold.sdk import files
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.names import full
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.times import to_timestamp
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

_MOST_METRICS = 1000  # of one LogBatch
_MOST_LABELS = 100  # params, and tags, of one LogBatch


@dataclass(frozen=True, repr=False)
class Experiment(Record):
    """A named collection of runs."""

    name: str
    display_name: str
    tags: dict[str, str]
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class MetricPoint(Record):
    """One point of a metric's history."""

    key: str
    value: float
    time: datetime | None
    step: int


@dataclass(frozen=True, repr=False)
class Source(Record):
    """Code that a run came from."""

    type: str
    name: str
    entry_point: str
    git_commit: str
    git_repo: str


@dataclass(frozen=True, repr=False)
class DatasetInput(Record):
    """A dataset that a run used."""

    dataset: str
    digest: str
    source_type: str
    source: str
    tags: dict[str, str]


@dataclass(frozen=True, repr=False)
class Run(Record):
    """One execution of training code; `metrics` has the latest value of each."""

    name: str
    experiment: str
    display_name: str
    status: str
    user: str
    start_time: datetime | None
    end_time: datetime | None
    parent_run: str
    source: Source
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    inputs: tuple[DatasetInput, ...]
    delete_time: datetime | None
    etag: str

    @classmethod
    def of(cls, message: Any, **more: Any) -> Run:
        """Makes the record from its message."""
        latest = {point.key: point.value for point in message.metrics}
        return super().of(message, metrics=latest, **more)


@dataclass(frozen=True, repr=False)
class Artifact(Record):
    """A file or folder among a run's artifacts."""

    path: str
    folder: bool
    size_bytes: int
    sha256: str


class ActiveRun:
    """A run inside its `with` block."""

    def __init__(self, tracking: Tracking, run: Run) -> None:
        self._tracking = tracking
        self.name = run.name
        self.experiment = run.experiment
        self.display_name = run.display_name

    def log(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        time: datetime | None = None,
    ) -> None:
        """Logs values, as Tracking.log does."""
        self._tracking.log(self.name, metrics=metrics, params=params, tags=tags, step=step, time=time)

    def upload(self, local: str | os.PathLike[str], path: str = "") -> list[Artifact]:
        """Stores a file or folder, as Tracking.upload does."""
        return self._tracking.upload(self.name, local, path)

    def __repr__(self) -> str:
        return f"ActiveRun({self.name}, {self.display_name!r}, of {self.experiment})"


class Tracking:
    """The tracking service. Experiments and runs are named short ("3") or long ("experiments/3")."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)

    def create_experiment(
        self, display_name: str, *, tags: Mapping[str, str] | None = None, allow_existing: bool = True
    ) -> Experiment:
        """Returns a new experiment, or the active one of that display name where `allow_existing`."""
        request = pb.CreateExperimentRequest(
            experiment=pb.Experiment(display_name=display_name, tags=tags),
            allow_existing=allow_existing,
            request_id=request_id(),
        )
        return Experiment.of(self._transport.call(self._stub.CreateExperiment, request))

    def get_experiment(self, name: str) -> Experiment:
        """Returns one experiment. Raises NotFound."""
        request = pb.GetExperimentRequest(name=full("experiments", name))
        return Experiment.of(self._transport.call(self._stub.GetExperiment, request))

    def lookup_experiment(self, display_name: str) -> Experiment:
        """Returns the active experiment of a display name. Raises NotFound."""
        request = pb.LookupExperimentRequest(display_name=display_name)
        return Experiment.of(self._transport.call(self._stub.LookupExperiment, request))

    def find_experiment(self, text: str) -> Experiment:
        """Returns one experiment by name ("experiments/3"), number ("3") or else display name. Raises NotFound."""
        if text.startswith("experiments/") or text.isdecimal():
            return self.get_experiment(text)
        return self.lookup_experiment(text)

    def list_experiments(self, *, limit: int | None = None, show_deleted: bool = False) -> Listing[Experiment]:
        """Lists experiments, newest first."""
        request = pb.ListExperimentsRequest(show_deleted=show_deleted)
        pages = self._transport.pages(self._stub.ListExperiments, request, "experiments", limit)
        return listing(Experiment, pages)

    def create_run(
        self,
        experiment: str,
        *,
        name: str = "",
        parent_run: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        start_time: datetime | None = None,
    ) -> Run:
        """Starts a run; `name` is what people call it, made up when empty."""
        run = pb.Run(
            experiment=full("experiments", experiment),
            display_name=name,
            parent_run=full("runs", parent_run) if parent_run else "",
            params=_texts(params),
            tags=_texts(tags),
            start_time=to_timestamp(start_time, "start_time"),
        )
        request = pb.CreateRunRequest(run=run, request_id=request_id())
        return Run.of(self._transport.call(self._stub.CreateRun, request))

    @contextmanager
    def run(
        self, experiment: str, *, name: str = "", parent_run: str = "", tags: Mapping[str, Any] | None = None
    ) -> Iterator[ActiveRun]:
        """Runs a block as a run: FINISHED at its end, FAILED by an exception, KILLED by Ctrl-C.

        experiment  display name; the experiment is made if it is not there
        """
        home = self.create_experiment(experiment).name
        active = ActiveRun(self, self.create_run(home, name=name, parent_run=parent_run, tags=tags))
        try:
            yield active
        except BaseException as error:
            try:
                self.finish(active.name, "FAILED" if isinstance(error, Exception) else "KILLED")
            except Exception as second:
                error.add_note(f"{active.name} could not be ended either: {second}")
            raise
        self.finish(active.name)

    def get_run(self, name: str) -> Run:
        """Returns one run. Raises NotFound."""
        return Run.of(self._transport.call(self._stub.GetRun, pb.GetRunRequest(name=full("runs", name))))

    def search_runs(
        self,
        experiment: str | Sequence[str],
        *,
        order_by: str = "",
        parent_run: str = "",
        limit: int | None = None,
        show_deleted: bool = False,
    ) -> Listing[Run]:
        """Lists runs of one or several experiments.

        order_by  "start_time", "metrics.KEY" or "params.KEY", each with " asc" or " desc"; "": the latest start first
        """
        experiments = [experiment] if isinstance(experiment, str) else list(experiment)
        request = pb.SearchRunsRequest(
            experiments=[full("experiments", name) for name in experiments],
            parent_run=full("runs", parent_run) if parent_run else "",
            order_by=order_by,
            show_deleted=show_deleted,
        )
        return listing(Run, self._transport.pages(self._stub.SearchRuns, request, "runs", limit))

    def log(
        self,
        run: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        time: datetime | None = None,
    ) -> None:
        """Logs values. Up to 1000 metrics, 100 params and 100 tags are one atomic write; more take several.

        step, time  of the metrics; None: now

        Raises FailedPrecondition (PARAM_CHANGED) for a param that has another value already.
        """
        stamp = to_timestamp(time, "time")
        points = [
            pb.Metric(key=key, value=_number(key, value), step=step, time=stamp)
            for key, value in (metrics or {}).items()
        ]
        labels, marks = list(_texts(params).items()), list(_texts(tags).items())
        batches = max(_parts(points, _MOST_METRICS), _parts(labels, _MOST_LABELS), _parts(marks, _MOST_LABELS))
        for part in range(batches):
            request = pb.LogBatchRequest(
                run=full("runs", run),
                metrics=points[part * _MOST_METRICS : (part + 1) * _MOST_METRICS],
                params=dict(labels[part * _MOST_LABELS : (part + 1) * _MOST_LABELS]),
                tags=dict(marks[part * _MOST_LABELS : (part + 1) * _MOST_LABELS]),
                request_id=request_id(),
            )
            self._transport.call(self._stub.LogBatch, request)

    def log_input(
        self,
        run: str,
        dataset: str,
        digest: str,
        *,
        source_type: str = "",
        source: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Records a dataset that a run used."""
        used = pb.DatasetInput(dataset=dataset, digest=digest, source_type=source_type, source=source, tags=tags)
        request = pb.LogInputsRequest(run=full("runs", run), inputs=[used], request_id=request_id())
        self._transport.call(self._stub.LogInputs, request)

    def finish(self, run: str, status: str = "FINISHED", *, end_time: datetime | None = None) -> Run:
        """Ends a run as FINISHED, FAILED or KILLED; now, unless `end_time` says when."""
        ended = pb.Run(
            name=full("runs", run),
            status=enum_number(pb.RunStatus, status, "status"),  # type: ignore[arg-type]
            end_time=to_timestamp(end_time, "end_time"),
        )
        return Run.of(
            self._transport.call(self._stub.UpdateRun, pb.UpdateRunRequest(run=ended, request_id=request_id()))
        )

    def metric_history(self, run: str, key: str) -> Listing[MetricPoint]:
        """Lists all points of one metric, ordered by step, time and order of logging."""
        request = pb.ListMetricPointsRequest(run=full("runs", run), key=key)
        return listing(MetricPoint, self._transport.pages(self._stub.ListMetricPoints, request, "points"))

    def list_artifacts(self, run: str, path: str = "", *, recursive: bool = False) -> Listing[Artifact]:
        """Lists the files and folders below a folder of a run's artifacts; `recursive`: all files below it."""
        request = pb.ListArtifactsRequest(parent=full("runs", run), path=path, recursive=recursive)
        return listing(Artifact, self._transport.pages(self._stub.ListArtifacts, request, "artifacts"))

    def upload(self, run: str, local: str | os.PathLike[str], path: str = "") -> list[Artifact]:
        """Stores a file, or all files below a folder, among a run's artifacts; returns what was stored.

        path  the file's path there, or the folder's; "": the file's own name, or the top
        """
        stored = []
        for file in files.outgoing(local, path):
            header = pb.UploadArtifactRequest.Header(
                parent=full("runs", run), path=file.path, sha256=file.sha256, size_bytes=file.size_bytes
            )
            stored.append(Artifact.of(self._transport.send(self._stub.UploadArtifact, _upload(header, file))))
        return stored

    def download(self, run: str, path: str, local: str | os.PathLike[str]) -> Path:
        """Fetches a file to the path `local`, or all files of a folder below it; returns that path.

        Raises NotFound when there is neither a file nor a folder of that path.
        """
        name, target = full("runs", run), Path(local)
        below = self.list_artifacts(name, path, recursive=True)
        if not below:
            return files.save(target, lambda offset: self._fetch(name, path, offset))
        prefix = f"{path.rstrip('/')}/" if path else ""
        for artifact in below:
            where = files.inside(target, artifact.path.removeprefix(prefix))
            files.save(where, lambda offset, source=artifact.path: self._fetch(name, source, offset))  # type: ignore[misc]
        return target

    def _fetch(self, run: str, path: str, offset: int) -> Iterator[Any]:
        request = pb.DownloadArtifactRequest(parent=run, path=path, offset=offset)
        for part in self._transport.receive(self._stub.DownloadArtifact, request):
            yield part.data if part.WhichOneof("part") == "data" else part.artifact


def _upload(header: pb.UploadArtifactRequest.Header, file: files.Outgoing) -> Iterator[pb.UploadArtifactRequest]:
    yield pb.UploadArtifactRequest(header=header)
    for piece in file.pieces():
        yield pb.UploadArtifactRequest(data=piece)


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: value if isinstance(value, str) else str(value) for key, value in (values or {}).items()}


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(
            f"metric {key!r} is {value!r}; it must be a number", reason="FIELD_INVALID", facts={"metric": key}
        ) from None


def _parts(values: Sequence[Any], most: int) -> int:
    return math.ceil(len(values) / most)
