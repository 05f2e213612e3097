"""Versions of registered models in MLflow's model registry."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.entities.model_registry.model_version_stages import (
    DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS,
    get_canonical_stage,
)
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD,
)
from mlflow.utils.validation import (
    _validate_model_name,
    _validate_model_version,
    _validate_model_version_tag,
    _validate_tag_name,
    missing_value,
)

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.sdk.errors import FivefoldError
from fivefold_mlflow.base import filled
from fivefold_mlflow.connection import connection
from fivefold_mlflow.entities import texts
from fivefold_mlflow.failures import Failure, invalid, translated
from fivefold_mlflow.marks import is_run
from fivefold_mlflow.places import STORE, Place, is_files
from fivefold_mlflow.searches import versions_filter, versions_order
from fivefold_mlflow.versions import (
    HIDDEN,
    MODEL,
    RUN,
    RUN_LINK,
    copied_version,
    source_of,
    stage_to_wire,
    version_of,
)


class Releases:
    """One RPC each, unless a method says otherwise."""

    def __init__(self, store_uri: str, tracking_uri: str | None) -> None:
        """Takes where the registry is, and where runs are: `runs:/` and `models:/m-…` of another tracking stay names."""
        self._with_ours = not tracking_uri or tracking_uri.startswith(f"{STORE}:")
        try:
            self._place = Place.parse(store_uri)
            address = self._place.addresses(os.environ)["registry"]
        except FivefoldError as error:
            raise translated(error) from error
        self._registry = connection("registry", address, RegistryServiceStub)

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: list[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Makes a version of files of ours, which are copied in, of another version, or of an address elsewhere."""
        _validate_model_name(name)
        for tag in tags or ():
            _validate_model_version_tag(tag.key, tag.value)
        if not source:
            raise invalid(missing_value("source"))
        labels = texts(tags)
        if original := copied_version(source):
            return self._copied(original, name, source, labels, description)
        new = pb.ModelVersion(description=description or "", tags=labels)
        if ours := source_of(source) if self._with_ours or is_files(source) else "":
            new.source = ours
        else:
            new.external_uri = source
        if run_link:
            new.tags[RUN_LINK] = run_link
        if is_run(run_id or ""):
            new.lineage.run = f"runs/{run_id}"
        elif run_id:
            new.tags[RUN] = run_id
        if model_id and is_run(model_id.removeprefix("m-")):
            new.lineage.logged_model = f"logged_models/{model_id}"
        elif model_id:
            new.tags[MODEL] = model_id
        return version_of(self._created(name, new), self._place)

    def copy_model_version(self, src_mv: ModelVersion, dst_name: str) -> ModelVersion:
        """Copies a version to a model, which is made where there is none; files are shared by digest."""
        _validate_model_name(dst_name)
        return version_of(self._copy(_name(src_mv.name, src_mv.version), dst_name, create=True), self._place)

    def update_model_version(self, name: str, version: str, description: str | None = None) -> ModelVersion:
        changed = pb.ModelVersion(name=_name(name, version), description=description or "")
        return version_of(self._update_version(name, version, changed, ["description"]), self._place)

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        canonical = get_canonical_stage(stage)
        if archive_existing_versions and canonical not in DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS:
            raise invalid(
                "Model version transition cannot archive existing model versions because "
                f"'{stage}' is not an Active stage. Valid stages are {DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS}"
            )
        request = pb.TransitionStageRequest(
            name=_name(name, version),
            stage=stage_to_wire(canonical),
            archive_existing=bool(archive_existing_versions),
        )
        answer = self._registry.change("TransitionStage", request, missing=no_version(name, version))
        return version_of(answer.model_version, self._place)

    def delete_model_version(self, name: str, version: str) -> None:
        """Refused while the version is in Staging or Production."""
        request = pb.DeleteModelVersionRequest(name=_name(name, version))
        self._registry.change("DeleteModelVersion", request, missing=no_version(name, version))

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        return version_of(self._version(name, version), self._place)

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """Returns where the registry's own copy of the files is; of a version of files elsewhere, their address."""
        found = self._version(name, version)
        return found.external_uri or self._place.version(name, found.version)

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int | None = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """Lists versions; one RPC for each thousand of them."""
        wanted = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT if max_results is None else max_results
        if not isinstance(wanted, int) or wanted < 1:
            raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {wanted}")
        if wanted > SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD:
            raise invalid(
                "Invalid value for request parameter max_results. It must be at most "
                f"{SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD}, but got value {wanted}"
            )
        wish, model = versions_filter(filter_string)
        request = pb.ListModelVersionsRequest(
            parent=f"models/{model or '-'}",
            filter=wish,
            order_by=versions_order(order_by),
            page_token=page_token or "",
        )
        try:
            found, token = filled(
                lambda asked: self._registry.ask("ListModelVersions", asked), request, "model_versions", wanted
            )
        except Failure as error:
            if model and error.reason in ("RESOURCE_NOT_FOUND", "NAME_INVALID"):
                return PagedList([], None)
            raise
        return PagedList([version_of(version, self._place) for version in found], token)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        _validate_model_name(name)
        _validate_model_version(version)
        _validate_model_version_tag(tag.key, tag.value)
        changed = pb.ModelVersion(name=_name(name, version), tags=texts([tag]))
        self._update_version(name, version, changed, [f"tags.{tag.key}"])

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Deletes a tag; one that is not there is no mistake."""
        _validate_model_name(name)
        _validate_model_version(version)
        _validate_tag_name(key)
        self._update_version(name, version, pb.ModelVersion(name=_name(name, version)), [f"tags.{key}"])

    def _await_model_version_creation(self, mv: ModelVersion, await_creation_for: int) -> None:
        """Does not wait: the answer comes when the version is READY or FAILED."""
        if mv.status == "FAILED_REGISTRATION":
            raise MlflowException(
                f"Model version creation failed for model name: {mv.name} version: {mv.version} "
                f"with status: {mv.status} and message: {mv.status_message}"
            )

    def _created(self, name: str, new: pb.ModelVersion) -> pb.ModelVersion:
        request = pb.CreateModelVersionRequest(parent=f"models/{name}", model_version=new)
        try:
            return self._registry.change("CreateModelVersion", request, missing=no_model(name), bulk=True)
        except Failure as error:
            unknown = new.external_uri and (new.lineage.run or new.lineage.logged_model)
            if not unknown or error.reason not in ("SOURCE_INVALID", "FIELD_INVALID"):
                raise
            # What the files elsewhere came from is not something that this tracking service knows.
            if new.lineage.run:
                new.tags[RUN] = new.lineage.run.removeprefix("runs/")
            if new.lineage.logged_model:
                new.tags[MODEL] = new.lineage.logged_model.removeprefix("logged_models/")
            new.ClearField("lineage")
            return self._created(name, new)

    def _copied(
        self, original: str, name: str, source: str, labels: dict[str, str], description: str | None
    ) -> ModelVersion:
        """Copies a version and gives it the tags and the description asked for, where they are not those that it has."""
        try:
            copy = self._copy(original, name, create=False)
        except Failure as error:
            if error.reason == "RESOURCE_NOT_FOUND" and f"models/{name}" in error.facts.values():
                raise error.saying(no_model(name)) from error
            raise MlflowException(
                f"Unable to fetch model from model URI source artifact location '{source}'.Error: {error}"
            ) from error
        kept = {key: value for key, value in copy.tags.items() if key in HIDDEN}
        if dict(copy.tags) != labels | kept or copy.description != (description or ""):
            changed = pb.ModelVersion(name=copy.name, tags=labels | kept, description=description or "")
            copy = self._update_version(name, str(copy.version), changed, ["tags", "description"])
        return version_of(copy, self._place)

    def _copy(self, original: str, name: str, *, create: bool) -> pb.ModelVersion:
        request = pb.CopyModelVersionRequest(source=original, destination=f"models/{name}", create_model=create)
        answer = self._registry.change("CopyModelVersion", request, bulk=True)
        return answer.model_version

    def _version(self, name: str, version: Any) -> pb.ModelVersion:
        request = pb.GetModelVersionRequest(name=_name(name, version))
        return self._registry.ask("GetModelVersion", request, missing=no_version(name, version))

    def _update_version(self, name: str, version: str, changed: pb.ModelVersion, paths: list[str]) -> pb.ModelVersion:
        request = pb.UpdateModelVersionRequest(model_version=changed, update_mask=FieldMask(paths=paths))
        return self._registry.change("UpdateModelVersion", request, missing=no_version(name, version))


def no_model(name: str) -> str:
    return f"Registered Model with name={name} not found"


def no_version(name: str, version: object) -> str:
    return f"Model Version (name={name}, version={version}) not found"


def _name(name: str, version: object) -> str:
    _validate_model_name(name)
    number = _validate_model_version(version)
    return f"models/{name}/versions/{number}"
