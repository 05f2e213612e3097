"""Serves fivefold.features.v1: translates, calls, translates.

What reads or writes rows in bulk needs Arrow and Polars. Their 70 MB are loaded by the first call that wants them, so
that a server that is idle, or only answers online, stays small: hence the imports inside methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names, wire
from fivefold_features.online import OnlineStore
from fivefold_features.onlinefeatures import OnlineFeatures
from fivefold_features.schema import check
from fivefold_features.store import MetadataStore
from fivefold_features.streams import Streamed, opened
from fivefold_features.sweeping import Sweeper
from fivefold_runtime import clock, paging
from fivefold_runtime.levels import Level
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History
    from fivefold_features.publishing import Publisher

SERVICE = "fivefold.features.v1.FeatureService"
_PAGE, _LARGEST_PAGE = 100, 1_000
_CHANGEABLE = ("description", "tags", "columns", "publish_on_write")

Context = grpc.ServicerContext


class FeatureServicer:
    """All methods of the service. `history` opens the offline store when it is first asked."""

    def __init__(
        self,
        database: Database,
        store: MetadataStore,
        history: Callable[[], History],
        online: OnlineStore,
        sweeper: Sweeper,
        authorizer: Authorizer,
    ) -> None:
        self.database = database  # `mutation` looks for it here
        self._store = store
        self._history = history
        self._online = online
        self._features = OnlineFeatures(store, online)
        self._sweeper = sweeper
        self._authorizer = authorizer

    @mutation
    def CreateTable(self, request: pb.CreateTableRequest, context: Context) -> pb.Table:
        asked = request.table
        table, schema = names.table_id(asked.name, "table.name"), wire.schema(asked)
        check(asked.name, schema)
        return wire.to_table(
            self._store.add_table(
                table,
                schema,
                description=asked.description,
                tags=asked.tags,
                publish_on_write=asked.publish_on_write,
            )
        )

    def GetTable(self, request: pb.GetTableRequest, context: Context) -> pb.Table:
        return wire.to_table(self._store.table(names.table_id(request.name)))

    def ListTables(self, request: pb.ListTablesRequest, context: Context) -> pb.ListTablesResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        found = self._store.tables(after, size + 1)
        token = paging.token_of(request, [found[size - 1].id] if len(found) > size else None)
        return pb.ListTablesResponse(tables=map(wire.to_table, found[:size]), next_page_token=token)

    @mutation
    def UpdateTable(self, request: pb.UpdateTableRequest, context: Context) -> pb.Table:
        asked, fields = request.table, chosen(request.update_mask, request.table, _CHANGEABLE)
        return wire.to_table(
            self._store.update_table(
                names.table_id(asked.name, "table.name"),
                wire.revision(asked.etag, asked.name),
                description=asked.description if "description" in fields else None,
                tags=asked.tags if "tags" in fields else None,
                columns=wire.columns(asked.columns) if "columns" in fields else None,
                publish_on_write=asked.publish_on_write if "publish_on_write" in fields else None,
            )
        )

    @mutation
    def DeleteTable(self, request: pb.DeleteTableRequest, context: Context) -> Empty:
        gone = self._store.delete_table(names.table_id(request.name))
        self.database.after_commit(lambda: self._sweeper.table_gone(gone.uid))
        return Empty()

    def ListTableVersions(self, request: pb.ListTableVersionsRequest, context: Context) -> pb.ListTableVersionsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (before,) = paging.key_of(request, paging.NUMBER) or (None,)
        found = self._store.versions(names.table_id(request.parent, "parent"), before, size + 1)
        token = paging.token_of(request, [found[size - 1].number] if len(found) > size else None)
        return pb.ListTableVersionsResponse(table_versions=map(wire.to_version, found[:size]), next_page_token=token)

    def WriteTable(self, requests: Iterator[pb.WriteTableRequest], context: Context) -> pb.TableVersion:
        from fivefold_features import writing

        header, pieces = opened(requests)
        table = self._store.table(names.table_id(header.table, "header.table"))
        written = writing.stage(self._history(), table, wire.MODE[header.mode], pieces)
        with self._sweeper.untaken(Streamed(header, written.digest, (table, written), written.key)) as streamed:
            answer = self._add_version(streamed, context)
        if table.publish_on_write:
            self._publisher().catch_up(table.id)
        return answer

    @mutation
    def _add_version(self, request: Streamed, context: Context) -> pb.TableVersion:
        table, written = request.take()
        return wire.to_version(self._store.add_version(table, written))

    def ReadTable(self, request: pb.ReadTableRequest, context: Context) -> Iterator[pb.ReadTableResponse]:
        from fivefold_features import writing

        (snapshot,) = self._store.snapshot([names.table_id(request.name)], request.version)
        for piece in writing.read(self._history(), snapshot, request.columns):
            yield pb.ReadTableResponse(arrow=piece)

    def PublishTable(self, request: pb.PublishTableRequest, context: Context) -> pb.PublishTableResponse:
        table = names.table_id(request.name)
        moment = wire.micros(request.as_of) if request.HasField("as_of") else None
        return once(
            self.database,
            request,
            lambda: wire.to_publication(table, *self._publisher().publish(table, moment=moment, reset=request.reset)),
        )

    @mutation
    def CreateFeatureSpec(self, request: pb.CreateFeatureSpecRequest, context: Context) -> pb.FeatureSpec:
        asked = request.feature_spec
        spec, lookups = names.spec_id(asked.name, "feature_spec.name"), wire.lookups(asked)
        for table in dict.fromkeys(lookup.table for lookup in lookups):
            self._authorizer.require(names.table_name(table), Level.CAN_READ)
        return wire.to_spec(self._store.add_spec(spec, asked.description, lookups))

    def GetFeatureSpec(self, request: pb.GetFeatureSpecRequest, context: Context) -> pb.FeatureSpec:
        return wire.to_spec(self._store.spec(names.spec_id(request.name)))

    def ListFeatureSpecs(self, request: pb.ListFeatureSpecsRequest, context: Context) -> pb.ListFeatureSpecsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        found = self._store.specs(after, size + 1)
        token = paging.token_of(request, [found[size - 1].id] if len(found) > size else None)
        return pb.ListFeatureSpecsResponse(feature_specs=map(wire.to_spec, found[:size]), next_page_token=token)

    def CreateTrainingSet(self, requests: Iterator[pb.CreateTrainingSetRequest], context: Context) -> pb.TrainingSet:
        from fivefold_features import training

        header, pieces = opened(requests)
        asked = header.training_set
        spec = self._store.spec(names.spec_id(asked.spec, "header.training_set.spec"))
        made = training.build(
            self._history(),
            spec,
            self._store.snapshot([lookup.table for lookup in spec.lookups]),
            training.Asked(asked.timestamp_column, tuple(asked.labels), tuple(asked.exclude_columns)),
            pieces,
        )
        with self._sweeper.untaken(Streamed(header, made.label_digest, made, made.key)) as streamed:
            return self._add_training_set(streamed, context)

    @mutation
    def _add_training_set(self, request: Streamed, context: Context) -> pb.TrainingSet:
        return wire.to_training_set(self._store.add_training_set(request.take()))

    def GetTrainingSet(self, request: pb.GetTrainingSetRequest, context: Context) -> pb.TrainingSet:
        return wire.to_training_set(self._store.training_set(names.training_set_id(request.name)))

    def ReadTrainingSet(
        self, request: pb.ReadTrainingSetRequest, context: Context
    ) -> Iterator[pb.ReadTrainingSetResponse]:
        from fivefold_features import training

        record = self._store.training_set(names.training_set_id(request.name))
        for piece in training.read(self._history(), record):
            yield pb.ReadTrainingSetResponse(arrow=piece)

    def GetOnlineFeatures(self, request: pb.GetOnlineFeaturesRequest, context: Context) -> pb.GetOnlineFeaturesResponse:
        plan, rows, answer = self._features.get(
            names.spec_id(request.spec, "spec"),
            wire.key_columns(request.keys),
            wire.micros(request.as_of) if request.HasField("as_of") else clock.micros(self.database.clock.now()),
        )
        return wire.to_answer(plan, rows, answer, statuses=request.with_statuses, event_times=request.with_event_times)

    def _publisher(self) -> Publisher:
        from fivefold_features.publishing import Publisher

        return Publisher(self._store, self._history(), self._online)
