"""A running features service as tests use it: frames in and out over the real wire, nothing between."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold.features.v1.features_pb2_grpc import FeatureServiceStub
from fivefold_runtime.testing import Running

START = datetime(2013, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
_PIECE = 1000  # bytes: small, so that batches are cut everywhere
_DTYPES = {
    "BOOL": "u1",
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT": "<f4",
    "DOUBLE": "<f8",
    "TIMESTAMP": "<i8",
    "DATE": "<i4",
}


def at(hours: float) -> datetime:
    """A time, counted in hours from the start of 2013."""
    return START + timedelta(hours=hours)


def stamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def ipc(table: pa.Table, max_chunksize: int = 7) -> bytes:
    """The IPC stream of a table in many small batches."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max_chunksize)
    return sink.getvalue()


def pieces(data: bytes, size: int = _PIECE) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def kind(name: str) -> Any:
    return data_pb2.DataType.Value(f"DATA_TYPE_{name}")


class Client:
    """Calls of the service, one method each."""

    def __init__(self, running: Running, token: str = "") -> None:
        self.running = running
        self.stub = FeatureServiceStub(running.channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def call(self, method: str, request: Any) -> Any:
        return getattr(self.stub, method)(request, metadata=self._metadata, timeout=60)

    def create(
        self, name: str, columns: dict[str, str], keys: Sequence[str], *, request_id: str = "", **fields: Any
    ) -> pb.Table:
        table = pb.Table(
            name=f"tables/{name}",
            columns=[pb.TableColumn(name=column, type=kind(of)) for column, of in columns.items()],
            primary_keys=keys,
            **fields,
        )
        return self.call("CreateTable", pb.CreateTableRequest(table=table, request_id=request_id))

    def table(self, name: str) -> pb.Table:
        return self.call("GetTable", pb.GetTableRequest(name=f"tables/{name}"))

    def write_bytes(self, name: str, data: bytes, mode: str = "MERGE", request_id: str = "") -> pb.TableVersion:
        header = pb.WriteTableRequest.Header(
            table=f"tables/{name}", mode=pb.WriteMode.Value(f"WRITE_MODE_{mode}"), request_id=request_id
        )
        parts = [pb.WriteTableRequest(header=header), *(pb.WriteTableRequest(arrow=one) for one in pieces(data))]
        return self.call("WriteTable", iter(parts))

    def write(self, name: str, table: pa.Table, mode: str = "MERGE", request_id: str = "") -> pb.TableVersion:
        return self.write_bytes(name, ipc(table), mode, request_id)

    def read(
        self,
        name: str,
        version: int = 0,
        columns: Sequence[str] = (),
        as_of: datetime | None = None,
        keys: dict[str, list[Any]] | None = None,
    ) -> pa.Table:
        among = [key_column(column, values) for column, values in (keys or {}).items()]
        request = pb.ReadTableRequest(name=f"tables/{name}", version=version, columns=columns, keys=among)
        if as_of is not None:
            request.as_of.CopyFrom(stamp(as_of))
        return _table(self.call("ReadTable", request))

    def compact(self, name: str, request_id: str = "") -> pb.CompactTableResponse:
        return self.call("CompactTable", pb.CompactTableRequest(name=f"tables/{name}", request_id=request_id))

    def vacuum(self, name: str, keep: timedelta | None = None, *, dry_run: bool = False) -> pb.VacuumTableResponse:
        request = pb.VacuumTableRequest(name=f"tables/{name}", dry_run=dry_run)
        if keep is not None:
            request.keep.FromTimedelta(keep)
        return self.call("VacuumTable", request)

    def verify(self, training_set: str) -> pb.VerifyTrainingSetResponse:
        return self.call("VerifyTrainingSet", pb.VerifyTrainingSetRequest(name=training_set))

    def profile(self, name: str, version: int = 0, columns: Sequence[str] = (), top: int = 0) -> pb.TableProfile:
        request = pb.ProfileTableRequest(name=f"tables/{name}", version=version, columns=columns, top_values=top)
        return self.call("ProfileTable", request)

    def consume(self, source: str, consumer: str) -> pb.RecordConsumerResponse:
        return self.call("RecordConsumer", pb.RecordConsumerRequest(source=source, consumer=consumer))

    def lineage(self, name: str, max_edges: int = 0) -> pb.GetLineageResponse:
        return self.call("GetLineage", pb.GetLineageRequest(name=name, max_edges=max_edges))

    def publish(
        self,
        name: str,
        as_of: datetime | None = None,
        reset: bool = False,
        request_id: str = "",
        mode: str = "UNSPECIFIED",
    ) -> pb.PublishTableResponse:
        request = pb.PublishTableRequest(
            name=f"tables/{name}",
            reset=reset,
            request_id=request_id,
            mode=pb.PublishMode.Value(f"PUBLISH_MODE_{mode}"),
        )
        if as_of is not None:
            request.as_of.CopyFrom(stamp(as_of))
        return self.call("PublishTable", request)

    def spec(self, name: str, *lookups: pb.FeatureLookup, description: str = "") -> pb.FeatureSpec:
        spec = pb.FeatureSpec(name=f"specs/{name}", lookups=lookups, description=description)
        return self.call("CreateFeatureSpec", pb.CreateFeatureSpecRequest(feature_spec=spec))

    def train(self, spec: str, frame: pa.Table, time: str, request_id: str = "", **fields: Any) -> pb.TrainingSet:
        wanted = pb.TrainingSet(spec=f"specs/{spec}", timestamp_column=time, **fields)
        header = pb.CreateTrainingSetRequest.Header(training_set=wanted, request_id=request_id)
        parts = [pb.CreateTrainingSetRequest(header=header)]
        parts += [pb.CreateTrainingSetRequest(arrow=one) for one in pieces(ipc(frame))]
        return self.call("CreateTrainingSet", iter(parts))

    def rows(self, training_set: pb.TrainingSet) -> pa.Table:
        return _table(self.call("ReadTrainingSet", pb.ReadTrainingSetRequest(name=training_set.name)))

    def online(
        self, spec: str, keys: dict[str, list[Any]], as_of: datetime | None = None, **flags: bool
    ) -> pb.GetOnlineFeaturesResponse:
        request = pb.GetOnlineFeaturesRequest(
            spec=f"specs/{spec}", keys=[key_column(name, values) for name, values in keys.items()], **flags
        )
        if as_of is not None:
            request.as_of.CopyFrom(stamp(as_of))
        return self.call("GetOnlineFeatures", request)

    def check(
        self, spec: str, keys: dict[str, list[Any]] | None = None, as_of: datetime | None = None, sample: int = 0
    ) -> pb.CheckConsistencyResponse:
        request = pb.CheckConsistencyRequest(
            spec=f"specs/{spec}",
            keys=[key_column(name, values) for name, values in (keys or {}).items()],
            sample=sample,
        )
        if as_of is not None:
            request.as_of.CopyFrom(stamp(as_of))
        return self.call("CheckConsistency", request)


def lookup(
    table: str,
    features: Sequence[str] = (),
    *,
    keys: dict[str, str] | None = None,
    look_back: timedelta | None = None,
    renames: dict[str, str] | None = None,
    defaults: dict[str, str] | None = None,
) -> pb.FeatureLookup:
    message = pb.FeatureLookup(
        table=f"tables/{table}", features=features, keys=keys, renames=renames, defaults=defaults
    )
    if look_back is not None:
        message.look_back.FromTimedelta(look_back)
    return message


def key_column(name: str, values: list[Any]) -> data_pb2.Column:
    """A key column of a request, with nulls where a value is None."""
    nulls = [row for row, value in enumerate(values) if value is None]
    known = [value for value in values if value is not None]
    if known and isinstance(known[0], str):
        texts = data_pb2.StringValues(values=[value or "" for value in values])
        return data_pb2.Column(name=name, strings=texts, nulls=nulls)
    if known and isinstance(known[0], bool):
        return data_pb2.Column(name=name, bools=data_pb2.BoolValues(values=[bool(v) for v in values]), nulls=nulls)
    return data_pb2.Column(name=name, int64s=data_pb2.Int64Values(values=[value or 0 for value in values]), nulls=nulls)


def unpacked(answer: pb.GetOnlineFeaturesResponse) -> dict[str, list[Any]]:
    """The values by feature, by the contract's words: None where the status says that there is none."""
    rows, values = answer.rows, {}
    statuses = np.frombuffer(answer.statuses, "u1").reshape(-1, rows) if answer.statuses else None
    for block in answer.blocks:
        name = data_pb2.DataType.Name(block.type).removeprefix("DATA_TYPE_")
        if name in ("STRING", "BYTES"):
            ends = [0, *np.frombuffer(block.offsets, "<u4").tolist()]
            cells = [block.data[start:end] for start, end in itertools.pairwise(ends)]
            flat: list[Any] = [cell.decode() for cell in cells] if name == "STRING" else cells
        else:
            flat = np.frombuffer(block.data, _DTYPES[name]).tolist()
            flat = [bool(cell) for cell in flat] if name == "BOOL" else flat
        for position, place in enumerate(block.columns):
            column = flat[position * rows : (position + 1) * rows]
            if statuses is not None:
                column = [v if statuses[place][row] in (1, 5) else None for row, v in enumerate(column)]
            values[answer.features[place]] = column
    return {name: values[name] for name in answer.features}


def statuses(answer: pb.GetOnlineFeaturesResponse) -> list[list[str]]:
    """The statuses by feature, row by row."""
    named = [pb.FeatureStatus.Name(one).removeprefix("FEATURE_STATUS_") for one in answer.statuses]
    return [named[start : start + answer.rows] for start in range(0, len(named), answer.rows)]


def _table(answers: Any) -> pa.Table:
    return pa.ipc.open_stream(b"".join(answer.arrow for answer in answers)).read_all()


Serve = Callable[..., Client]
