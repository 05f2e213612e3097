"""The stores' promises kept by a gRPC client: with it their contract runs once through the whole service."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.filters import And, Field, Filter, Operator, Or, OrderKey, Presence, Value
from fivefold_tracking import names, wire
from fivefold_tracking.lifecycle import RunStatus
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.records import (
    ArtifactRecord,
    ExperimentRecord,
    InputRecord,
    ModelOutputRecord,
    Page,
    RunRecord,
    SourceRecord,
)
from tests.tracking.client import Tracking, sha256
from tests.tracking.client_metrics import ClientMetrics
from tests.tracking.remote import more, token, typed

CONTENTS = {sha256(data): data for data in (b"", b"one", b"two")}  # what a contract test may put as an artifact
_STATUS = {number: status for status, number in wire.STATUS_OF.items()}


class ClientStores:
    """Experiments, runs, metrics and artifacts of one service."""

    def __init__(self, tracking: Tracking) -> None:
        self.experiments = ClientExperiments(tracking.stub)
        self.runs = ClientRuns(tracking.stub)
        self.metrics = ClientMetrics(tracking.stub)
        self.artifacts = ClientArtifacts(tracking)


class ClientExperiments:
    """An ExperimentStore."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def create(self, display_name, tags, now, artifact_location="", allow_existing=False):
        asked = pb.Experiment(display_name=display_name, tags=tags, artifact_location=artifact_location)
        with typed():
            request = pb.CreateExperimentRequest(experiment=asked, allow_existing=allow_existing)
            return experiment(self._stub.CreateExperiment(request))

    def ensure(self, display_name, tags, now, artifact_location=""):
        return self.create(display_name, tags, now, artifact_location, allow_existing=True)

    def get(self, number):
        with typed():
            return experiment(self._stub.GetExperiment(pb.GetExperimentRequest(name=f"experiments/{number}")))

    def lookup(self, display_name):
        with typed():
            return experiment(self._stub.LookupExperiment(pb.LookupExperimentRequest(display_name=display_name)))

    def list(self, authorizer, query, after, limit):
        with typed():
            answer = self._stub.ListExperiments(
                pb.ListExperimentsRequest(
                    filter=filter_text(query.filter),
                    order_by=order_text(query.order),
                    view=f"VIEW_{query.view}",
                    page_size=limit,
                    page_token=token(after),
                )
            )
        return Page(tuple(map(experiment, answer.experiments)), more(answer))

    def update(self, number, *, display_name, tags, etag, now, some=MappingProxyType({})):
        fields = {"display_name": display_name, "tags": tags}
        set_to = {key: value for key, value in some.items() if value is not None}
        asked = pb.Experiment(name=f"experiments/{number}", etag=etag, display_name=display_name, tags=tags or set_to)
        paths = [name for name, value in fields.items() if value is not None]
        mask = FieldMask(paths=[*paths, *(f"tags.{key}" for key in some)])
        with typed():
            return experiment(
                self._stub.UpdateExperiment(pb.UpdateExperimentRequest(experiment=asked, update_mask=mask))
            )

    def delete(self, number, etag, now):
        with typed():
            request = pb.DeleteExperimentRequest(name=f"experiments/{number}", etag=etag)
            return experiment(self._stub.DeleteExperiment(request))

    def undelete(self, number, now):
        with typed():
            request = pb.UndeleteExperimentRequest(name=f"experiments/{number}")
            return experiment(self._stub.UndeleteExperiment(request))


