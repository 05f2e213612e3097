"""The RPCs about online values."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import grpc

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import insight_wire, names, wire
from fivefold_features.online import Published
from fivefold_features.onlinefeatures import OnlineFeatures
from fivefold_features.store import MetadataStore
from fivefold_runtime import clock
from fivefold_runtime.mutation import once
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History
    from fivefold_features.publishing import Publisher

_SAMPLE = 1000  # keys that are checked when the caller names none

Context = grpc.ServicerContext


@lru_cache(maxsize=4096)
def _spec_id(name: str) -> str:
    return names.spec_id(name, "spec")


class OnlineCalls:
    """Part of FeatureServicer."""

    database: Database
    _features: OnlineFeatures
    _publisher: Callable[[], Publisher]
    _store: MetadataStore
    _history: Callable[[], History]

    def PublishTable(self, request: pb.PublishTableRequest, context: Context) -> pb.PublishTableResponse:
        table = names.table_id(request.name)
        asked = wire.publication(request)
        return once(self.database, request, lambda: wire.to_publication(table, *self._published(table, asked)))

    def _published(self, table: str, asked: wire.Publication) -> tuple[int, Published]:
        publisher = self._publisher()
        if asked.incremental:
            return publisher.publish_new(table)
        return publisher.publish(table, moment=asked.moment, reset=asked.reset)

    def GetOnlineFeatures(self, request: pb.GetOnlineFeaturesRequest, context: Context) -> pb.GetOnlineFeaturesResponse:
        prepared, rows, answer = self._features.get(
            _spec_id(request.spec),
            wire.key_columns(request.keys),
            wire.micros(request.as_of) if request.HasField("as_of") else clock.micros(self.database.clock.now()),
            statuses=request.with_statuses,
            event_times=request.with_event_times,
        )
        return wire.to_answer(prepared, rows, answer)

    def CheckConsistency(self, request: pb.CheckConsistencyRequest, context: Context) -> pb.CheckConsistencyResponse:
        from fivefold_features.consistency import Checker

        checker = Checker(self._store, self._history(), self._features)
        spec = _spec_id(request.spec)
        moment = wire.micros(request.as_of) if request.HasField("as_of") else clock.micros(self.database.clock.now())
        keys = wire.key_columns(request.keys) or checker.sample(spec, request.sample or _SAMPLE)
        return insight_wire.to_consistency(checker.check(spec, keys, moment), moment)
