"""The RPCs about training sets. Their imports of Arrow and Polars stand inside methods, see servicer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import insight_wire, names, searches, wire
from fivefold_features.functions import Installed
from fivefold_features.store import MetadataStore
from fivefold_features.streams import Streamed, opened
from fivefold_features.sweeping import Sweeper
from fivefold_runtime import paging
from fivefold_runtime.mutation import mutation
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History

_PAGE, _LARGEST_PAGE = 100, 1_000

Context = grpc.ServicerContext


class TrainingCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _sweeper: Sweeper
    _memory_bytes: int
    _functions: Installed

    def CreateTrainingSet(self, requests: Iterator[pb.CreateTrainingSetRequest], context: Context) -> pb.TrainingSet:
        from fivefold_features import training
        from fivefold_features.labels import Asked

        header, pieces = opened(requests)
        asked = header.training_set
        spec = self._store.spec(names.spec_id(asked.spec, "header.training_set.spec"))
        made = training.build(
            self._history(),
            spec,
            self._store.snapshot([lookup.table for lookup in spec.lookups]),
            Asked(asked.timestamp_column, tuple(asked.labels), tuple(asked.exclude_columns)),
            pieces,
            self._memory_bytes,
            self._functions,
        )
        with self._sweeper.untaken(Streamed(header, made.label_digest, made, (made.key, made.labels_key))) as streamed:
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

    def ListTrainingSets(self, request: pb.ListTrainingSetsRequest, context: Context) -> pb.ListTrainingSetsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        search = searches.of_training_sets(request.filter, request.order_by)
        found = self._store.training_sets(search, paging.key_of(request, *search.kinds), size + 1)
        token = paging.token_of(request, search.key(found[size - 1]) if len(found) > size else None)
        return pb.ListTrainingSetsResponse(training_sets=map(wire.to_training_set, found[:size]), next_page_token=token)

    @mutation
    def DeleteTrainingSet(self, request: pb.DeleteTrainingSetRequest, context: Context) -> Empty:
        self._store.delete_training_set(names.training_set_id(request.name))
        return Empty()

    def VerifyTrainingSet(self, request: pb.VerifyTrainingSetRequest, context: Context) -> pb.VerifyTrainingSetResponse:
        from fivefold_features.verifying import Verifier

        record = self._store.training_set(names.training_set_id(request.name))
        return insight_wire.to_verification(
            Verifier(self._store, self._history(), self._memory_bytes, self._functions).verify(record)
        )
