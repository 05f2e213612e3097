"""Feature tables, feature specs, point-in-time training sets, and features by key online."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold.features.v1.features_pb2_grpc import FeatureServiceStub
from fivefold.sdk import columns, frames
from fivefold.sdk.errors import AlreadyExists, InvalidArgument
from fivefold.sdk.lookups import Lookup
from fivefold.sdk.names import full
from fivefold.sdk.online import OnlineFeatures
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.times import to_timestamp
from fivefold.sdk.transport import Transport, request_id

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FeatureSpec", "Features", "Lookup", "OnlineFeatures", "Publication", "Table", "TableVersion", "TrainingSet"]


@dataclass(frozen=True, repr=False)
class TableColumn(Record):
    """One column of a table, spec or training set."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, repr=False)
class Table(Record):
    """A feature table."""

    name: str
    description: str
    tags: dict[str, str]
    columns: tuple[TableColumn, ...]
    primary_keys: tuple[str, ...]
    timestamp_key: str
    knowledge_key: str
    publish_on_write: bool
    current_version: int
    published: bool
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class TableVersion(Record):
    """What one write made."""

    name: str
    version: int
    mode: str
    rows_written: int
    rows_total: int
    digest: str
    creator: str
    create_time: datetime | None


@dataclass(frozen=True, repr=False)
class Publication(Record):
    """What a publish did."""

    table_version: str
    keys_written: int
    keys_total: int


@dataclass(frozen=True, repr=False)
class LookupRecord(Record):
    """One lookup of a spec; `look_back` is a timedelta or None."""

    table: str
    features: tuple[str, ...]
    keys: dict[str, str]
    look_back: Any
    renames: dict[str, str]
    defaults: dict[str, str]


@dataclass(frozen=True, repr=False)
class FeatureSpec(Record):
    """A named set of lookups, the features that come out and the keys that go in."""

    name: str
    description: str
    lookups: tuple[LookupRecord, ...]
    features: tuple[TableColumn, ...]
    keys: tuple[TableColumn, ...]
    creator: str
    create_time: datetime | None


@dataclass(frozen=True, repr=False)
class TrainingSet(Record):
    """A recorded training set; its rows stay with the service until they are read."""

    name: str
    spec: str
    timestamp_column: str
    labels: tuple[str, ...]
    exclude_columns: tuple[str, ...]
    table_versions: tuple[str, ...]
    rows: int
    columns: tuple[TableColumn, ...]
    label_digest: str
    digest: str
    creator: str
    create_time: datetime | None
    _features: Features = field(repr=False, compare=False)

    def batches(self) -> pa.RecordBatchReader:
        """Reads the rows as Arrow record batches, one at a time, in the order of the labels."""
        return self._features._training_rows(self.name)

    def to_arrow(self) -> pa.Table:
        """Reads all rows as one pyarrow.Table."""
        return self.batches().read_all()

    def to_pandas(self) -> Any:
        """Reads all rows as a pandas.DataFrame."""
        return self.batches().read_pandas()