class ClientRuns:
    """A RunStore. The service gives ids and creation times by itself."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def create(self, new, now):
        asked = pb.Run(
            experiment=f"experiments/{new.experiment}",
            display_name=new.display_name,
            status=wire.STATUS_OF[new.status],
            user=new.user,
            start_time=wire.of_micros(new.started),
            end_time=wire.of_micros(new.ended),
            parent_run=f"runs/{new.parent}" if new.parent else "",
            source=pb.Source(
                type=f"SOURCE_TYPE_{new.source.type or 'UNSPECIFIED'}",
                name=new.source.name,
                entry_point=new.source.entry_point,
                git_commit=new.source.git_commit,
                git_repo=new.source.git_repo,
            ),
            params=new.params,
            tags=new.tags,
        )
        with typed():
            return run(self._stub.CreateRun(pb.CreateRunRequest(run=asked)))

    def get(self, run_id):
        with typed():
            return run(self._stub.GetRun(pb.GetRunRequest(name=f"runs/{run_id}")))

    def experiment_of(self, run_id):
        return self.get(run_id).experiment

    def update(self, run_id, change, etag, now):
        fields = {
            "status": wire.STATUS_OF[change.status] if change.status else None,
            "display_name": change.display_name,
            "end_time": wire.of_micros(change.ended),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        paths = [*given, *(["tags"] if change.tags is not None else []), *(f"tags.{key}" for key in change.some)]
        given["tags"] = change.tags or {key: value for key, value in change.some.items() if value is not None}
        asked = pb.Run(name=f"runs/{run_id}", etag=etag, **given)
        with typed():
            return run(self._stub.UpdateRun(pb.UpdateRunRequest(run=asked, update_mask=FieldMask(paths=paths))))

    def delete(self, run_id, now):
        with typed():
            return run(self._stub.DeleteRun(pb.DeleteRunRequest(name=f"runs/{run_id}")))

    def undelete(self, run_id):
        with typed():
            return run(self._stub.UndeleteRun(pb.UndeleteRunRequest(name=f"runs/{run_id}")))

    def delete_started(self, experiment, until, limit, now):
        asked = pb.DeleteRunsRequest(
            experiment=f"experiments/{experiment}", started_until=wire.of_micros(until), max_runs=limit
        )
        with typed():
            return self._stub.DeleteRuns(asked).deleted_count

    def undelete_since(self, experiment, since, limit):
        asked = pb.UndeleteRunsRequest(
            experiment=f"experiments/{experiment}", deleted_since=wire.of_micros(since), max_runs=limit
        )
        with typed():
            return self._stub.UndeleteRuns(asked).restored_count

    def search(self, query, after, limit):
        with typed():
            answer = self._stub.SearchRuns(
                pb.SearchRunsRequest(
                    experiments=[f"experiments/{number}" for number in query.experiments],
                    parent_run=f"runs/{query.parent}" if query.parent else "",
                    filter=filter_text(query.filter),
                    order_by=order_text(query.order),
                    view=f"VIEW_{query.view}",
                    skip_total_size=not query.counted,
                    page_size=limit,
                    page_token=token(after),
                )
            )
        return Page(tuple(map(run, answer.runs)), more(answer), answer.total_size)

    def log(self, run_id, batch, *, allow_ended=False):
        metrics = [
            pb.Metric(
                key=point.key,
                value=point.value,
                time=wire.of_micros(point.time),
                step=point.step,
                logged_model=names.logged_model_name(point.model) if point.model else "",
                dataset=point.dataset,
                dataset_digest=point.digest,
            )
            for point in batch.points
        ]
        asked = pb.LogBatchRequest(
            run=f"runs/{run_id}", metrics=metrics, params=batch.params, tags=batch.tags, allow_ended=allow_ended
        )
        with typed():
            self._stub.LogBatch(asked)

    def log_inputs(self, run_id, inputs):
        asked = [
            pb.DatasetInput(
                dataset=one.dataset,
                digest=one.digest,
                source_type=one.source_type,
                source=one.source,
                schema=one.schema,
                profile=one.profile,
                tags=one.tags,
            )
            for one in inputs
        ]
        with typed():
            self._stub.LogInputs(pb.LogInputsRequest(run=f"runs/{run_id}", inputs=asked))


class ClientArtifacts:
    """An ArtifactStore for the few contents that it can upload."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def put(self, parent, path, size, digest, now, is_stored):
        with typed():
            return artifact(self._tracking.upload(names.parent_name(parent), path, CONTENTS[digest]))

    def get(self, parent, path):
        with typed():
            return artifact(self._tracking.download(names.parent_name(parent), path)[0])

    def delete(self, parent, path):
        with typed():
            self._tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=names.parent_name(parent), path=path))

    def list(self, parent, folder, *, recursive, after, limit):
        with typed():
            answer = self._tracking.stub.ListArtifacts(
                pb.ListArtifactsRequest(
                    parent=names.parent_name(parent),
                    path=folder,
                    recursive=recursive,
                    page_size=limit,
                    page_token=token(after),
                )
            )
        return Page(tuple(map(artifact, answer.artifacts)), more(answer))


