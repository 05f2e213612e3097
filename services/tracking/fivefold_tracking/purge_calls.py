"""The RPCs that delete for good."""

from __future__ import annotations

from google.protobuf import empty_pb2

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.sql import Database
from fivefold_tracking import names, wire
from fivefold_tracking.store.artifact_protocol import PurgeStore
from fivefold_tracking.sweeping import Sweeper


class PurgeCalls:
    """Part of TrackingServicer."""

    database: Database
    _purges: PurgeStore
    _sweeper: Sweeper

    def PurgeRuns(self, request, context):
        experiment = names.experiment_number(request.experiment, "experiment")
        before = wire.to_micros(request, "deleted_before", "deleted_before")
        runs, models = _ids(request.names)

        def purge():
            answer = pb.PurgeRunsResponse(
                purged_runs=self._purges.mark_runs(experiment, before, runs),
                purged_logged_models=self._purges.mark_models(experiment, before, models),
            )
            self._sweeper.wake()
            return answer

        return once(self.database, request, purge)

    @mutation
    def PurgeExperiment(self, request, context):
        self._purges.mark_experiment(names.experiment_number(request.name))
        self.database.after_commit(self._sweeper.wake)
        return empty_pb2.Empty()


def _ids(asked):
    """Returns the ids of the runs and of the logged models among names, None for both when there are no names."""
    if not asked:
        return None, None
    runs = {names.run_id(name, "names") for name in asked if not names.is_logged_model(name)}
    return runs, {names.logged_model_id(name, "names") for name in asked if names.is_logged_model(name)}
