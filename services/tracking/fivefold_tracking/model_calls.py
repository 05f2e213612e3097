"""The RPCs of logged models, of which runs used and made them, and of datasets."""

from __future__ import annotations

from google.protobuf import empty_pb2

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import paging
from fivefold_runtime.clock import micros
from fivefold_runtime.grants import Level
from fivefold_runtime.ids import new_id
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_tracking import model_wire, names, rights, wire
from fivefold_tracking.store.model_protocol import DatasetStore, LoggedModelStore
from fivefold_tracking.store.protocol import RunStore


class LoggedModelCalls:
    """Part of TrackingServicer."""

    database: Database
    _authorizer: Authorizer
    _datasets: DatasetStore
    _logged_models: LoggedModelStore
    _runs: RunStore

    @mutation
    def CreateLoggedModel(self, request, context):
        new = model_wire.to_new_logged_model(request.logged_model, names.new_logged_model(new_id()))
        return model_wire.of_logged_model(self._logged_models.create(new, micros(self.database.clock.now())))

    def GetLoggedModel(self, request, context):
        return model_wire.of_logged_model(self._logged_models.get(names.logged_model_id(request.name)))

    def SearchLoggedModels(self, request, context):
        query = model_wire.to_query(request, rights.readable(self._authorizer, request.experiments))
        size = paging.size(request.page_size, default=100, largest=1000)
        page = self._logged_models.search(query, model_wire.after(request, query.order), size)
        return pb.SearchLoggedModelsResponse(
            logged_models=map(model_wire.of_logged_model, page.items),
            next_page_token=paging.token_of(request, page.more),
        )

    @mutation
    def UpdateLoggedModel(self, request, context):
        model = names.logged_model_id(request.logged_model.name, "logged_model.name")
        change, now = model_wire.to_change(request), micros(self.database.clock.now())
        return model_wire.of_logged_model(self._logged_models.update(model, change, request.logged_model.etag, now))

    @mutation
    def DeleteLoggedModel(self, request, context):
        self._logged_models.delete(names.logged_model_id(request.name), micros(self.database.clock.now()))
        return empty_pb2.Empty()

    @mutation
    def LogInputs(self, request, context):
        run = names.run_id(request.run, "run")
        models = [names.logged_model_id(name, "models") for name in request.models]
        for name in request.models:
            self._authorizer.require(name, Level.CAN_READ)
        self._runs.log_inputs(run, map(wire.to_input, request.inputs))
        self._logged_models.log_inputs(run, models)
        return pb.LogInputsResponse()

    @mutation
    def LogOutputs(self, request, context):
        outputs = [model_wire.to_output(output, f"outputs[{place}]") for place, output in enumerate(request.outputs)]
        self._logged_models.log_outputs(names.run_id(request.run, "run"), outputs)
        return pb.LogOutputsResponse()

    def ListDatasets(self, request, context):
        size = paging.size(request.page_size, default=100, largest=1000)
        after = paging.key_of(request, paging.NUMBER, paging.TEXT, paging.TEXT)
        page = self._datasets.list(rights.readable(self._authorizer, request.experiments), after, size)
        return pb.ListDatasetsResponse(
            datasets=map(model_wire.of_dataset, page.items), next_page_token=paging.token_of(request, page.more)
        )
