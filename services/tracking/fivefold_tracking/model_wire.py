"""Between the contract's messages and what the stores keep, for logged models and datasets."""

from __future__ import annotations

from collections.abc import Iterable

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.filters.tree import OrderKey
from fivefold_runtime.masks import chosen, entries
from fivefold_runtime.paging import NUMBER, REAL, TEXT, Kind, invalid, key_of
from fivefold_runtime.validation import FieldRequired
from fivefold_tracking import logged, names, readable, wire
from fivefold_tracking.keys import check_key
from fivefold_tracking.lifecycle import View
from fivefold_tracking.logged import LoggedModelStatus
from fivefold_tracking.store.model_records import (
    DatasetRecord,
    LoggedModelChange,
    LoggedModelQuery,
    LoggedModelRecord,
    MeasuredRecord,
    NewLoggedModel,
)
from fivefold_tracking.store.records import Key, ModelOutputRecord

STATUS_OF = {status: pb.LoggedModelStatus.Value(f"LOGGED_MODEL_STATUS_{status}") for status in LoggedModelStatus}
_STATUS: dict[int, LoggedModelStatus] = {number: status for status, number in STATUS_OF.items()}
_VIEWS: dict[int, View] = {pb.VIEW_DELETED: View.DELETED, pb.VIEW_ALL: View.ALL}
_FIELDS = ("status", "status_message", "display_name", "params", "tags")
_KINDS: dict[str, Kind] = {"creation_timestamp": NUMBER, "last_updated_timestamp": NUMBER}
_RANKS = 3  # that a part of an order may have


def to_new_logged_model(asked: pb.LoggedModel, model: str) -> NewLoggedModel:
    """Returns the logged model that a request asks for, with the id `model`. Raises NameInvalid."""
    named = asked.display_name.strip()
    return NewLoggedModel(
        id=model,
        experiment=names.experiment_number(asked.experiment, "logged_model.experiment"),
        display_name=_display_name(asked) if named else readable.display_name(model),
        model_type=asked.model_type,
        source_run=names.run_id(asked.source_run, "logged_model.source_run") if asked.source_run else "",
        status=_STATUS.get(asked.status, LoggedModelStatus.PENDING),
        status_message=asked.status_message,
        params=wire.texts_of(asked.params, "logged_model.params"),
        tags=wire.texts_of(asked.tags, "logged_model.tags"),
    )


def to_change(request: pb.UpdateLoggedModelRequest) -> LoggedModelChange:
    """Returns the new values of an update. Raises FieldRequired for a field in the mask that has none, NameInvalid."""
    asked = request.logged_model
    fields = chosen(request.update_mask, asked, _FIELDS, maps=("tags",))
    if "status" in fields and asked.status not in _STATUS:
        raise FieldRequired.at("logged_model.status", "is required where update_mask has it")
    if "display_name" in fields and not asked.display_name.strip():
        raise FieldRequired.at("logged_model.display_name", "is required where update_mask has it")
    some = entries(request.update_mask, asked, "tags")
    return LoggedModelChange(
        status=_STATUS[asked.status] if "status" in fields else None,
        status_message=asked.status_message if fields & {"status", "status_message"} else None,
        display_name=_display_name(asked) if "display_name" in fields else None,
        params=wire.texts_of(asked.params, "logged_model.params") if "params" in fields else {},
        tags=wire.texts_of(asked.tags, "logged_model.tags") if "tags" in fields else None,
        some={check_key(key, "update_mask"): value for key, value in some.items()},
    )


def to_query(request: pb.SearchLoggedModelsRequest, experiments: Iterable[int]) -> LoggedModelQuery:
    """Returns what a search asks for, in those of its experiments that the caller may read. Raises FilterInvalid."""
    return LoggedModelQuery(
        experiments=tuple(experiments),
        filter=logged.SEARCHED.parse(request.filter),
        datasets=tuple((each.dataset, each.digest) for each in request.datasets),
        order=logged.SEARCHED.parse_order(request.order_by),
        view=_VIEWS.get(request.view, View.ACTIVE),
    )


def after(request: pb.SearchLoggedModelsRequest, order: Iterable[OrderKey]) -> Key | None:
    """Returns the key that a page begins after, None for the first. Raises PageTokenInvalid."""
    kinds: list[Kind] = []
    for part in order:
        kinds += [NUMBER, REAL if part.field.group == logged.METRICS else _KINDS.get(part.field.key, TEXT)]
    key = key_of(request, *kinds, NUMBER, TEXT)
    if key is not None and any(rank not in range(_RANKS) for rank in key[: len(kinds) : 2]):
        raise invalid()
    return key


def to_output(asked: pb.ModelOutput, field: str) -> ModelOutputRecord:
    return ModelOutputRecord(names.logged_model_id(asked.logged_model, f"{field}.logged_model"), asked.step)


def of_logged_model(record: LoggedModelRecord) -> pb.LoggedModel:
    return pb.LoggedModel(
        name=record.name,
        experiment=names.experiment_name(record.experiment),
        display_name=record.display_name,
        model_type=record.model_type,
        source_run=names.run_name(record.source_run) if record.source_run else "",
        status=STATUS_OF[record.status],
        status_message=record.status_message,
        params=record.params,
        tags=record.tags,
        metrics=map(_of_measured, record.metrics),
        create_time=wire.of_micros(record.created),
        update_time=wire.of_micros(record.updated),
        delete_time=wire.of_micros(record.deleted),
        etag=record.etag,
    )


def of_dataset(record: DatasetRecord) -> pb.ListDatasetsResponse.Dataset:
    return pb.ListDatasetsResponse.Dataset(
        experiment=names.experiment_name(record.experiment),
        dataset=record.dataset,
        digest=record.digest,
        contexts=record.contexts,
    )


def _of_measured(record: MeasuredRecord) -> pb.Metric:
    point = record.point
    return pb.Metric(
        key=point.key,
        value=point.value,
        time=wire.of_micros(point.time),
        step=point.step,
        logged_model=names.logged_model_name(point.model),
        dataset=point.dataset,
        dataset_digest=point.digest,
        run=names.run_name(record.run),
    )


def _display_name(asked: pb.LoggedModel) -> str:
    return logged.check_display_name(asked.display_name, "logged_model.display_name")
