"""The RPCs that look at tables from outside: profile, drift, lineage. See servicer for the imports inside methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.store import MetadataStore
from fivefold_runtime.errors import Unimplemented
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History

Context = grpc.ServicerContext


class InsightCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _authorizer: Authorizer

    def ProfileTable(self, request: pb.ProfileTableRequest, context: Context) -> pb.TableProfile:
        raise Unimplemented("ProfileTable is not served yet")

    def CompareTableVersions(
        self, request: pb.CompareTableVersionsRequest, context: Context
    ) -> pb.CompareTableVersionsResponse:
        raise Unimplemented("CompareTableVersions is not served yet")

    def RecordConsumer(self, request: pb.RecordConsumerRequest, context: Context) -> pb.RecordConsumerResponse:
        raise Unimplemented("RecordConsumer is not served yet")

    def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:
        raise Unimplemented("GetLineage is not served yet")
