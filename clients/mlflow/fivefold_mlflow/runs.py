"""Runs of MLflow's tracking store: one RPC each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from mlflow.entities import Run, RunInfo, RunTag, ViewType, _DatasetSummary
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.validation import _validate_tag

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.base import Base, about_run, check_max_results, filled, no_collection, parsed_id, run_name
from fivefold_mlflow.entities import run_of, stamp_of, status_to_wire
from fivefold_mlflow.experiments import VIEWS
from fivefold_mlflow.failures import Failure, invalid
from fivefold_mlflow.marks import fields_of
from fivefold_mlflow.orders import as_mlflow_says, run_order

_UNKNOWN = "unknown"  # what MLflow's client says where no tag names the user
_ENDED = frozenset({pb.RUN_STATUS_FINISHED, pb.RUN_STATUS_FAILED, pb.RUN_STATUS_KILLED})
_MOST_EXPERIMENTS = 1000  # of one search


class Runs(Base):
    """From the start of a run to its end, and searches."""

    def create_run(
        self,
        experiment_id: str,
        user_id: str | None,
        start_time: int | None,
        tags: Iterable[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        marks = {tag.key: tag.value for tag in (_validate_tag(tag.key, str(tag.value)) for tag in tags or ())}
        tagged = marks.get(MLFLOW_RUN_NAME)
        if run_name and tagged and run_name != tagged:
            raise invalid(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
                f"different values (run_name='{run_name}', mlflow.runName='{tagged}')."
            )
        marks[MLFLOW_RUN_NAME] = run_name or tagged or _generate_random_name()
        run = pb.Run(
            experiment=f"experiments/{self._number(experiment_id)}",
            display_name=marks[MLFLOW_RUN_NAME],
            user="" if user_id in (None, _UNKNOWN) else user_id,
            start_time=None if start_time is None else stamp_of(start_time),
            tags=marks,
            **fields_of(marks),
        )
        return self._run(self._created(run, experiment_id))

    def get_run(self, run_id: str) -> Run:
        with about_run(run_id):
            return self._run(self._tracking.ask("GetRun", pb.GetRunRequest(name=run_name(run_id))))

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Changes what is not None. Of a run that has not ended Fivefold keeps no end time."""
        changed, paths = pb.Run(name=_name(run_id)), []
        if run_status is not None:
            changed.status = status_to_wire(run_status)
            paths.append("status")
        if end_time is not None and (run_status is None or changed.status in _ENDED):
            changed.end_time.CopyFrom(stamp_of(end_time))
            paths.append("end_time")
        if run_name:
            changed.display_name = run_name
            changed.tags[MLFLOW_RUN_NAME] = run_name
            paths += ["display_name", f"tags.{MLFLOW_RUN_NAME}"]
        return self._update_run(run_id, changed, paths).info if paths else self.get_run(run_id).info

    def delete_run(self, run_id: str) -> None:
        """Deletes a run; one that is deleted stays so."""
        with about_run(run_id):
            try:
                self._tracking.change("DeleteRun", pb.DeleteRunRequest(name=run_name(run_id)))
            except Failure as error:
                if error.reason != "RUN_DELETED":
                    raise

    def restore_run(self, run_id: str) -> None:
        with about_run(run_id):
            self._tracking.change("UndeleteRun", pb.UndeleteRunRequest(name=run_name(run_id)))

    def _search_runs(
        self,
        experiment_ids: Iterable[str],
        filter_string: str | None,
        run_view_type: int,
        max_results: int | None,
        order_by: list[str] | None,
        page_token: str | None,
    ) -> tuple[list[Run], str | None]:
        """Returns a page; one RPC for each thousand runs of it."""
        check_max_results(max_results, optional=True)
        request = pb.SearchRunsRequest(
            experiments=self._experiments(experiment_ids),
            filter=filter_string or "",
            order_by=run_order(order_by),
            view=VIEWS[run_view_type or ViewType.ACTIVE_ONLY],
            page_token=page_token or "",
            skip_total_size=True,
        )
        if not request.experiments:
            SearchUtils.parse_search_filter(filter_string)
            return [], None
        with as_mlflow_says(SearchUtils.parse_search_filter, filter_string):
            found, token = filled(self._search, request, "runs", max_results)
        shown = {name: self._shown(name) for name in {run.experiment for run in found}}
        with no_collection(len(found)):
            runs = [run_of(run, shown[run.experiment], self._run_files(run.experiment, run.name[5:])) for run in found]
        return runs, token

    def _search_datasets(self, experiment_ids: Iterable[str]) -> list[_DatasetSummary]:
        """Returns what MLflow's own pages show of datasets."""
        request = pb.ListDatasetsRequest(experiments=self._experiments(experiment_ids))
        if not request.experiments:
            return []
        found, _ = filled(lambda asked: self._tracking.ask("ListDatasets", asked), request, "datasets", 1000)
        return [
            _DatasetSummary(self._shown(used.experiment), used.dataset, used.digest, context)
            for used in found
            for context in (used.contexts or [None])
        ]

    def _experiments(self, ids: Iterable[str]) -> list[str]:
        """Returns the names of experiments; ids that cannot exist have no runs."""
        numbers = {parsed_id(found) for found in ids}
        if len(numbers) > _MOST_EXPERIMENTS:
            raise invalid(f"A search takes at most {_MOST_EXPERIMENTS} experiments. Got {len(numbers)}.")
        return [f"experiments/{self._number(number)}" for number in sorted(numbers) if 0 <= number < 10**18]

    def _search(self, request: pb.SearchRunsRequest) -> pb.SearchRunsResponse:
        return self._tracking.ask("SearchRuns", request)

    def _created(self, run: pb.Run, experiment_id: str) -> pb.Run:
        missing = f"No Experiment with id={experiment_id} exists"
        try:
            return self._tracking.change("CreateRun", pb.CreateRunRequest(run=run))
        except Failure as error:
            parent_at_fault = error.reason == "RUN_DELETED" or (
                error.reason == "RESOURCE_NOT_FOUND" and run.parent_run in error.facts.values()
            )
            if run.parent_run and parent_at_fault:
                # MLflow takes any text as a parent: then it is a tag only.
                run.parent_run = ""
                return self._created(run, experiment_id)
            if error.reason == "RESOURCE_NOT_FOUND":
                raise error.saying(missing) from error
            if error.reason == "EXPERIMENT_DELETED":
                message = f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted."
                raise error.saying(message) from error
            raise

    def _update_run(self, run_id: str, changed: pb.Run, paths: list[str]) -> Run:
        with about_run(run_id):
            request = pb.UpdateRunRequest(run=changed, update_mask=FieldMask(paths=paths))
            return self._run(self._tracking.change("UpdateRun", request))

    def _run(self, message: pb.Run) -> Run:
        files = self._run_files(message.experiment, message.name[5:])
        return run_of(message, self._shown(message.experiment), files)


def _name(run_id: Any) -> str:
    return run_name(run_id)
