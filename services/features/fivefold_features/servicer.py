"""Serves fivefold.features.v1: translates, calls, translates. The methods stand in the `…_calls` modules.

What reads or writes rows in bulk needs Arrow and Polars. Their 70 MB are loaded by the first call that wants them, so
that a server that is idle, or only answers online, stays small: hence the imports inside methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fivefold_features.functions import Installed
from fivefold_features.insight_calls import InsightCalls
from fivefold_features.online import OnlineStore
from fivefold_features.online_calls import OnlineCalls
from fivefold_features.onlinefeatures import OnlineFeatures
from fivefold_features.spec_calls import SpecCalls
from fivefold_features.store import MetadataStore
from fivefold_features.sweeping import Sweeper
from fivefold_features.table_calls import TableCalls
from fivefold_features.training_calls import TrainingCalls
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.compacting import Compactor
    from fivefold_features.offline import History
    from fivefold_features.publishing import Publisher

SERVICE = "fivefold.features.v1.FeatureService"


class FeatureServicer(TableCalls, SpecCalls, TrainingCalls, OnlineCalls, InsightCalls):
    """All methods of the service."""

    def __init__(
        self,
        database: Database,
        store: MetadataStore,
        history: Callable[[], History],
        online: OnlineStore,
        sweeper: Sweeper,
        authorizer: Authorizer,
        *,
        memory_bytes: int,
        functions: Installed | None = None,
    ) -> None:
        """`history` opens the offline store when it is first asked; `memory_bytes`: about what one step may take."""
        self.database = database  # `mutation` looks for it here
        self._store = store
        self._history = history
        self._online = online
        self._functions = functions or Installed()
        self._features = OnlineFeatures(store, online, self._functions)
        self._sweeper = sweeper
        self._authorizer = authorizer
        self._publisher = self._opened_publisher
        self._compactor = self.compactor
        self._memory_bytes = memory_bytes

    def compactor(self) -> Compactor:
        from fivefold_features.compacting import Compactor

        return Compactor(self._store, self._history(), self._memory_bytes)

    def _opened_publisher(self) -> Publisher:
        from fivefold_features.publishing import Publisher

        return Publisher(self._store, self._history(), self._online)
