"""The RPCs about training sets. Their imports of Arrow and Polars stand inside methods, see servicer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names, wire
from fivefold_features.store import MetadataStore
from fivefold_features.streams import Streamed, opened
from fivefold_features.sweeping import Sweeper
from fivefold_runtime.errors import Unimplemented
from fivefold_runtime.mutation import mutation
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History

Context = grpc.ServicerContext


class TrainingCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _sweeper: Sweeper

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

    def ListTrainingSets(self, request: pb.ListTrainingSetsRequest, context: Context) -> pb.ListTrainingSetsResponse:
        raise Unimplemented("ListTrainingSets is not served yet")

    def DeleteTrainingSet(self, request: pb.DeleteTrainingSetRequest, context: Context) -> Empty:
        raise Unimplemented("DeleteTrainingSet is not served yet")

    def VerifyTrainingSet(self, request: pb.VerifyTrainingSetRequest, context: Context) -> pb.VerifyTrainingSetResponse:
        raise Unimplemented("VerifyTrainingSet is not served yet")
