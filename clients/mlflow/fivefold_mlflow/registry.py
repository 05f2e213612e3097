"""MLflow's model registry over Fivefold's: registered models, their tags and aliases. Versions are in `releases`."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from mlflow.entities.model_registry import ModelVersion, RegisteredModel, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import ALL_STAGES, get_canonical_stage
from mlflow.prompt.registry_utils import has_prompt_tag
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD,
)
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_renaming,
    _validate_model_version,
    _validate_registered_model_tag,
    _validate_tag_name,
)

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_mlflow.base import filled
from fivefold_mlflow.entities import texts
from fivefold_mlflow.failures import Failure, NotSupported, invalid, not_found, refuse
from fivefold_mlflow.releases import Releases, no_model, no_version
from fivefold_mlflow.searches import models_filter, models_order
from fivefold_mlflow.versions import model_of, version_of

_LATEST = "latest"
_INHERITED = frozenset({"supports_workspaces"})


class RegistryStore(Releases, AbstractStore):
    """One for each URI and process. Safe for use by many threads, and in a child after a fork."""

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        """Takes `fivefold://host:port`."""
        AbstractStore.__init__(self, store_uri, tracking_uri)
        Releases.__init__(self, store_uri, tracking_uri)
        self.store_uri, self.tracking_uri = store_uri, tracking_uri

    def __getstate__(self) -> dict[str, Any]:
        return {"store_uri": self.store_uri, "tracking_uri": self.tracking_uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def create_registered_model(
        self,
        name: str,
        tags: list[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        _validate_model_name(name)
        for tag in tags or ():
            _validate_registered_model_tag(tag.key, tag.value)
        if has_prompt_tag(tags):
            raise NotSupported("prompts are not supported by Fivefold")
        new = pb.Model(name=f"models/{name}", description=description or "", tags=texts(tags))
        try:
            made = self._registry.change("CreateModel", pb.CreateModelRequest(model=new))
        except Failure as error:
            if error.reason == "RESOURCE_EXISTS":
                raise error.saying(f"Registered Model (name={name}) already exists.") from error
            raise
        return model_of(made, self._place)

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        changed = pb.Model(name=_name(name), description=description or "")
        return model_of(self._update_model(changed, "description"), self._place)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Refused while a version is in Staging or Production."""
        _validate_model_renaming(new_name)
        request = pb.RenameModelRequest(name=_name(name), new_name=f"models/{new_name}")
        try:
            answer = self._registry.change("RenameModel", request, missing=no_model(name))
        except Failure as error:
            if error.reason == "RESOURCE_EXISTS":
                message = f"Registered Model (name={new_name}) already exists. Error: {error.message}"
                raise error.saying(message) from error
            raise
        return model_of(answer.model, self._place)

    def delete_registered_model(self, name: str) -> None:
        """Refused while a version is in Staging or Production."""
        self._registry.change("DeleteModel", pb.DeleteModelRequest(name=_name(name)), missing=no_model(name))

    def get_registered_model(self, name: str) -> RegisteredModel:
        return model_of(self._get(name), self._place)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int | None = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        wanted = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT if max_results is None else max_results
        if wanted < 1:
            raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {wanted}")
        if wanted > SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD:
            raise invalid(
                "Invalid value for request parameter max_results. It must be at most "
                f"{SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD}, but got value {wanted}"
            )
        request = pb.ListModelsRequest(
            filter=models_filter(filter_string), order_by=models_order(order_by), page_token=page_token or ""
        )
        found, token = filled(lambda asked: self._registry.ask("ListModels", asked), request, "models", wanted)
        return PagedList([model_of(model, self._place) for model in found], token)

    def get_latest_versions(self, name: str, stages: list[str] | None = None) -> list[ModelVersion]:
        wanted = {get_canonical_stage(stage) for stage in stages or ALL_STAGES}
        found = [version_of(version, self._place) for version in self._get(name).latest_versions]
        return [version for version in found if version.current_stage in wanted]

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        _validate_model_name(name)
        _validate_registered_model_tag(tag.key, tag.value)
        self._update_model(pb.Model(name=_name(name), tags=texts([tag])), f"tags.{tag.key}")

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Deletes a tag; one that is not there is no mistake."""
        _validate_tag_name(key)
        self._update_model(pb.Model(name=_name(name)), f"tags.{key}")

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        number = _validate_model_version(version)
        request = pb.SetModelAliasRequest(name=f"models/{name}/aliases/{alias}", version=number)
        try:
            self._registry.change("SetModelAlias", request)
        except Failure as error:
            raise self._explained(error, name, no_version(name, version)) from error

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Deletes an alias; one that is not there is no mistake."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        try:
            self._registry.change("DeleteModelAlias", pb.DeleteModelAliasRequest(name=f"models/{name}/aliases/{alias}"))
        except Failure as error:
            if error.reason not in ("RESOURCE_NOT_FOUND", "NAME_INVALID"):
                raise
            self._get(name)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        if alias.lower() == _LATEST:
            versions = self.get_latest_versions(name)
            if not versions:
                raise not_found(f"Latest version not found for model {name}.")
            return max(versions, key=lambda version: int(version.version))
        request = pb.GetModelVersionRequest(name=f"models/{name}/aliases/{alias}")
        try:
            return version_of(self._registry.ask("GetModelVersion", request), self._place)
        except Failure as error:
            if error.reason not in ("RESOURCE_NOT_FOUND", "NAME_INVALID"):
                raise
            self._get(name)
            raise invalid(f"Registered model alias {alias} not found.") from error

    def list_webhooks_by_event(self, *_: Any, **__: Any) -> PagedList[Any]:
        """Returns none: MLflow's server asks with each change, and the registry's webhooks are not MLflow's."""
        return PagedList([], None)

    def _get(self, name: str) -> pb.Model:
        request = pb.GetModelRequest(name=_name(name))
        return self._registry.ask("GetModel", request, missing=no_model(name))

    def _update_model(self, changed: pb.Model, path: str) -> pb.Model:
        request = pb.UpdateModelRequest(model=changed, update_mask=FieldMask(paths=[path]))
        missing = no_model(changed.name.removeprefix("models/"))
        return self._registry.change("UpdateModel", request, missing=missing)

    def _explained(self, error: Failure, name: str, missing: str) -> Exception:
        """Returns what MLflow says where either the model or something of it is not there; only then it asks again."""
        if error.reason != "RESOURCE_NOT_FOUND":
            return error
        self._get(name)
        return not_found(missing)


def _name(name: str) -> str:
    _validate_model_name(name)
    return f"models/{name}"


refuse(RegistryStore, AbstractStore, keep=_INHERITED)
