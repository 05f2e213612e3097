"""Runs by single calls: made, logged to, ended, deleted, brought back. What has an answer is on the service's disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.sdk.names import full
from fivefold.sdk.records import enum_number
from fivefold.sdk.times import to_timestamp
from fivefold.sdk.tracking.experiments import Experiments
from fivefold.sdk.tracking.logbatches import batches
from fivefold.sdk.tracking.runs import Run, number, texts
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub


class RunCalls:
    """The calls about one run, or about all of an experiment."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.experiments = Experiments(transport)
        self._stub = transport.stub(TrackingServiceStub)

    def get_run(self, name: str) -> Run:
        """Returns one run. Raises NotFound."""
        return Run.of(self.transport.call(self._stub.GetRun, pb.GetRunRequest(name=full("runs", name))))

    def create_run(
        self,
        experiment: str,
        *,
        name: str = "",
        parent_run: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        start_time: datetime | None = None,
        source: pb.Source | None = None,
        user: str = "",
    ) -> Run:
        """Starts a run and nothing around it; `name` is what people call it, made up when empty."""
        run = pb.Run(
            experiment=full("experiments", experiment),
            display_name=name,
            parent_run=full("runs", parent_run) if parent_run else "",
            params=texts(params),
            tags=texts(tags),
            start_time=to_timestamp(start_time, "start_time"),
            source=source,
            user=user,
        )
        request = pb.CreateRunRequest(run=run, request_id=request_id())
        return Run.of(self.transport.call(self._stub.CreateRun, request))

    def log(
        self,
        run: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        time: datetime | None = None,
        allow_ended: bool = False,
    ) -> None:
        """Logs values to any run, and returns when they are on disk. Up to 1000 metrics, 100 params and 100 tags are
        one atomic write; more take several.

        step, time   of the metrics; None: now
        allow_ended  takes metrics for a run that has ended too, such as an evaluation afterwards

        Raises FailedPrecondition (PARAM_CHANGED) for a param that has another value already.
        """
        stamp = to_timestamp(time, "time")
        points = [
            pb.Metric(key=key, value=number(key, value), step=step, time=stamp)
            for key, value in (metrics or {}).items()
        ]
        name = full("runs", run)
        for batch in batches(name, metrics=points, params=params, tags=tags, allow_ended=allow_ended):
            self.transport.call(self._stub.LogBatch, batch)

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
        """Records a dataset that a run used, by its name and digest."""
        used = pb.DatasetInput(dataset=dataset, digest=digest, source_type=source_type, source=source, tags=tags)
        self.log_inputs(run, [used])

    def log_inputs(self, run: str, datasets: Sequence[pb.DatasetInput] = (), models: Sequence[str] = ()) -> None:
        """Records the datasets and logged models that a run used."""
        request = pb.LogInputsRequest(
            run=full("runs", run),
            inputs=datasets,
            models=[full("logged_models", model) for model in models],
            request_id=request_id(),
        )
        self.transport.call(self._stub.LogInputs, request)

    def log_outputs(self, run: str, models: Sequence[str], *, step: int = 0) -> None:
        """Records the logged models that a run made, at a training step."""
        outputs = [pb.ModelOutput(logged_model=full("logged_models", model), step=step) for model in models]
        request = pb.LogOutputsRequest(run=full("runs", run), outputs=outputs, request_id=request_id())
        self.transport.call(self._stub.LogOutputs, request)

    def finish(self, run: str, status: str = "FINISHED", *, end_time: datetime | None = None) -> Run:
        """Ends a run as FINISHED, FAILED or KILLED; now, unless `end_time` says when."""
        ended = pb.Run(
            name=full("runs", run),
            status=enum_number(pb.RunStatus, status, "status"),  # type: ignore[arg-type]
            end_time=to_timestamp(end_time, "end_time"),
        )
        return self._update_run(ended, [])

    def update_run(self, run: str, *, name: str | None = None, tags: Mapping[str, str | None] | None = None) -> Run:
        """Renames a run, sets tags; a tag with None is removed."""
        kept = texts({key: value for key, value in (tags or {}).items() if value is not None})
        asked = pb.Run(name=full("runs", run), display_name=name or "", tags=kept)
        return self._update_run(asked, [*(["display_name"] if name else []), *(f"tags.{key}" for key in tags or {})])

    def delete_run(self, run: str) -> Run:
        """Deletes a run softly. Raises FailedPrecondition (RUN_DELETED) when it is deleted already."""
        request = pb.DeleteRunRequest(name=full("runs", run), request_id=request_id())
        return Run.of(self.transport.call(self._stub.DeleteRun, request))

    def restore_run(self, run: str) -> Run:
        """Brings a deleted run back. Raises FailedPrecondition (EXPERIMENT_DELETED)."""
        request = pb.UndeleteRunRequest(name=full("runs", run), request_id=request_id())
        return Run.of(self.transport.call(self._stub.UndeleteRun, request))

    def delete_runs(self, experiment: str, started_until: datetime, *, limit: int = 0) -> int:
        """Deletes active runs softly that started then or before, oldest first; returns how many.

        limit  0: all, up to 10,000 in one call
        """
        request = pb.DeleteRunsRequest(
            experiment=self.experiments.name_of(experiment),
            started_until=to_timestamp(started_until, "started_until"),
            max_runs=limit,
            request_id=request_id(),
        )
        return self.transport.call(self._stub.DeleteRuns, request).deleted_count

    def restore_runs(self, experiment: str, deleted_since: datetime, *, limit: int = 0) -> int:
        """Brings runs back that were deleted then or later, oldest first; returns how many."""
        request = pb.UndeleteRunsRequest(
            experiment=self.experiments.name_of(experiment),
            deleted_since=to_timestamp(deleted_since, "deleted_since"),
            max_runs=limit,
            request_id=request_id(),
        )
        return self.transport.call(self._stub.UndeleteRuns, request).restored_count

    def purge_runs(
        self, experiment: str, *, deleted_before: datetime | None = None, names: Sequence[str] = ()
    ) -> tuple[int, int]:
        """Deletes deleted runs and logged models for good; returns how many (runs, logged models).

        deleted_before  None: whatever is deleted
        names           only these, of runs/{run} and logged_models/{logged_model}; empty: all
        """
        request = pb.PurgeRunsRequest(
            experiment=self.experiments.name_of(experiment),
            deleted_before=to_timestamp(deleted_before, "deleted_before"),
            names=names,
            request_id=request_id(),
        )
        answer = self.transport.call(self._stub.PurgeRuns, request, bulk=True)
        return answer.purged_runs, answer.purged_logged_models

    def _update_run(self, asked: pb.Run, paths: Sequence[str]) -> Run:
        request = pb.UpdateRunRequest(run=asked, update_mask=FieldMask(paths=paths), request_id=request_id())
        return Run.of(self.transport.call(self._stub.UpdateRun, request))
