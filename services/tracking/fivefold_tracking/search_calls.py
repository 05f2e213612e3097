"""The RPCs that look at, or change, many runs at once."""

from __future__ import annotations

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import calls, paging
from fivefold_runtime.clock import micros
from fivefold_runtime.grants import Level
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_tracking import comparing, exporting, names, pages, rights, wire
from fivefold_tracking.store.protocol import RunStore

_MOST_CHANGED = 10_000  # runs of one call


class SearchCalls:
    """Part of TrackingServicer."""

    database: Database
    _authorizer: Authorizer
    _runs: RunStore

    def SearchRuns(self, request, context):
        query = wire.to_query(request, rights.readable(self._authorizer, request.experiments))
        size = paging.size(request.page_size, default=100, largest=1000)
        page = self._runs.search(query, pages.after_run(request, query.order), size)
        return pb.SearchRunsResponse(
            runs=map(wire.of_run, page.items),
            next_page_token=paging.token_of(request, page.more),
            total_size=page.total,
        )

    def ExportRuns(self, request, context):
        query = wire.to_export(request, rights.readable(self._authorizer, request.experiments))
        keys = self._runs.keys(query, exporting.MOST_KEYS + 1)
        exporting.check_keys(keys)
        runs = self._pages(query, exporting.rows_at_once(keys), request.max_runs)
        for data in exporting.table(keys, runs):
            yield pb.ExportRunsResponse(data=data)

    def CompareRuns(self, request, context):
        for name in dict.fromkeys(request.runs):
            self._authorizer.require(name, Level.CAN_READ)
        runs = [self._runs.get(names.run_id(name, f"runs[{index}]")) for index, name in enumerate(request.runs)]
        rows = comparing.compare(runs, equal=request.show_equal)
        return pb.CompareRunsResponse(
            display_names=[run.display_name for run in runs], rows=map(wire.of_compared, rows)
        )

    @mutation
    def DeleteRuns(self, request, context):
        experiment = names.experiment_number(request.experiment, "experiment")
        until = wire.to_micros(request, "started_until", "started_until") or 0
        limit = min(request.max_runs or _MOST_CHANGED, _MOST_CHANGED)
        now = micros(self.database.clock.now())
        return pb.DeleteRunsResponse(deleted_count=self._runs.delete_started(experiment, until, limit, now))

    @mutation
    def UndeleteRuns(self, request, context):
        experiment = names.experiment_number(request.experiment, "experiment")
        since = wire.to_micros(request, "deleted_since", "deleted_since") or 0
        limit = min(request.max_runs or _MOST_CHANGED, _MOST_CHANGED)
        return pb.UndeleteRunsResponse(restored_count=self._runs.undelete_since(experiment, since, limit))

    def _pages(self, query, size, most):
        """Yields the runs of a query, a page at a time, each read in a transaction of its own."""
        after, left = None, most or None
        while True:
            calls.check_deadline()
            page = self._runs.search(query, after, size if left is None else min(size, left))
            if page.items:
                yield page.items
            after = page.more
            left = None if left is None else left - len(page.items)
            if after is None or left == 0:
                return
