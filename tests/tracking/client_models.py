"""The promises of LoggedModelStore and DatasetStore kept by a gRPC client, as those of `client_store.py`."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.filters.tree import OrderKey
from fivefold_tracking import model_wire, names
from fivefold_tracking.lifecycle import View
from fivefold_tracking.logged import LoggedModelStatus
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.model_records import DatasetRecord, LoggedModelRecord, MeasuredRecord
from fivefold_tracking.store.records import Page
from tests.tracking.client import Tracking
from tests.tracking.client_store import ClientStores, more, time, token, typed

STATUS = {number: status for status, number in model_wire.STATUS_OF.items()}
VIEWS = {View.ACTIVE: pb.VIEW_ACTIVE, View.DELETED: pb.VIEW_DELETED, View.ALL: pb.VIEW_ALL}


class ClientModelStores(ClientStores):
    """The stores of `client_store.py`, and those of logged models, datasets and purges."""

    def __init__(self, tracking: Tracking) -> None:
        super().__init__(tracking)
        self.logged_models = ClientLoggedModels(tracking.stub)
        self.datasets = ClientDatasets(tracking.stub)
        self.purges = ClientPurges(tracking.stub)


class ClientLoggedModels:
    """A LoggedModelStore. The service gives ids and times by itself."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def create(self, new, now):
        asked = pb.LoggedModel(
            experiment=f"experiments/{new.experiment}",
            display_name=new.display_name,
            model_type=new.model_type,
            source_run=f"runs/{new.source_run}" if new.source_run else "",
            status=model_wire.STATUS_OF[new.status],
            status_message=new.status_message,
            params=new.params,
            tags=new.tags,
        )
        with typed():
            return logged_model(self._stub.CreateLoggedModel(pb.CreateLoggedModelRequest(logged_model=asked)))

    def get(self, model):
        with typed():
            name = names.logged_model_name(model)
            return logged_model(self._stub.GetLoggedModel(pb.GetLoggedModelRequest(name=name)))

    def experiment_of(self, model):
        return self.get(model).experiment

    def search(self, query, after, limit, text=""):
        with typed():
            answer = self._stub.SearchLoggedModels(
                pb.SearchLoggedModelsRequest(
                    experiments=[f"experiments/{number}" for number in query.experiments],
                    filter=text,
                    datasets=[pb.DatasetChoice(dataset=name, digest=digest) for name, digest in query.datasets],
                    order_by=", ".join(map(order_by, query.order)),
                    view=VIEWS[query.view],
                    page_size=limit,
                    page_token=token(after),
                )
            )
        return Page(tuple(map(logged_model, answer.logged_models)), more(answer))

    def update(self, model, change, etag, now):
        fields = {
            "status": model_wire.STATUS_OF[change.status] if change.status else None,
            "status_message": change.status_message,
            "display_name": change.display_name,
            "params": change.params or None,
            "tags": change.tags,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        asked = pb.LoggedModel(name=names.logged_model_name(model), etag=etag, **given)
        asked.tags.update({key: value for key, value in change.some.items() if value is not None})
        mask = FieldMask(paths=[*given, *(f"tags.{key}" for key in change.some)])
        with typed():
            request = pb.UpdateLoggedModelRequest(logged_model=asked, update_mask=mask)
            return logged_model(self._stub.UpdateLoggedModel(request))

    def delete(self, model, now):
        with typed():
            self._stub.DeleteLoggedModel(pb.DeleteLoggedModelRequest(name=names.logged_model_name(model)))

    def log_inputs(self, run, models):
        with typed():
            models = list(map(names.logged_model_name, models))
            self._stub.LogInputs(pb.LogInputsRequest(run=f"runs/{run}", models=models))

    def log_outputs(self, run, outputs):
        asked = [
            pb.ModelOutput(logged_model=names.logged_model_name(output.model), step=output.step) for output in outputs
        ]
        with typed():
            self._stub.LogOutputs(pb.LogOutputsRequest(run=f"runs/{run}", outputs=asked))


class ClientDatasets:
    """A DatasetStore."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def list(self, experiments, after, limit):
        with typed():
            answer = self._stub.ListDatasets(
                pb.ListDatasetsRequest(
                    experiments=[f"experiments/{number}" for number in experiments],
                    page_size=limit,
                    page_token=token(after),
                )
            )
        found = tuple(
            DatasetRecord(names.experiment_number(one.experiment), one.dataset, one.digest, tuple(one.contexts))
            for one in answer.datasets
        )
        return Page(found, more(answer))


class ClientPurges:
    """The part of a PurgeStore that clients see."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def mark_runs(self, experiment, before, ids):
        return self._purge(experiment, before, ids, names.run_name).purged_runs

    def mark_models(self, experiment, before, ids):
        return self._purge(experiment, before, ids, names.logged_model_name).purged_logged_models

    def mark_experiment(self, number):
        with typed():
            self._stub.PurgeExperiment(pb.PurgeExperimentRequest(name=f"experiments/{number}"))

    def _purge(self, experiment, before, ids, name):
        request = pb.PurgeRunsRequest(experiment=f"experiments/{experiment}", names=map(name, ids or ()))
        if before is not None:
            request.deleted_before.FromMicroseconds(before)
        with typed():
            return self._stub.PurgeRuns(request)


def order_by(key: OrderKey) -> str:
    return f"{key.field.group}.`{key.field.key}` {'desc' if key.descending else 'asc'}"


def logged_model(got: pb.LoggedModel) -> LoggedModelRecord:
    return LoggedModelRecord(
        id=names.logged_model_id(got.name),
        experiment=names.experiment_number(got.experiment),
        display_name=got.display_name,
        model_type=got.model_type,
        source_run=got.source_run.removeprefix("runs/"),
        status=LoggedModelStatus(STATUS[got.status]),
        status_message=got.status_message,
        params=dict(got.params),
        tags=dict(got.tags),
        metrics=tuple(
            MeasuredRecord(
                Point(
                    one.key,
                    one.value,
                    one.time.ToMicroseconds(),
                    one.step,
                    names.logged_model_id(one.logged_model),
                    one.dataset,
                    one.dataset_digest,
                ),
                names.run_id(one.run),
            )
            for one in got.metrics
        ),
        created=got.create_time.ToMicroseconds(),
        updated=got.update_time.ToMicroseconds(),
        deleted=time(got, "delete_time"),
        etag=got.etag,
    )
