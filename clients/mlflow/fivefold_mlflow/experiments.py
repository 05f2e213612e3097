"""Experiments of MLflow's tracking store."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask
from mlflow.entities import Experiment, ExperimentTag, LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.utils.search_utils import SearchExperimentsUtils
from mlflow.utils.uri import resolve_uri_if_local
from mlflow.utils.validation import (
    _validate_experiment_artifact_location_length,
    _validate_experiment_name,
    _validate_experiment_tag,
)

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.base import Base, check_max_results, filled
from fivefold_mlflow.entities import texts
from fivefold_mlflow.failures import Failure, invalid, not_found
from fivefold_mlflow.orders import as_mlflow_says, quoted

VIEWS = {
    ViewType.ACTIVE_ONLY: pb.VIEW_ACTIVE,
    ViewType.DELETED_ONLY: pb.VIEW_DELETED,
    ViewType.ALL: pb.VIEW_ALL,
}


class Experiments(Base):
    """One RPC each, but for a name that is not there."""

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Iterable[ExperimentTag] | None = None
    ) -> str:
        _validate_experiment_name(name)
        if artifact_location:
            artifact_location = resolve_uri_if_local(artifact_location)
            _validate_experiment_artifact_location_length(artifact_location)
        for tag in tags or ():
            _validate_experiment_tag(tag.key, tag.value)
        new = pb.Experiment(display_name=name, artifact_location=artifact_location or "", tags=texts(tags))
        if name == Experiment.DEFAULT_EXPERIMENT_NAME:
            self._default_number()
        try:
            made = self._tracking.change("CreateExperiment", pb.CreateExperimentRequest(experiment=new))
        except Failure as error:
            if error.reason == "RESOURCE_EXISTS":
                raise error.saying(f"Experiment(name={name}) already exists. Error: {error.message}") from error
            raise
        return self._learn(made)

    def get_experiment(self, experiment_id: str) -> Experiment:
        name = f"experiments/{self._number(experiment_id)}"
        missing = f"No Experiment with id={experiment_id} exists"
        return self._experiment(
            self._tracking.ask("GetExperiment", pb.GetExperimentRequest(name=name), missing=missing)
        )

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """Returns the active experiment of a name, else the one deleted last, else None."""
        if experiment_name == Experiment.DEFAULT_EXPERIMENT_NAME:
            self._default_number()
        try:
            request = pb.LookupExperimentRequest(display_name=experiment_name)
            return self._experiment(self._tracking.ask("LookupExperiment", request))
        except Failure as error:
            if error.reason == "RESOURCE_NOT_FOUND":
                return self._deleted(experiment_name)
            raise

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int | None = SEARCH_MAX_RESULTS_DEFAULT,
        filter_string: str | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        check_max_results(max_results)
        self._default_number()
        request = pb.ListExperimentsRequest(
            view=VIEWS[view_type],
            filter=filter_string or "",
            order_by=", ".join(map(_order, order_by or ())),
            page_token=page_token or "",
        )
        with as_mlflow_says(SearchExperimentsUtils.parse_search_filter, filter_string):
            found, token = filled(self._list_experiments, request, "experiments", max_results)
        return PagedList([self._experiment(message) for message in found], token)

    def delete_experiment(self, experiment_id: str) -> None:
        name = f"experiments/{self._number(experiment_id)}"
        missing = f"No Experiment with id={experiment_id} exists"
        try:
            self._tracking.change("DeleteExperiment", pb.DeleteExperimentRequest(name=name), missing=missing)
        except Failure as error:
            raise not_found(missing) if error.reason == "EXPERIMENT_DELETED" else error from error

    def restore_experiment(self, experiment_id: str) -> None:
        name = f"experiments/{self._number(experiment_id)}"
        missing = f"No Experiment with id={experiment_id} exists"
        self._tracking.change("UndeleteExperiment", pb.UndeleteExperimentRequest(name=name), missing=missing)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        _validate_experiment_name(new_name)
        changed = pb.Experiment(name=f"experiments/{self._number(experiment_id)}", display_name=new_name)
        try:
            self._update_experiment(experiment_id, changed, "display_name")
        except Failure as error:
            if error.reason == "EXPERIMENT_DELETED":
                raise MlflowException("Cannot rename a non-active experiment.", INVALID_STATE) from error
            raise

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        _validate_experiment_tag(tag.key, tag.value)
        changed = pb.Experiment(name=f"experiments/{self._number(experiment_id)}", tags=texts([tag]))
        self._update_active(experiment_id, changed, f"tags.{tag.key}")

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Reads the experiment first, since MLflow refuses to delete a tag that is not there."""
        experiment = self.get_experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise _inactive(experiment_id)
        if key not in experiment.tags:
            raise not_found(f"No tag with name: {key} in experiment with id {experiment_id}")
        changed = pb.Experiment(name=f"experiments/{self._number(experiment_id)}")
        self._update_active(experiment_id, changed, f"tags.{key}")

    def _deleted(self, name: str) -> Experiment | None:
        request = pb.ListExperimentsRequest(view=pb.VIEW_DELETED, filter=f"name = {quoted(name)}", page_size=1)
        found = self._list_experiments(request).experiments
        return self._experiment(found[0]) if found else None

    def _list_experiments(self, request: pb.ListExperimentsRequest) -> pb.ListExperimentsResponse:
        return self._tracking.ask("ListExperiments", request)

    def _update_active(self, experiment_id: str, changed: pb.Experiment, path: str) -> None:
        try:
            self._update_experiment(experiment_id, changed, path)
        except Failure as error:
            if error.reason == "EXPERIMENT_DELETED":
                raise _inactive(experiment_id) from error
            raise

    def _update_experiment(self, experiment_id: str, changed: pb.Experiment, path: str) -> None:
        request = pb.UpdateExperimentRequest(experiment=changed, update_mask=FieldMask(paths=[path]))
        missing = f"No Experiment with id={experiment_id} exists"
        self._tracking.change("UpdateExperiment", request, missing=missing)


def _inactive(experiment_id: str) -> MlflowException:
    return invalid(f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted.")


def _order(clause: str) -> str:
    kind, key, ascending = SearchExperimentsUtils.parse_order_by_for_search_experiments(clause)
    if kind != "attribute":
        raise invalid(f"Invalid order_by entity: {kind}")
    return f"{key} {'asc' if ascending else 'desc'}"
