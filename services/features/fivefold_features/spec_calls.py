"""The RPCs about feature specs and on-demand functions."""

from __future__ import annotations

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names, searches, wire
from fivefold_features.functions import Installed
from fivefold_features.onlinefeatures import OnlineFeatures
from fivefold_features.store import MetadataStore
from fivefold_runtime import paging
from fivefold_runtime.levels import Level
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

_PAGE, _LARGEST_PAGE = 100, 1_000

Context = grpc.ServicerContext


class SpecCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _authorizer: Authorizer
    _functions: Installed
    _features: OnlineFeatures

    @mutation
    def CreateFeatureSpec(self, request: pb.CreateFeatureSpecRequest, context: Context) -> pb.FeatureSpec:
        asked = request.feature_spec
        spec, lookups = names.spec_id(asked.name, "feature_spec.name"), wire.lookups(asked)
        for table in dict.fromkeys(lookup.table for lookup in lookups):
            self._authorizer.require(names.table_name(table), Level.CAN_READ)
        return wire.to_spec(
            self._store.add_spec(
                spec,
                asked.description,
                lookups,
                tags=asked.tags,
                functions=wire.functions(asked),
                installed=self._functions,
            )
        )

    def GetFeatureSpec(self, request: pb.GetFeatureSpecRequest, context: Context) -> pb.FeatureSpec:
        return wire.to_spec(self._store.spec(names.spec_id(request.name)))

    def ListFeatureSpecs(self, request: pb.ListFeatureSpecsRequest, context: Context) -> pb.ListFeatureSpecsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        search = searches.of_specs(request.filter, request.order_by)
        found = self._store.specs(search, paging.key_of(request, *search.kinds), size + 1)
        token = paging.token_of(request, search.key(found[size - 1]) if len(found) > size else None)
        return pb.ListFeatureSpecsResponse(feature_specs=map(wire.to_spec, found[:size]), next_page_token=token)

    @mutation
    def DeleteFeatureSpec(self, request: pb.DeleteFeatureSpecRequest, context: Context) -> Empty:
        spec = names.spec_id(request.name)
        self._store.delete_spec(spec)
        self.database.after_commit(lambda: self._features.forget(spec))
        return Empty()

    def ListFunctions(self, request: pb.ListFunctionsRequest, context: Context) -> pb.ListFunctionsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        after = paging.key_of(request, paging.TEXT, paging.TEXT) or ("", "")
        found = self._functions.listed(after, size + 1)
        last = found[size - 1] if len(found) > size else None
        token = paging.token_of(request, [last.module, last.name] if last else None)
        return pb.ListFunctionsResponse(functions=map(wire.to_function, found[:size]), next_page_token=token)
