"""MLflow's tracking store over Fivefold's tracking service.

What MLflow's REST store has and Fivefold does not (traces, assessments, scorers, evaluation datasets, …) says so with
the error code NOT_IMPLEMENTED.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.async_logging.async_logging_queue import AsyncLoggingQueue

from fivefold_mlflow.base import DEFAULT
from fivefold_mlflow.batches import Batches
from fivefold_mlflow.experiments import Experiments
from fivefold_mlflow.failures import NotSupported, refuse
from fivefold_mlflow.histories import Histories
from fivefold_mlflow.models import Models

#: Methods that work as MLflow wrote them, on top of ours.
_INHERITED = frozenset(
    {
        "end_async_logging",
        "filter_active_experiment_ids",
        "flush_async_logging",
        "log_batch_async",
        "log_metric_async",
        "log_param_async",
        "search_runs",
        "set_model_versions_tags",
        "set_tag_async",
        "shut_down_async_logging",
        "supports_trace_archival",
        "supports_workspaces",
    }
)


class TrackingStore(Experiments, Batches, Histories, Models, AbstractStore):
    """One for each URI and process. Safe for use by many threads, and in a child after a fork."""

    DEFAULT_EXPERIMENT_ID = DEFAULT

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        """Takes `fivefold://host:port`. `artifact_uri` is not used: files are where the experiment says."""
        AbstractStore.__init__(self)
        Experiments.__init__(self, store_uri)
        self.store_uri = store_uri
        _stores.add(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the queue of asynchronous logging behind, which holds threads."""
        return {"store_uri": self.store_uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store_uri"])  # type: ignore[misc]

    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        """Raises NotSupported."""
        raise NotSupported("link_traces_to_run is not supported by Fivefold")


_stores: WeakSet[TrackingStore] = WeakSet()


def _after_fork() -> None:
    """Gives each store of a child a queue of its own: the threads of the parent's are not there, and it would hang."""
    for store in _stores:
        store._async_logging_queue = AsyncLoggingQueue(logging_func=store.log_batch)


os.register_at_fork(after_in_child=_after_fork)
refuse(TrackingStore, AbstractStore, RestStore, keep=_INHERITED)