def order_text(order: Sequence[OrderKey]) -> str:
    return ", ".join(f"{field_text(key.field)} {'desc' if key.descending else 'asc'}" for key in order)


def filter_text(tree: Filter | None) -> str:
    """Writes a filter down again; times stand in it as milliseconds."""
    if tree is None:
        return ""
    if isinstance(tree, (And, Or)):
        return f" {type(tree).__name__.upper()} ".join(f"({filter_text(part)})" for part in tree.parts)
    if isinstance(tree, Presence):
        return f"{field_text(tree.field)} IS {'NOT ' if tree.present else ''}NULL"
    values = [value_text(tree.field, value) for value in tree.values]
    listed = f"({', '.join(values)})" if tree.operator in (Operator.IN, Operator.NOT_IN) else values[0]
    return f"{'NOT ' if tree.negated else ''}{field_text(tree.field)} {tree.operator} {listed}"


def field_text(field: Field) -> str:
    return f"{field.group}.`{field.key}`"


def value_text(field: Field, value: Value) -> str:
    if isinstance(value, str):
        quoted = value.replace("'", "''")
        return f"'{quoted}'"
    return repr(value / 1000 if field.group == "attributes" and field.key.endswith("_time") else value)


def experiment(got: pb.Experiment) -> ExperimentRecord:
    return ExperimentRecord(
        number=names.experiment_number(got.name),
        display_name=got.display_name,
        tags=dict(got.tags),
        created=got.create_time.ToMicroseconds(),
        updated=got.update_time.ToMicroseconds(),
        deleted=time(got, "delete_time"),
        etag=got.etag,
        artifact_location=got.artifact_location,
    )


def run(got: pb.Run) -> RunRecord:
    source = got.source
    kind = pb.SourceType.Name(source.type).removeprefix("SOURCE_TYPE_") if source.type else ""
    return RunRecord(
        id=names.run_id(got.name),
        experiment=names.experiment_number(got.experiment),
        display_name=got.display_name,
        status=RunStatus(_STATUS[got.status]),
        user=got.user,
        started=got.start_time.ToMicroseconds(),
        ended=time(got, "end_time"),
        parent=got.parent_run.removeprefix("runs/"),
        source=SourceRecord(kind, source.name, source.entry_point, source.git_commit, source.git_repo),
        params=dict(got.params),
        tags=dict(got.tags),
        metrics=tuple(point(one, one.key) for one in got.metrics),
        inputs=tuple(
            InputRecord(one.dataset, one.digest, one.source_type, one.source, one.schema, one.profile, dict(one.tags))
            for one in got.inputs
        ),
        created=got.create_time.ToMicroseconds(),
        deleted=time(got, "delete_time"),
        etag=got.etag,
        model_inputs=tuple(map(names.logged_model_id, got.model_inputs)),
        outputs=tuple(
            ModelOutputRecord(names.logged_model_id(output.logged_model), output.step) for output in got.outputs
        ),
    )


def point(got: pb.Metric, key: str) -> Point:
    return Point(key, got.value, got.time.ToMicroseconds(), got.step)


def artifact(got: pb.Artifact) -> ArtifactRecord:
    assert got.folder == (not got.sha256)
    return ArtifactRecord(got.path, got.size_bytes, got.sha256)


def time(message: Any, field: str) -> int | None:
    return getattr(message, field).ToMicroseconds() if message.HasField(field) else None
