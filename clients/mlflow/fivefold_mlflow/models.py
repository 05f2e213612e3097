"""Logged models of MLflow's tracking store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from mlflow.entities import LoggedModel, LoggedModelParameter, LoggedModelStatus, LoggedModelTag
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT
from mlflow.utils.search_logged_model_utils import parse_filter_string
from mlflow.utils.validation import _validate_logged_model_name

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.base import filled
from fivefold_mlflow.entities import last, logged_model_of, model_status_to_wire, texts
from fivefold_mlflow.failures import Failure, invalid, not_found
from fivefold_mlflow.marks import is_run
from fivefold_mlflow.orders import as_mlflow_says, name_of
from fivefold_mlflow.runs import Runs

_MOST_PARAMS = 1000  # of one call
_ATTRIBUTES = {
    "name": "name",
    "model_id": "model_id",
    "model_type": "model_type",
    "status": "status",
    "source_run_id": "source_run_id",
    "creation_time": "creation_timestamp",
    "creation_timestamp": "creation_timestamp",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_timestamp": "last_updated_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}


class Models(Runs):
    """One RPC each, unless a method says otherwise."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Creates a model that is PENDING; each further thousand params takes one more call."""
        _validate_logged_model_name(name)
        pairs = list(texts(params).items())
        new = pb.LoggedModel(
            experiment=f"experiments/{self._number(experiment_id)}",
            display_name=name or "",
            model_type=model_type or "",
            source_run=f"runs/{source_run_id}" if is_run(source_run_id or "") else "",
            params=dict(pairs[:_MOST_PARAMS]),
            tags=texts(tags),
        )
        try:
            made = self._tracking.change("CreateLoggedModel", pb.CreateLoggedModelRequest(logged_model=new))
        except Failure as error:
            if error.reason == "EXPERIMENT_DELETED":
                message = f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted."
                raise error.saying(message) from error
            if error.reason == "RESOURCE_NOT_FOUND" and new.source_run not in error.facts.values():
                raise error.saying(f"No Experiment with id={experiment_id} exists") from error
            raise
        for start in range(_MOST_PARAMS, len(pairs), _MOST_PARAMS):
            made = self._changed(last(made.name), ["params"], params=dict(pairs[start : start + _MOST_PARAMS]))
        return self._model(made)

    def log_logged_model_params(self, model_id: str, params: list[LoggedModelParameter]) -> None:
        pairs = list(texts(params).items())
        for start in range(0, len(pairs), _MOST_PARAMS):
            self._changed(model_id, ["params"], params=dict(pairs[start : start + _MOST_PARAMS]))

    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:
        message = self._ask(model_id)
        if message.HasField("delete_time") and not allow_deleted:
            raise not_found(_no_model(model_id))
        return self._model(message)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        return self._model(self._changed(model_id, ["status"], status=model_status_to_wire(status)))

    def set_logged_model_tags(self, model_id: str, tags: list[LoggedModelTag]) -> None:
        values = texts(tags)
        if values:
            self._changed(model_id, [f"tags.{key}" for key in values], tags=values)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Reads the model first, since MLflow refuses to delete a tag that is not there."""
        if key not in self._ask(model_id).tags:
            raise not_found(f"No tag with key {key!r} found for model with ID {model_id!r}.")
        self._changed(model_id, [f"tags.{key}"])

    def delete_logged_model(self, model_id: str) -> None:
        """Deletes a model softly; one that is deleted stays so."""
        try:
            request = pb.DeleteLoggedModelRequest(name=_name(model_id))
            self._tracking.change("DeleteLoggedModel", request, missing=_no_model(model_id))
        except Failure as error:
            if error.reason != "LOGGED_MODEL_DELETED":
                raise

    def search_logged_models(
        self,
        experiment_ids: list[str],
        filter_string: str | None = None,
        datasets: list[dict[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: list[dict[str, Any]] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """Lists models. With `datasets` but no metric in the filter: those with any metric on one of them."""
        if datasets and not all(each.get("dataset_name") for each in datasets):
            raise invalid("`dataset_name` in the `datasets` clause must be specified.")
        request = pb.SearchLoggedModelsRequest(
            experiments=self._experiments(experiment_ids),
            filter=filter_string or "",
            datasets=[_choice(each) for each in datasets or _of_order(order_by)],
            order_by=", ".join(_order(each) for each in order_by or ()),
            page_token=page_token or "",
        )
        if not request.experiments:
            return PagedList([], None)
        any_metric = bool(datasets) and "metric" not in (filter_string or "").lower()

        def search(asked: pb.SearchLoggedModelsRequest) -> pb.SearchLoggedModelsResponse:
            page: pb.SearchLoggedModelsResponse = self._tracking.ask("SearchLoggedModels", asked)
            if any_metric:
                kept = [model for model in page.logged_models if _measured(model, request.datasets)]
                page = pb.SearchLoggedModelsResponse(logged_models=kept, next_page_token=page.next_page_token)
            return page

        with as_mlflow_says(parse_filter_string, filter_string):
            wanted = max_results or SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT
            found, token = filled(search, request, "logged_models", wanted)
        return PagedList([self._model(message) for message in found], token)

    def _ask(self, model_id: str) -> pb.LoggedModel:
        request = pb.GetLoggedModelRequest(name=_name(model_id))
        return self._tracking.ask("GetLoggedModel", request, missing=_no_model(model_id))

    def _changed(self, model_id: str, paths: list[str], **values: Any) -> pb.LoggedModel:
        changed = pb.LoggedModel(name=_name(model_id), **values)
        request = pb.UpdateLoggedModelRequest(logged_model=changed, update_mask=FieldMask(paths=paths))
        return self._tracking.change("UpdateLoggedModel", request, missing=_no_model(model_id))

    def _model(self, message: pb.LoggedModel) -> LoggedModel:
        files = self._model_files(message.experiment, last(message.name))
        return logged_model_of(message, self._shown(message.experiment), files)


def _name(model_id: str) -> str:
    """Returns `logged_models/{id}`. Raises MlflowException for an id that no model has."""
    if not (isinstance(model_id, str) and model_id.startswith("m-") and is_run(model_id[2:])):
        raise not_found(_no_model(model_id))
    return f"logged_models/{model_id}"


def _no_model(model_id: str) -> str:
    return f"Logged model with ID '{model_id}' not found."


def _choice(dataset: dict[str, Any]) -> pb.DatasetChoice:
    return pb.DatasetChoice(dataset=dataset["dataset_name"], digest=dataset.get("dataset_digest") or "")


def _of_order(order_by: Iterable[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Returns the datasets that the metrics of an order are to be measured on."""
    return [each for each in order_by or () if each.get("dataset_name")]


def _order(clause: dict[str, Any]) -> str:
    field = clause.get("field_name") or ""
    direction = "asc" if clause.get("ascending", True) else "desc"
    entity, dot, key = field.partition(".")
    if not dot:
        if field not in _ATTRIBUTES:
            raise invalid(f"Invalid order by field name: {field}")
        return f"{_ATTRIBUTES[field]} {direction}"
    if entity != "metrics":
        raise invalid(f"Invalid order by field name: {field}. Only metrics are supported.")
    return f"{name_of('metrics', key)} {direction}"


def _measured(model: pb.LoggedModel, datasets: Iterable[pb.DatasetChoice]) -> bool:
    return any(
        metric.dataset == chosen.dataset and chosen.digest in ("", metric.dataset_digest)
        for metric in model.metrics
        for chosen in datasets
    )
