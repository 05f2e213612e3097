"""The tracking service: translate, call, translate. The contract's options have settled rights and limits before."""

from __future__ import annotations

from functools import partial

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import FivefoldError, NotFound
from fivefold_runtime.grants import Level
from fivefold_runtime.ids import new_id
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation
from fivefold_runtime.objects import Objects
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_tracking import columns, names, pages, streams, watching, wire
from fivefold_tracking.artifact_calls import ArtifactCalls
from fivefold_tracking.lifecycle import DisplayNameTaken
from fivefold_tracking.model_calls import LoggedModelCalls
from fivefold_tracking.purge_calls import PurgeCalls
from fivefold_tracking.search_calls import SearchCalls
from fivefold_tracking.store.records import ExperimentRecord
from fivefold_tracking.store.sql import Store
from fivefold_tracking.sweeping import Sweeper
from fivefold_tracking.transfer import Receiver


class TrackingServicer(ArtifactCalls, LoggedModelCalls, PurgeCalls, SearchCalls):
    """Serves fivefold.tracking.v1."""

    def __init__(
        self, database: Database, store: Store, objects: Objects, authorizer: Authorizer, sweeper: Sweeper
    ) -> None:
        self.database = database
        self._experiments = store.experiments
        self._runs = store.runs
        self._metrics = store.metrics
        self._room = streams.Room()
        self._bell = store.bell
        self._artifacts = store.artifacts
        self._logged_models = store.logged_models
        self._datasets = store.datasets
        self._purges = store.purges
        self._receiver = Receiver(store.artifacts, store.uploads, objects, self._now)
        self._sweeper = sweeper
        self._objects = objects
        self._authorizer = authorizer

    @mutation
    def CreateExperiment(self, request, context):
        display_name = wire.display_name_of(request.experiment)
        tags = wire.texts_of(request.experiment.tags, "experiment.tags")
        make = self._experiments.ensure if request.allow_existing else self._experiments.create
        record = make(display_name, tags, self._now(), request.experiment.artifact_location)
        return wire.of_experiment(self._readable(record, DisplayNameTaken.of(display_name)))

    def GetExperiment(self, request, context):
        return wire.of_experiment(self._experiments.get(names.experiment_number(request.name)))

    def LookupExperiment(self, request, context):
        record = self._experiments.lookup(request.display_name)
        return wire.of_experiment(self._readable(record, NotFound.of(request.display_name)))

    def ListExperiments(self, request, context):
        size = paging.size(request.page_size, default=100, largest=1000)
        query = wire.to_experiment_query(request)
        page = self._experiments.list(self._authorizer, query, pages.after_experiment(request, query.order), size)
        return pb.ListExperimentsResponse(
            experiments=map(wire.of_experiment, page.items), next_page_token=paging.token_of(request, page.more)
        )

    @mutation
    def UpdateExperiment(self, request, context):
        asked = request.experiment
        fields = chosen(request.update_mask, asked, ("display_name", "tags"), maps=("tags",))
        record = self._experiments.update(
            names.experiment_number(asked.name, "experiment.name"),
            display_name=wire.display_name_of(asked) if "display_name" in fields else None,
            tags=wire.texts_of(asked.tags, "experiment.tags") if "tags" in fields else None,
            etag=asked.etag,
            now=self._now(),
            some=wire.some_tags(request.update_mask, asked),
        )
        return wire.of_experiment(record)

    @mutation
    def DeleteExperiment(self, request, context):
        number = names.experiment_number(request.name)
        return wire.of_experiment(self._experiments.delete(number, request.etag, self._now()))

    @mutation
    def UndeleteExperiment(self, request, context):
        return wire.of_experiment(self._experiments.undelete(names.experiment_number(request.name), self._now()))

    @mutation
    def CreateRun(self, request, context):
        now = self._now()
        new = wire.to_new_run(request.run, run=new_id(), user=caller().subject, now=now)
        if new.parent:
            self._authorizer.require(names.run_name(new.parent), Level.CAN_READ)
        return wire.of_run(self._runs.create(new, now))

    def GetRun(self, request, context):
        return wire.of_run(self._runs.get(names.run_id(request.name)))

    @mutation
    def UpdateRun(self, request, context):
        run = names.run_id(request.run.name, "run.name")
        return wire.of_run(self._runs.update(run, wire.to_run_change(request), request.run.etag, self._now()))

    @mutation
    def DeleteRun(self, request, context):
        return wire.of_run(self._runs.delete(names.run_id(request.name), self._now()))

    @mutation
    def UndeleteRun(self, request, context):
        return wire.of_run(self._runs.undelete(names.run_id(request.name)))

    @mutation
    def LogBatch(self, request, context):
        batch = columns.to_batch(request, self._now())
        self._runs.log(names.run_id(request.run, "run"), batch, allow_ended=request.allow_ended)
        return pb.LogBatchResponse()

    def LogMetrics(self, request_iterator, context):
        header = columns.header_of(request_iterator)
        parts = (columns.to_part(request, self._now()) for request in request_iterator)
        run = names.run_id(header.run, "header.run")
        check = partial(self._authorizer.require, header.run, Level.CAN_EDIT)
        for acknowledged in streams.receive(self._metrics, self._room, parts, run, header.stream, check):
            yield pb.LogMetricsResponse(acknowledged=acknowledged)

    def ListMetricPoints(self, request, context):
        size = paging.size(request.page_size, default=1000, largest=100_000)
        after = paging.key_of(request, paging.NUMBER, paging.NUMBER, paging.NUMBER)
        run = names.run_id(request.run, "run")
        page = self._metrics.points(run, request.key, after, size, *columns.steps_of(request))
        return pb.ListMetricPointsResponse(
            points=columns.of_series(page.series, total=page.total), next_page_token=paging.token_of(request, page.more)
        )

    def SampleMetrics(self, request, context):
        runs = {name: names.run_id(name, f"runs[{index}]") for index, name in enumerate(request.runs)}
        for name in runs:
            self._authorizer.require(name, Level.CAN_READ)
        most = columns.curve_size(request.max_points)
        lowest, highest = columns.steps_of(request)
        curves = self._metrics.sample(list(runs.values()), list(dict.fromkeys(request.keys)), most, lowest, highest)
        return pb.SampleMetricsResponse(series=map(columns.of_curve, curves))

    def WatchMetrics(self, request, context):
        run = names.run_id(request.run, "run")
        check = partial(self._authorizer.require, request.run, Level.CAN_READ)
        for fresh in watching.follow(
            self._metrics, self._bell, run, request.keys, request.seen, request.only_new, check
        ):
            yield columns.of_fresh(fresh)

    def _now(self) -> int:
        return micros(self.database.clock.now())

    def _readable(self, record: ExperimentRecord, otherwise: FivefoldError) -> ExperimentRecord:
        """Returns the experiment when the caller may read it, else raises `otherwise`."""
        if self._authorizer.level(record.name) < Level.CAN_READ:
            raise otherwise
        return record
