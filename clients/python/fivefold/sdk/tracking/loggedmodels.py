"""Logged models: models as things of their own, that runs make, use and measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.sdk.names import full
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.tracking.runs import texts, view_number
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub


@dataclass(frozen=True, repr=False)
class ModelMetric(Record):
    """The latest point of a metric of a logged model, by the run and dataset that it was measured by."""

    key: str
    value: float
    time: datetime | None
    step: int
    run: str
    dataset: str
    dataset_digest: str


@dataclass(frozen=True, repr=False)
class LoggedModel(Record):
    """A model that was logged: PENDING while its artifacts are written, then READY or FAILED."""

    name: str
    experiment: str
    display_name: str
    model_type: str
    source_run: str
    status: str
    status_message: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: tuple[ModelMetric, ...]
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    etag: str


class LoggedModels:
    """The logged models of the tracking service, named short ("m-…") or long ("logged_models/m-…")."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)

    def create(
        self,
        experiment: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        status: str = "PENDING",
    ) -> LoggedModel:
        """Creates a logged model; upload its artifacts to it afterwards, then `finalize` it.

        experiment  number or name
        name        what people call it, made up when empty
        source_run  the run that made it
        """
        model = pb.LoggedModel(
            experiment=full("experiments", experiment),
            display_name=name,
            model_type=model_type,
            source_run=full("runs", source_run) if source_run else "",
            params=texts(params),
            tags=texts(tags),
            status=_status(status),
        )
        request = pb.CreateLoggedModelRequest(logged_model=model, request_id=request_id())
        return LoggedModel.of(self._transport.call(self._stub.CreateLoggedModel, request))

    def get(self, name: str) -> LoggedModel:
        """Returns one logged model, also a deleted one. Raises NotFound."""
        request = pb.GetLoggedModelRequest(name=full("logged_models", name))
        return LoggedModel.of(self._transport.call(self._stub.GetLoggedModel, request))

    def search(
        self,
        experiments: str | Sequence[str],
        *,
        filter: str = "",
        order_by: str = "",
        datasets: Sequence[tuple[str, str]] = (),
        view: str = "active",
        limit: int | None = None,
    ) -> Listing[LoggedModel]:
        """Lists logged models of experiments; without `order_by`, newest first.

        experiments  numbers or names
        datasets     (name, digest) of those that metrics in `filter` and `order_by` were measured on; digest "": any

        Raises InvalidArgument (FILTER_INVALID).
        """
        homes = [experiments] if isinstance(experiments, str) else experiments
        request = pb.SearchLoggedModelsRequest(
            experiments=[full("experiments", home) for home in homes],
            filter=filter,
            order_by=order_by,
            datasets=[pb.DatasetChoice(dataset=name, digest=digest) for name, digest in datasets],
            view=view_number(view),
        )
        return listing(
            LoggedModel, self._transport.pages(self._stub.SearchLoggedModels, request, "logged_models", limit)
        )

    def update(
        self,
        model: str,
        *,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str | None] | None = None,
        etag: str = "",
    ) -> LoggedModel:
        """Renames, adds params, sets tags (None removes one); leaves what is not named.

        Raises FailedPrecondition (PARAM_CHANGED, LOGGED_MODEL_DELETED), Aborted when `etag` is an old one.
        """
        set_tags = texts({key: value for key, value in (tags or {}).items() if value is not None})
        asked = pb.LoggedModel(
            name=full("logged_models", model), display_name=name or "", params=texts(params), tags=set_tags, etag=etag
        )
        paths = [*(["display_name"] if name else []), *(["params"] if params else [])]
        return self._update(asked, [*paths, *(f"tags.{key}" for key in tags or {})])

    def finalize(self, model: str, status: str = "READY", *, message: str = "") -> LoggedModel:
        """Says that a logged model's artifacts are complete (READY), or why they could not be written (FAILED)."""
        asked = pb.LoggedModel(name=full("logged_models", model), status=_status(status), status_message=message)
        return self._update(asked, ["status"])

    def delete(self, model: str) -> None:
        """Deletes a logged model softly."""
        request = pb.DeleteLoggedModelRequest(name=full("logged_models", model), request_id=request_id())
        self._transport.call(self._stub.DeleteLoggedModel, request)

    def _update(self, asked: pb.LoggedModel, paths: Sequence[str]) -> LoggedModel:
        request = pb.UpdateLoggedModelRequest(
            logged_model=asked, update_mask=FieldMask(paths=paths), request_id=request_id()
        )
        return LoggedModel.of(self._transport.call(self._stub.UpdateLoggedModel, request))


def _status(text: str) -> Any:
    return enum_number(pb.LoggedModelStatus, text, "status")
