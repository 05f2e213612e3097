"""The RPCs that look at tables from outside: profile, drift, lineage. See servicer for the imports inside methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import grpc

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import insight_wire, lineage, names
from fivefold_features.errors import NotPublished
from fivefold_features.lineage import Sight
from fivefold_features.store import MetadataStore
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import NotFound
from fivefold_runtime.levels import Level
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History

_TOP, _EDGES = 10, 1000

Context = grpc.ServicerContext


class InsightCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _authorizer: Authorizer

    def ProfileTable(self, request: pb.ProfileTableRequest, context: Context) -> pb.TableProfile:
        from fivefold_features import profiling, reading

        table = names.table_id(request.name)
        (snapshot,) = self._store.snapshot([table], request.version)
        if not snapshot.version:
            raise NotPublished(f"{request.name} has no version yet; write rows first", table=request.name)
        columns = reading.columns_of(snapshot, request.columns)
        found = profiling.profile(self._history(), snapshot, columns, request.top_values or _TOP)
        return insight_wire.to_profile(table, snapshot.version, found)

    def CompareTableVersions(
        self, request: pb.CompareTableVersionsRequest, context: Context
    ) -> pb.CompareTableVersionsResponse:
        from fivefold_features import drift, reading

        table = names.table_id(request.name)
        (base,) = self._store.snapshot([table], request.base_version)
        (other,) = self._store.snapshot([table], request.version)
        columns = reading.columns_of(other, request.columns or other.table.schema.features)
        found = drift.compare(self._history(), base, other, columns)
        return insight_wire.to_comparison(table, base.version, other.version, found)

    @mutation
    def RecordConsumer(self, request: pb.RecordConsumerRequest, context: Context) -> pb.RecordConsumerResponse:
        self._store.add_consumer(names.source(request.source), names.consumer(request.consumer))
        return pb.RecordConsumerResponse()

    def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:
        sight = Sight(caller().subject, self._readable, self._edits)
        limit = request.max_edges or _EDGES
        name = request.name
        if names.source_kind(name) is None:
            names.consumer(name, "name")
        else:
            self._authorizer.require(name, Level.CAN_READ)
            self._store.require_source(name)
        upstream, more_up = lineage.upstream(self._store.makings_of, name, limit, sight)
        downstream, more_down = lineage.downstream(self._store.made_from, name, limit, sight)
        if names.source_kind(name) is None and not upstream:
            raise NotFound.of(name)
        return insight_wire.to_lineage(upstream, downstream, truncated=more_up or more_down)

    def _readable(self, resources: Sequence[str]) -> set[str]:
        return set(self._authorizer.visible(resources, lambda name: name))

    def _edits(self, resource: str) -> bool:
        return self._authorizer.level(resource) >= Level.CAN_EDIT
