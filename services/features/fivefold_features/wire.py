"""Between the contract's messages and this service's records. No rules here, but those of the wire itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names
from fivefold_features.answers import Answer
from fivefold_features.freshness import is_stale, staleness
from fivefold_features.functions import FunctionUse, OnDemand
from fivefold_features.lookups import Lookup
from fivefold_features.online import Published
from fivefold_features.onlinefeatures import MAX_ROWS, KeyColumn, Prepared
from fivefold_features.schema import Column, Kind, Schema
from fivefold_features.store import Mode, SpecRecord, TableRecord, TrainingSetRecord, VersionRecord
from fivefold_runtime.errors import Aborted, InvalidArgument
from fivefold_runtime.validation import FieldRequired, TooManyItems

KIND = {data_pb2.DataType.Value(f"DATA_TYPE_{kind}"): kind for kind in Kind}
TYPE = {kind: number for number, kind in KIND.items()}
MODE = {pb.WRITE_MODE_MERGE: Mode.MERGE, pb.WRITE_MODE_OVERWRITE: Mode.OVERWRITE}
_MODE_NUMBER = {mode: number for number, mode in MODE.items()}


def schema(message: pb.Table) -> Schema:
    """Reads the columns, keys and times of a table."""
    return Schema(columns(message.columns), tuple(message.primary_keys), message.timestamp_key, message.knowledge_key)


def columns(messages: Iterable[pb.TableColumn]) -> tuple[Column, ...]:
    return tuple(Column(one.name, KIND[one.type], one.description) for one in messages)


def lookups(message: pb.FeatureSpec) -> tuple[Lookup, ...]:
    """Reads the lookups of a spec. Raises FIELD_REQUIRED, NAME_INVALID, FIELD_INVALID."""
    if not message.lookups:
        raise FieldRequired.at("feature_spec.lookups", "is required")
    return tuple(_lookup(one, f"feature_spec.lookups[{index}]") for index, one in enumerate(message.lookups))


def functions(message: pb.FeatureSpec) -> tuple[FunctionUse, ...]:
    """Reads the functions of a spec."""
    return tuple(
        FunctionUse(one.module, one.name, one.source_hash, dict(one.inputs), dict(one.renames))
        for one in message.functions
    )


@dataclass(frozen=True, slots=True)
class Publication:
    """How a table is to be published; `moment` in microseconds, None: the newest rows."""

    incremental: bool
    moment: int | None
    reset: bool


def publication(request: pb.PublishTableRequest) -> Publication:
    """Reads how a table is to be published. Raises FIELD_INVALID for an incremental publish of something else."""
    incremental = request.mode == pb.PUBLISH_MODE_INCREMENTAL
    moment = micros(request.as_of) if request.HasField("as_of") else None
    for field, given in (("as_of", moment is not None), ("reset", request.reset)):
        if incremental and given:
            raise InvalidArgument.at(field, "is set, but mode is INCREMENTAL; only a SNAPSHOT can have it")
    return Publication(incremental, moment, request.reset)


def revision(etag: str, name: str) -> int | None:
    """Reads an etag; None for the empty one. One that was never given out cannot be the present one."""
    if not etag:
        return None
    if not etag.isascii() or not etag.isdigit() or len(etag) > 18:
        raise Aborted(f"{name} changed since its etag was read; read it again", name=name)
    return int(etag)


def key_columns(messages: Iterable[data_pb2.Column]) -> dict[str, KeyColumn]:
    """Reads key columns by name. Raises FIELD_INVALID for a name that comes twice or a null beyond the end, and
    TOO_MANY_ITEMS for more than MAX_ROWS rows."""
    read: dict[str, KeyColumn] = {}
    for message in messages:
        path = f"keys[{message.name!r}]"
        if message.name in read:
            raise InvalidArgument.at(path, "occurs twice")
        sent_as = message.WhichOneof("values") or ""
        values: Sequence[Any] = getattr(message, sent_as).values if sent_as else ()
        if len(values) > MAX_ROWS:
            raise TooManyItems.at(
                path, f"has {len(values)} rows; at most {MAX_ROWS} are allowed", limit=MAX_ROWS, count=len(values)
            )
        listed: list[Any] = list(values)
        for row in message.nulls:
            if row >= len(listed):
                raise InvalidArgument.at(path, f"has a null at row {row}, but only {len(listed)} rows", value=row)
            listed[row] = None
        read[message.name] = KeyColumn(sent_as, listed)
    return read


def micros(moment: Timestamp) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000


def duration(message: Any, field: str, path: str) -> timedelta | None:
    """Reads a field with a duration, None when it is not set. Raises FIELD_INVALID below zero."""
    if not message.HasField(field):
        return None
    found: timedelta = getattr(message, field).ToTimedelta()
    if found < timedelta(0):
        raise InvalidArgument.at(path, "is negative; it must be 0 or more")
    return found


def freshness(table: pb.Table) -> timedelta | None:
    """Reads how old a table may get. Raises FIELD_INVALID for zero or less."""
    found = duration(table, "freshness", "table.freshness")
    if found == timedelta(0):
        raise InvalidArgument.at("table.freshness", "is 0; it must be above zero, or not set")
    return found


def to_table(record: TableRecord, now: datetime) -> pb.Table:
    message = pb.Table(
        name=names.table_name(record.id),
        description=record.description,
        tags=dict(record.tags),
        columns=_columns(record.schema.columns),
        primary_keys=record.schema.primary_keys,
        timestamp_key=record.schema.timestamp_key,
        knowledge_key=record.schema.knowledge_key,
        publish_on_write=record.publish_on_write,
        current_version=record.current_version,
        published=record.published,
        creator=record.creator,
        create_time=_timestamp(record.created),
        update_time=_timestamp(record.updated),
        etag=str(record.revision),
        owner=record.owner,
    )
    if record.freshness is not None:
        message.freshness.FromTimedelta(record.freshness)
    age = staleness(record, now)
    if age is not None:
        message.staleness.FromTimedelta(age)
    message.stale = is_stale(record, age)
    return message


def to_version(record: VersionRecord) -> pb.TableVersion:
    return pb.TableVersion(
        name=names.version_name(record.table, record.number),
        version=record.number,
        mode=_MODE_NUMBER[record.mode],
        rows_written=record.rows,
        rows_total=record.rows_total,
        digest=record.digest,
        creator=record.creator,
        create_time=_timestamp(record.created),
        producer=record.producer,
        vacuumed=record.vacuumed,
    )


def version_or_moment(request: Any) -> tuple[int, int | None]:
    """Reads `version` and `as_of` (microseconds). Raises FIELD_INVALID when both are set."""
    if not request.HasField("as_of"):
        return request.version, None
    if request.version:
        raise InvalidArgument.at("as_of", "is set, and so is version; only one of them may be")
    return 0, micros(request.as_of)


def producer(text: str) -> str:
    """Reads what a write says about itself. Raises FIELD_INVALID for control characters."""
    if not text.isprintable():
        raise InvalidArgument.at("header.producer", "has control characters", value=ascii(text)[:64])
    return text


def to_publication(table: str, version: int, done: Published) -> pb.PublishTableResponse:
    return pb.PublishTableResponse(
        table_version=names.version_name(table, version),
        keys_written=done.keys_written,
        keys_total=done.keys_total,
    )


def to_spec(record: SpecRecord) -> pb.FeatureSpec:
    return pb.FeatureSpec(
        name=names.spec_name(record.id),
        description=record.description,
        lookups=[_to_lookup(one) for one in record.lookups],
        features=_columns(record.features),
        keys=_columns(record.keys),
        creator=record.creator,
        create_time=_timestamp(record.created),
        tags=dict(record.tags),
        functions=[
            pb.FunctionUse(
                module=use.module,
                name=use.name,
                source_hash=use.source_hash,
                inputs=dict(use.inputs),
                renames=dict(use.renames),
            )
            for use in record.functions
        ],
        inputs=_columns(record.inputs),
    )


def to_function(found: OnDemand) -> pb.Function:
    return pb.Function(
        module=found.module,
        name=found.name,
        source_hash=found.source_hash,
        description=found.description,
        parameters=_columns(found.parameters),
        results=_columns(found.results),
    )


def to_training_set(record: TrainingSetRecord) -> pb.TrainingSet:
    return pb.TrainingSet(
        name=names.training_set_name(record.id),
        spec=names.spec_name(record.spec),
        timestamp_column=record.timestamp_column,
        labels=record.labels,
        exclude_columns=record.exclude,
        table_versions=[names.version_name(table, version) for table, version in record.versions.items()],
        rows=record.rows,
        columns=_columns(record.columns),
        label_digest=record.label_digest,
        digest=record.digest,
        creator=record.creator,
        create_time=_timestamp(record.created),
    )


def to_answer(prepared: Prepared, rows: int, answer: Answer) -> pb.GetOnlineFeaturesResponse:
    """What is the same in all answers of a spec is made once, as the message that is copied."""
    message = pb.GetOnlineFeaturesResponse()
    template = prepared.template
    if template is None:
        template = prepared.template = pb.GetOnlineFeaturesResponse(
            features=prepared.names,
            blocks=[
                pb.FeatureBlock(type=TYPE[kind], columns=places) for kind, places in prepared.answerer.kinds.items()
            ],
        )
    message.CopyFrom(template)
    message.rows = rows
    for block, made in zip(message.blocks, answer.blocks, strict=True):
        block.data = made.data
        block.offsets = made.offsets
    message.statuses = answer.statuses
    message.event_times = answer.event_times
    return message


def _lookup(message: pb.FeatureLookup, path: str) -> Lookup:
    look_back = duration(message, "look_back", f"{path}.look_back")
    return Lookup(
        table=names.table_id(message.table, f"{path}.table"),
        features=tuple(message.features),
        keys=dict(message.keys),
        look_back=look_back,
        renames=dict(message.renames),
        defaults=dict(message.defaults),
    )


def _to_lookup(lookup: Lookup) -> pb.FeatureLookup:
    message = pb.FeatureLookup(
        table=names.table_name(lookup.table),
        features=lookup.features,
        keys=dict(lookup.keys),
        renames=dict(lookup.renames),
        defaults=dict(lookup.defaults),
    )
    if lookup.look_back is not None:
        message.look_back.FromTimedelta(lookup.look_back)
    return message


def _columns(found: Iterable[Column]) -> list[pb.TableColumn]:
    return [pb.TableColumn(name=one.name, type=TYPE[one.kind], description=one.description) for one in found]


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