class Features:
    """The features service. Tables, specs and training sets are named short ("weather") or long ("tables/weather")."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(FeatureServiceStub)

    def create_table(
        self,
        name: str,
        schema: Any,
        *,
        keys: Sequence[str],
        timestamp_key: str | None = None,
        knowledge_key: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        publish_on_write: bool = False,
        allow_existing: bool = False,
    ) -> Table:
        """Creates a feature table; no rows are written.

        schema          a dict of column to type ("bool", "int32", "int64", "float", "double", "string", "bytes",
                        "timestamp", "date"), or a frame or pyarrow.Schema whose columns it is to have
        keys            columns that identify an entity
        timestamp_key   column with the time from which a row is true; None: rows are always true
        knowledge_key   column with the time at which a row became known; None: as soon as it is true
        allow_existing  returns the table that is there, if it has the same columns and keys

        Raises AlreadyExists, InvalidArgument (SCHEMA_MISMATCH).
        """
        table = pb.Table(
            name=full("tables", name),
            description=description,
            tags=tags,
            columns=_table_columns(schema),
            primary_keys=[keys] if isinstance(keys, str) else keys,
            timestamp_key=timestamp_key or "",
            knowledge_key=knowledge_key or "",
            publish_on_write=publish_on_write,
        )
        try:
            request = pb.CreateTableRequest(table=table, request_id=request_id())
            return Table.of(self._transport.call(self._stub.CreateTable, request))
        except AlreadyExists:
            if not allow_existing:
                raise
            present = self._transport.call(self._stub.GetTable, pb.GetTableRequest(name=table.name))
            if _shape(present) != _shape(table):
                raise
            return Table.of(present)

    def get_table(self, name: str) -> Table:
        """Returns one table. Raises NotFound."""
        return Table.of(self._transport.call(self._stub.GetTable, pb.GetTableRequest(name=full("tables", name))))

    def list_tables(self, *, limit: int | None = None) -> Listing[Table]:
        """Lists tables by name."""
        return listing(Table, self._transport.pages(self._stub.ListTables, pb.ListTablesRequest(), "tables", limit))

    def delete_table(self, name: str) -> None:
        """Deletes a table with its history and online values. Raises FailedPrecondition (TABLE_IN_USE)."""
        request = pb.DeleteTableRequest(name=full("tables", name), request_id=request_id())
        self._transport.call(self._stub.DeleteTable, request)

    def table_versions(self, name: str, *, limit: int | None = None) -> Listing[TableVersion]:
        """Lists the versions of a table, newest first."""
        request = pb.ListTableVersionsRequest(parent=full("tables", name))
        return listing(
            TableVersion, self._transport.pages(self._stub.ListTableVersions, request, "table_versions", limit)
        )

    def write(self, table: str, frame: Any, *, mode: str = "merge") -> TableVersion:
        """Writes rows, all or none.

        frame  pandas, polars or pyarrow (a RecordBatchReader is sent as it is read)
        mode   "merge": equal key and time replaces; "overwrite": replaces all rows

        Raises InvalidArgument (SCHEMA_MISMATCH, KEY_NULL, KEY_DUPLICATE, TIMESTAMP_INVALID).
        """
        header = pb.WriteTableRequest.Header(
            table=full("tables", table),
            mode=enum_number(pb.WriteMode, mode, "mode"),  # type: ignore[arg-type]
            request_id=request_id(),
        )
        return TableVersion.of(self._transport.send(self._stub.WriteTable, _write(header, frames.pieces(frame))))

    def read(self, table: str, *, version: int = 0, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns the rows as a pyarrow.Table (`.to_pandas()`), ordered by key and time; version 0 is the newest."""
        return self.scan(table, version=version, columns=columns).read_all()

    def scan(self, table: str, *, version: int = 0, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """Reads the rows as Arrow record batches, one at a time; stopping early stops the stream."""
        request = pb.ReadTableRequest(name=full("tables", table), version=version, columns=columns)
        return frames.batches_of(part.arrow for part in self._transport.receive(self._stub.ReadTable, request))

    def publish(
        self, table: str, *, mode: str = "snapshot", as_of: datetime | None = None, reset: bool = False
    ) -> Publication:
        """Makes the newest values per key available online.

        mode   "snapshot" reads all rows; "incremental" those of versions that were not offered before
        as_of  takes what was true and known at that time; None: the newest row. Snapshots only
        reset  clears what is online first; without it a key keeps a newer value. Snapshots only
        """
        request = pb.PublishTableRequest(
            name=full("tables", table),
            as_of=to_timestamp(as_of, "as_of"),
            reset=reset,
            request_id=request_id(),
            mode=enum_number(pb.PublishMode, mode, "mode"),  # type: ignore[arg-type]
        )
        return Publication.of(self._transport.call(self._stub.PublishTable, request, bulk=True))

    def create_spec(
        self, name: str, lookups: Sequence[Lookup], *, functions: Sequence[str] = (), description: str = ""
    ) -> FeatureSpec:
        """Creates a feature spec; an equal one that is there is returned.

        functions  on-demand functions installed at the service, such as "shop.features.speed", in order; each
                   parameter gets the feature or request column of its name

        Raises AlreadyExists for another spec of that name, FailedPrecondition (FUNCTION_UNKNOWN).
        """
        uses = [one.rpartition(".") for one in functions]
        spec = pb.FeatureSpec(
            name=full("specs", name),
            description=description,
            lookups=[lookup.to_wire() for lookup in lookups],
            functions=[pb.FunctionUse(module=module, name=function) for module, _, function in uses],
        )
        request = pb.CreateFeatureSpecRequest(feature_spec=spec, request_id=request_id())
        return FeatureSpec.of(self._transport.call(self._stub.CreateFeatureSpec, request))

    def get_spec(self, name: str) -> FeatureSpec:
        """Returns one feature spec. Raises NotFound."""
        request = pb.GetFeatureSpecRequest(name=full("specs", name))
        return FeatureSpec.of(self._transport.call(self._stub.GetFeatureSpec, request))

    def list_specs(self, *, limit: int | None = None) -> Listing[FeatureSpec]:
        """Lists feature specs by name."""
        pages = self._transport.pages(self._stub.ListFeatureSpecs, pb.ListFeatureSpecsRequest(), "feature_specs", limit)
        return listing(FeatureSpec, pages)

    def training_set(
        self,
        spec: str,
        labels: Any,
        *,
        timestamp_column: str,
        label_columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> TrainingSet:
        """Joins features to labels, each at its own time; labels are never dropped or reordered.

        labels            a frame: keys of the spec, the time column, labels, and what else the model is to see
        timestamp_column  its column with the time at which each row asks
        label_columns     its columns that are labels, not inputs
        exclude           its columns that stay out of the result, such as keys

        Raises InvalidArgument (LOOKUP_KEY_MISSING, SCHEMA_MISMATCH, TIMESTAMP_INVALID).
        """
        wanted = pb.TrainingSet(
            spec=full("specs", spec), timestamp_column=timestamp_column, labels=label_columns, exclude_columns=exclude
        )
        header = pb.CreateTrainingSetRequest.Header(training_set=wanted, request_id=request_id())
        made = self._transport.send(self._stub.CreateTrainingSet, _ask(header, frames.pieces(labels)))
        return TrainingSet.of(made, _features=self)

    def get_training_set(self, name: str) -> TrainingSet:
        """Returns the description of one training set, from which its rows can be read. Raises NotFound."""
        request = pb.GetTrainingSetRequest(name=full("trainingSets", name))
        return TrainingSet.of(self._transport.call(self._stub.GetTrainingSet, request), _features=self)

    def get(
        self,
        spec: str,
        keys: Any,
        *,
        as_of: datetime | None = None,
        with_statuses: bool = False,
        with_event_times: bool = False,
    ) -> OnlineFeatures:
        """Looks up features by key online.

        keys   the spec's key columns, and what its functions take from the request: a dict of lists or of single
               values, or a frame; at most 10,000 rows
        as_of  time against which ages are measured; None: now

        Raises InvalidArgument (LOOKUP_KEY_MISSING, FIELD_INVALID, FUNCTION_FAILED), FailedPrecondition (NOT_PUBLISHED,
        FUNCTION_UNKNOWN).
        """
        request = pb.GetOnlineFeaturesRequest(
            spec=full("specs", spec),
            keys=columns.to_wire(keys, "keys"),
            as_of=to_timestamp(as_of, "as_of"),
            with_statuses=with_statuses,
            with_event_times=with_event_times,
        )
        return OnlineFeatures(self._transport.call(self._stub.GetOnlineFeatures, request))

    def _training_rows(self, name: str) -> pa.RecordBatchReader:
        request = pb.ReadTrainingSetRequest(name=name)
        return frames.batches_of(part.arrow for part in self._transport.receive(self._stub.ReadTrainingSet, request))


def _write(header: pb.WriteTableRequest.Header, pieces: Iterator[bytes]) -> Iterator[pb.WriteTableRequest]:
    yield pb.WriteTableRequest(header=header)
    for piece in pieces:
        yield pb.WriteTableRequest(arrow=piece)


def _ask(header: pb.CreateTrainingSetRequest.Header, pieces: Iterator[bytes]) -> Iterator[pb.CreateTrainingSetRequest]:
    yield pb.CreateTrainingSetRequest(header=header)
    for piece in pieces:
        yield pb.CreateTrainingSetRequest(arrow=piece)


def _shape(table: pb.Table) -> tuple[object, ...]:
    columns_ = [(column.name, column.type) for column in table.columns]
    return columns_, list(table.primary_keys), table.timestamp_key, table.knowledge_key


def _table_columns(schema: Any) -> list[pb.TableColumn]:
    if isinstance(schema, Mapping):
        return [
            pb.TableColumn(name=name, type=enum_number(data_pb2.DataType, kind, f"type of column {name!r}"))  # type: ignore[arg-type]
            for name, kind in schema.items()
        ]
    arrow = frames.plain_schema(schema) if type(schema).__name__ == "Schema" else frames.schema_of(schema)
    return [pb.TableColumn(name=field.name, type=_data_type(field.name, str(field.type))) for field in arrow]  # type: ignore[arg-type]


_DATA_TYPES = {
    "bool": data_pb2.DATA_TYPE_BOOL,
    "int32": data_pb2.DATA_TYPE_INT32,
    "int64": data_pb2.DATA_TYPE_INT64,
    "float": data_pb2.DATA_TYPE_FLOAT,
    "double": data_pb2.DATA_TYPE_DOUBLE,
    "string": data_pb2.DATA_TYPE_STRING,
    "binary": data_pb2.DATA_TYPE_BYTES,
    "timestamp[us, tz=UTC]": data_pb2.DATA_TYPE_TIMESTAMP,
    "date32[day]": data_pb2.DATA_TYPE_DATE,
}


def _data_type(column: str, arrow: str) -> int:
    if arrow not in _DATA_TYPES:
        raise InvalidArgument(
            f"column {column!r} has no value from which its type could be told",
            reason="SCHEMA_MISMATCH",
            facts={"column": column, "type": arrow},
            hint="give create_table a dict of column to type instead of the frame",
        )
    return _DATA_TYPES[arrow]
