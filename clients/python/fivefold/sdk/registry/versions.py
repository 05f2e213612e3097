"""Versions of registered models: made, found, changed, copied, fetched, deleted. Their files never change."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk import files, names
from fivefold.sdk.errors import FailedPrecondition, Internal, InvalidArgument
from fivefold.sdk.records import Listing, listing
from fivefold.sdk.registry.calls import RegistryCalls, hinting
from fivefold.sdk.registry.models import changes
from fivefold.sdk.registry.records import ModelFile, ModelVersion
from fivefold.sdk.tracking.artifacts import Progress
from fivefold.sdk.transport import request_id

UPLOADS = "registered from folders"  # the experiment of runs that only hold a folder that was registered


class Versions(RegistryCalls):
    """The part of the registry that is about versions."""

    def create_version(
        self,
        model: str,
        source: str | os.PathLike[str] = "",
        *,
        external_uri: str = "",
        description: str = "",
        tags: Mapping[str, str] | None = None,
        run: str = "",
        training_set: str = "",
        table_versions: Sequence[str] = (),
        job: str = "",
        feature_spec: str = "",
        logged_model: str = "",
        progress: Progress | None = None,
    ) -> ModelVersion:
        """Makes the next version and copies its files in; returns when it is READY or FAILED.

        source        "runs/{run}/artifacts/{path}" or "logged_models/{id}/artifacts", or as MLflow has it,
                      "runs:/{run}/{path}"; a pathlib.Path is a folder here, which a run of the experiment
                      "registered from folders" then holds
        external_uri  instead of a source: where the files of a version from another registry are
        run, training_set, table_versions, job, feature_spec, logged_model
                      its lineage; what is not given is taken from the source and its package
        progress      called with (path, done bytes, size in bytes) while a folder is uploaded

        Raises InvalidArgument (SOURCE_INVALID), Unavailable when tracking does not answer.
        """
        full = names.full("models", model)
        home = self._uploaded(full, Path(source), progress) if isinstance(source, os.PathLike) else _source(source)
        parts = home.split("/")
        lineage = pb.Lineage(
            run=names.full("runs", run) if run else "/".join(parts[:2]) if parts[0] == "runs" else "",
            training_set=names.full("trainingSets", training_set) if training_set else "",
            table_versions=table_versions,
            job=names.full("jobs", job) if job else "",
            feature_spec=names.full("specs", feature_spec) if feature_spec else "",
            logged_model=names.full("logged_models", logged_model) if logged_model else "",
        )
        version = pb.ModelVersion(
            source=home, external_uri=external_uri, description=description, tags=tags, lineage=lineage
        )
        request = pb.CreateModelVersionRequest(parent=full, model_version=version, request_id=request_id())
        register = f"register the model first: `fivefold models create {names.word(full)}`"
        forms = "give runs/RUN/artifacts/PATH, logged_models/ID/artifacts, or a folder that is here (as pathlib.Path)"
        with hinting(RESOURCE_NOT_FOUND=register, SOURCE_INVALID=forms):
            return ModelVersion.of(self._transport.call(self._stub.CreateModelVersion, request, bulk=True))

    def get_version(self, name: str, version: int | None = None, *, stage: str = "", alias: str = "") -> ModelVersion:
        """Returns one version: get_version("churn", 3), ("churn", stage="Production") or ("churn", alias="champion").

        In one word: "churn/3", "churn/Production", "churn@champion". In a stage it is the newest there. Raises NotFound.
        """
        if (version is not None) + bool(stage) + bool(alias) > 1:
            raise InvalidArgument("give one of version, stage and alias", reason="FIELD_INVALID")
        if alias or stage:
            reference = names.Reference(names.full("models", name), alias=alias, stage=stage)
        else:
            reference = names.reference(name, version)
        if reference.alias:
            full = f"{reference.model}/aliases/{reference.alias}"
        elif reference.stage:
            full = self._newest(reference.model, reference.stage).name
        else:
            full = f"{reference.model}/versions/{reference.number}"
        return ModelVersion.of(self._transport.call(self._stub.GetModelVersion, pb.GetModelVersionRequest(name=full)))

    def search_versions(
        self,
        filter: str = "",
        *,
        model: str = "",
        stages: Sequence[str] = (),
        order_by: str = "",
        limit: int | None = None,
    ) -> Listing[ModelVersion]:
        """Lists versions of one model, or of all that you may read, without their files; newest first.

        filter    of `name`, `version`, `run`, `source`, `stage`, `status`, `aliases` and `tags.KEY`, such as
                  "stage = 'Production' AND tags.reviewed = 'yes'"; "": all
        stages    only those in these
        order_by  of `version`, `name`, `create_time`, `update_time`, each with or without DESC

        Raises InvalidArgument (FILTER_INVALID) that says where the filter is wrong, NotFound for no such model.
        """
        parent = names.full("models", model) if model else "models/-"
        request = pb.ListModelVersionsRequest(
            parent=parent,
            stages=[self._stage(parent, stage) for stage in stages],  # type: ignore[misc]
            filter=filter,
            order_by=order_by,
        )
        example = """such as "stage = 'Production' AND tags.reviewed = 'yes'"; texts in quotes, version = 3 without"""
        with hinting(FILTER_INVALID=example):
            pages = self._transport.pages(self._stub.ListModelVersions, request, "model_versions", limit)
            return listing(ModelVersion, pages)

    def list_versions(
        self, model: str, *, stages: Sequence[str] = (), limit: int | None = None
    ) -> Listing[ModelVersion]:
        """Lists versions, newest first, without their files; only those in some stages where `stages` are named."""
        return self.search_versions(model=names.full("models", model), stages=stages, limit=limit)

    def production(self) -> Listing[ModelVersion]:
        """Lists what is in Production everywhere, by model: one search over all models that you may read."""
        return self.search_versions(stages=["Production"])

    def update_version(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        etag: str = "",
    ) -> ModelVersion:
        """Changes what is given and leaves the rest; as in `update_model`, a tag whose value is None is removed."""
        mask, kept = changes(description, tags)
        version = pb.ModelVersion(name=self._version(name), description=description or "", tags=kept, etag=etag)
        request = pb.UpdateModelVersionRequest(
            model_version=version, update_mask=FieldMask(paths=mask), request_id=request_id()
        )
        return ModelVersion.of(self._transport.call(self._stub.UpdateModelVersion, request))

    def copy_version(self, name: str, model: str, *, create_model: bool = False) -> ModelVersion:
        """Makes the next version of `model` from a version of the same or another model, without moving its files.

        create_model  registers the model when there is none of that name; you manage it then

        Raises NotFound, FailedPrecondition (VERSION_NOT_READY), PermissionDenied.
        """
        request = pb.CopyModelVersionRequest(
            source=self._version(name),
            destination=names.full("models", model),
            create_model=create_model,
            request_id=request_id(),
        )
        missing = "check both names; create_model=True (--create) registers the model that gets the copy"
        with hinting(RESOURCE_NOT_FOUND=missing):
            return ModelVersion.of(self._transport.call(self._stub.CopyModelVersion, request).model_version)

    def delete_version(self, name: str, *, etag: str = "") -> None:
        """Deletes a version, for good; its number is never given out again.

        Raises FailedPrecondition (VERSION_IN_USE) while it is in Staging or Production.
        """
        request = pb.DeleteModelVersionRequest(name=self._version(name), etag=etag, request_id=request_id())
        archive = f"move it out first: `fivefold models transition {names.word(request.name)} Archived`"
        with hinting(VERSION_IN_USE=archive):
            self._transport.call(self._stub.DeleteModelVersion, request)

    def download(self, name: str, local: str | os.PathLike[str], *, progress: Progress | None = None) -> Path:
        """Fetches all files of a version below the folder `local`; returns that folder.

        progress  called with (path, done bytes, size in bytes) as bytes arrive

        Every file is checked against the version's list. One that is there already with the right bytes is not
        fetched again, so a download that was broken off goes on where it stopped.

        Raises FailedPrecondition for a version that has no files here, Internal when the bytes are not the listed ones.
        """
        version = self.get_version(name)
        if not version.files:
            where = f"its files are at {version.external_uri}" if version.external_uri else version.status_message
            raise FailedPrecondition(
                f"{version.name} is {version.status} and has no files here",
                reason="VERSION_NOT_READY",
                facts={"model_version": version.name, "status": version.status},
                hint=where or f"see it with `fivefold models show {names.word(version.name)}`",
            )
        folder = Path(local)
        for file in version.files:
            target = files.inside(folder, file.path)
            if not files.is_there(target, file.size_bytes, file.sha256):
                files.save(target, lambda offset, listed=file: self._fetch(version.name, listed, offset, progress))  # type: ignore[misc]
        return folder

    def _fetch(self, name: str, listed: ModelFile, offset: int, progress: Progress | None) -> Iterator[Any]:
        request = pb.DownloadModelFileRequest(name=name, path=listed.path, offset=offset)
        for part in self._transport.receive(self._stub.DownloadModelFile, request):
            if part.WhichOneof("part") == "data":
                offset += len(part.data)
                yield part.data
            elif (part.file.size_bytes, part.file.sha256) == (listed.size_bytes, listed.sha256):
                yield part.file
            else:
                message = f"{name} lists other bytes for {listed.path} than the service sends"
                raise Internal(message, reason="DIGEST_MISMATCH")
            if progress is not None:
                progress(listed.path, offset, listed.size_bytes)

    def _uploaded(self, model: str, folder: Path, progress: Progress | None) -> str:
        """Stores a folder among the artifacts of a run of its own; returns it as a source."""
        if self._tracking is None:
            raise InvalidArgument(
                "a folder becomes a version by way of tracking, which this client does not know",
                reason="SOURCE_INVALID",
                hint="use the registry of fivefold.connect()",
            )
        if not any(found.is_file() for found in folder.rglob("*")):
            raise InvalidArgument(
                f"{folder} is no folder with files", reason="SOURCE_INVALID", facts={"source": str(folder)}
            )
        with self._tracking().run(UPLOADS, name=names.short(model)) as run:
            run.upload(folder, "model", progress=progress)
        return f"{run.name}/artifacts/model"


def _source(text: str) -> str:
    """Returns a source by its name here: MLflow's "runs:/{run}/{path}" and "models:/m-…" have others."""
    if text.startswith("runs:/"):
        run, _, path = text.removeprefix("runs:/").partition("/")
        return f"runs/{run}/artifacts/{path}".rstrip("/")
    if text.startswith("models:/m-"):
        return f"logged_models/{text.removeprefix('models:/')}/artifacts"
    return text
