"""Registered models and versions as MLflow's entities, and where MLflow's sources lie in Fivefold."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlparse

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils.yaml_utils import YamlSafeDumper

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk.errors import FivefoldError
from fivefold_mlflow.entities import last, millis
from fivefold_mlflow.failures import translated
from fivefold_mlflow.marks import is_run
from fivefold_mlflow.places import Files, Place, is_files

# What MLflow keeps with a version and Fivefold has no field for, since it is not something of ours. Not shown as tags.
RUN = "fivefold.mlflow.run_id"
RUN_LINK = "fivefold.mlflow.run_link"
MODEL = "fivefold.mlflow.model_id"
HIDDEN = frozenset({RUN, RUN_LINK, MODEL})

STAGES = {
    pb.STAGE_NONE: "None",
    pb.STAGE_STAGING: "Staging",
    pb.STAGE_PRODUCTION: "Production",
    pb.STAGE_ARCHIVED: "Archived",
}
_STATUS = {
    pb.VERSION_STATUS_UNSPECIFIED: "READY",
    pb.VERSION_STATUS_PENDING: "PENDING_REGISTRATION",
    pb.VERSION_STATUS_READY: "READY",
    pb.VERSION_STATUS_FAILED: "FAILED_REGISTRATION",
}
_RUN_FILES = re.compile(r"runs/(?P<run>[0-9a-f]{32})/artifacts(?P<path>/.+)?")
_MODEL_FILES = re.compile(r"logged_models/(?P<model>m-[0-9a-f]{32})/artifacts(?P<path>/.+)?")


class Number(str):
    """A version's number: text, as MLflow declares it and its server sends it, that equals the number, as its stores have it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, str(other)) if type(other) is int else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


# MLflow writes it into a model's folder, and its writer knows text by the exact type.
YamlSafeDumper.add_representer(Number, lambda dumper, number: dumper.represent_str(str(number)))


def source_of(uri: str) -> str:
    """Returns the folder that the registry copies from, for a URI of ours; "" when the files are elsewhere.

    Raises MlflowException for a `fivefold-artifacts:` URI that is not well formed.
    """
    if is_files(uri):
        try:
            found = Files.parse(uri)
        except FivefoldError as error:
            raise translated(error) from error
        if found.of_version:
            return ""
        return f"{found.parent}/artifacts/{found.path}".rstrip("/")
    scheme = urlparse(uri).scheme
    if scheme == "runs":
        run, _, path = uri.partition(":")[2].lstrip("/").partition("/")
        return f"runs/{run}/artifacts/{path}".rstrip("/") if is_run(run) else ""
    if scheme == "models":
        model = _parse_model_uri(uri).model_id
        return f"logged_models/{model}/artifacts" if model and is_run(model.removeprefix("m-")) else ""
    return ""


def copied_version(uri: str) -> str:
    """Returns `models/{model}/versions/{number}` for `models:/{model}/{number}` and its files' URI, else ""."""
    if is_files(uri):
        parent = Files.parse(uri).parent
        return parent if parent.startswith("models/") else ""
    if urlparse(uri).scheme == "models":
        parsed = _parse_model_uri(uri)
        if parsed.name and parsed.version:
            return f"models/{parsed.name}/versions/{parsed.version}"
    return ""


def source_uri(version: pb.ModelVersion, place: Place) -> str | None:
    """Returns MLflow's source of a version."""
    if version.copied_from:
        return f"models:/{version.copied_from.split('/')[1]}/{last(version.copied_from)}"
    if version.external_uri:
        return version.external_uri
    if (found := _RUN_FILES.fullmatch(version.source)) is not None:
        number = last(version.lineage.experiment) or "0"
        return f"{place.experiment(number)}/{found['run']}/artifacts{found['path'] or ''}"
    if (found := _MODEL_FILES.fullmatch(version.source)) is not None:
        return f"models:/{found['model']}{found['path'] or ''}"
    return version.source or None


def version_of(version: pb.ModelVersion, place: Place) -> ModelVersion:
    """Returns the entity."""
    return ModelVersion(
        name=version.name.split("/")[1],
        version=Number(version.version),
        creation_timestamp=millis(version.create_time),
        last_updated_timestamp=millis(version.update_time),
        description=version.description or None,
        user_id=version.creator or None,
        current_stage=STAGES.get(version.stage, "None"),
        source=source_uri(version, place),
        run_id=last(version.lineage.run) or version.tags.get(RUN),
        status=_STATUS[version.status],
        status_message=version.status_message or None,
        tags=[ModelVersionTag(key, value) for key, value in version.tags.items() if key not in HIDDEN],
        run_link=version.tags.get(RUN_LINK),
        aliases=list(version.aliases),
        model_id=last(version.lineage.logged_model) or version.tags.get(MODEL),
    )


def model_of(model: pb.Model, place: Place) -> RegisteredModel:
    """Returns the entity, with the latest version in each stage."""
    return RegisteredModel(
        name=last(model.name),
        creation_timestamp=millis(model.create_time),
        last_updated_timestamp=millis(model.update_time),
        description=model.description or None,
        latest_versions=[version_of(version, place) for version in model.latest_versions],
        tags=[RegisteredModelTag(key, value) for key, value in model.tags.items()],
        aliases=[RegisteredModelAlias(alias, Number(version)) for alias, version in model.aliases.items()],
    )


def stage_to_wire(stage: str) -> Any:
    """Returns our number for MLflow's name of a stage."""
    return next(number for number, name in STAGES.items() if name == stage)
