"""What the service refuses: the reason, the words that name table, column and row, and that nothing was written."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold_runtime import errors
from tests.features.calling import MOMENT, Client, at, ipc, key_column, lookup

COLUMNS = {"k": "INT64", "t": "TIMESTAMP", "v": "DOUBLE", "s": "STRING"}


def frame(k: list[Any], hours: list[float | None], **columns: pa.Array) -> pa.Table:
    times = pa.array([None if one is None else at(one) for one in hours], MOMENT)
    return pa.table({"k": pa.array(k, pa.int64()), "t": times, **columns})


@pytest.fixture
def table(client: Client) -> Client:
    """A service with one table `x`, and a spec `s` of it."""
    client.create("x", COLUMNS, ["k"], timestamp_key="t")
    client.spec("s", lookup("x"))
    return client


def refused(reason: str, call: Callable[[], Any], *words: str) -> dict[str, str]:
    """The call must fail with this reason and a message with these words; returns the facts."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call()
        if not hasattr(answer, "DESCRIPTOR"):
            list(answer)
    found, facts = errors.parse(caught.value)
    message = caught.value.details() or ""
    assert found == reason, f"{caught.value.code()} {message}"
    for word in words:
        assert word in message, message
    for leak in ("Traceback", "/tmp", ".parquet", "SELECT", "pyarrow", "polars", "Error"):
        assert leak not in message
    return facts


def test_a_table_needs_keys_among_its_columns_and_of_a_type_that_can_be_one(client: Client) -> None:
    def create(columns: dict[str, str], keys: list[str], **more: str) -> Callable[[], Any]:
        return lambda: client.create("y", columns, keys, **more)

    refused("SCHEMA_MISMATCH", create({"v": "INT64"}, []), "tables/y", "primary_keys")
    refused("SCHEMA_MISMATCH", create({"v": "INT64"}, ["k"]), "tables/y", "'k'")
    refused("SCHEMA_MISMATCH", create({"k": "DOUBLE"}, ["k"]), "'k' is DOUBLE")
    refused("SCHEMA_MISMATCH", create({"k": "BYTES"}, ["k"]), "'k' is BYTES")
    refused("SCHEMA_MISMATCH", create({"k": "INT64", "t": "DATE"}, ["k"], timestamp_key="t"), "'t' is DATE")
    refused("SCHEMA_MISMATCH", create({"k": "INT64"}, ["k", "k"]), "more than once")
    refused("SCHEMA_MISMATCH", create({"k": "INT64", "a\x01b": "INT64"}, ["k"]), "printable")


def test_names_that_are_taken_or_no_names_are_refused(table: Client) -> None:
    refused("RESOURCE_EXISTS", lambda: table.create("x", COLUMNS, ["k"]), "tables/x")
    refused("RESOURCE_EXISTS", lambda: table.spec("s", lookup("x", ["v"])), "specs/s")
    for name in ("../x", "X", "x/../y", "%2e%2e", "a b", "é", "x;drop table", "1x", "x\u202e"):
        refused("NAME_INVALID", lambda name=name: table.table(name))
        refused("NAME_INVALID", lambda name=name: table.read(name))
        refused("NAME_INVALID", lambda name=name: table.write(name, frame([1], [1])))
        refused("NAME_INVALID", lambda name=name: table.online(name, {"k": [1]}))
    for name in ("x", "runs/x", "tables/", "tables/x/versions/1", ".." * 9):
        refused("NAME_INVALID", lambda name=name: table.call("GetTable", pb.GetTableRequest(name=name)))
    refused("FIELD_TOO_LONG", lambda: table.table("a" * 129), "136 bytes")
    refused(
        "NAME_INVALID",
        lambda: table.call("GetTrainingSet", pb.GetTrainingSetRequest(name="trainingSets/..")),
    )


def test_what_is_not_there_is_not_found(table: Client) -> None:
    table.write("x", frame([1], [1]))
    missing = f"trainingSets/{'0' * 32}"
    for call in (
        lambda: table.table("y"),
        lambda: table.read("y"),
        lambda: table.read("x", version=2),
        lambda: table.write("y", frame([1], [1])),
        lambda: table.publish("y"),
        lambda: table.spec("z", lookup("y")),
        lambda: table.online("z", {"k": [1]}),
        lambda: table.train("z", frame([1], [1]), "t"),
        lambda: table.call("GetFeatureSpec", pb.GetFeatureSpecRequest(name="specs/z")),
        lambda: table.call("GetTrainingSet", pb.GetTrainingSetRequest(name=missing)),
        lambda: table.call("ReadTrainingSet", pb.ReadTrainingSetRequest(name=missing)),
        lambda: table.call("DeleteTable", pb.DeleteTableRequest(name="tables/y")),
        lambda: table.call("ListTableVersions", pb.ListTableVersionsRequest(parent="tables/y")),
    ):
        refused("RESOURCE_NOT_FOUND", call, "does not exist")


def test_columns_that_do_not_fit_are_named(table: Client) -> None:
    def write(data: pa.Table) -> Callable[[], Any]:
        return lambda: table.write("x", data)

    good = frame([1], [1])
    assert refused("SCHEMA_MISMATCH", write(good.append_column("z", pa.array([1]))), "tables/x", "'z'")["column"] == "z"
    refused("SCHEMA_MISMATCH", write(good.drop_columns("k")), "tables/x", "'k'", "lacks")
    refused("SCHEMA_MISMATCH", write(good.drop_columns("t")), "'t'")
    refused("SCHEMA_MISMATCH", write(good.append_column("v", pa.array([1]))), "'v' is DOUBLE, but INT64 came")
    refused("SCHEMA_MISMATCH", write(good.append_column("s", pa.array([[1]]))), "'s'", "list")
    refused(
        "SCHEMA_MISMATCH", write(pa.Table.from_arrays([*good.columns, good["k"]], ["k", "t", "k"])), "'k' occurs twice"
    )
    refused("SCHEMA_MISMATCH", lambda: table.read("x", columns=["nope"]), "tables/x", "'nope'")
    assert table.table("x").current_version == 0


def test_nulls_in_keys_and_times_are_named_by_row_over_the_whole_stream(table: Client) -> None:
    facts = refused(
        "KEY_NULL", lambda: table.write("x", frame([*range(9), None], [1.0] * 10)), "tables/x", "'k'", "row 9"
    )
    assert (facts["table"], facts["column"], facts["row"]) == ("tables/x", "k", "9")
    refused("KEY_NULL", lambda: table.write("x", frame([1, 2], [1, None])), "'t'", "row 1")
    assert table.table("x").current_version == 0


def test_a_row_that_occurs_twice_in_one_write_is_named(table: Client) -> None:
    twice = frame([1, 1, 2, 3, 4, 5, 6, 7, 1], [1, 2, 1, 1, 1, 1, 1, 1, 2])
    facts = refused("KEY_DUPLICATE", lambda: table.write("x", twice), "tables/x", "row 8", "k, t")
    assert facts["row"] == "8"
    assert table.table("x").current_version == 0


def test_time_stamps_need_a_zone_and_a_year_that_exists(table: Client) -> None:
    def write(times: pa.Array) -> Callable[[], Any]:
        return lambda: table.write("x", pa.table({"k": pa.array([1]), "t": times}))

    refused("TIMESTAMP_INVALID", write(pa.array([datetime(2013, 1, 1)], pa.timestamp("us"))), "tables/x", "'t'", "zone")
    refused("TIMESTAMP_INVALID", write(pa.array([2**62], pa.timestamp("us", "UTC"))), "'t'", "row 0", "9999")
    refused("TIMESTAMP_INVALID", write(pa.array([2**62], pa.timestamp("s", "UTC"))), "'t'")


def test_narrower_integers_times_of_any_unit_and_zone_and_layouts_of_text_are_taken(table: Client) -> None:
    moment = datetime(2013, 1, 1, 5, tzinfo=UTC)
    for number, unit in enumerate(("s", "ms", "us", "ns")):
        times = pa.array([moment], pa.timestamp(unit, "America/New_York"))
        texts = [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.null()][number]
        value = None if texts == pa.null() else "a"
        data = {"t": times, "s": pa.array([value], texts)}
        narrower = [pa.int8(), pa.int16(), pa.int32(), pa.uint32()][number]
        table.write("x", pa.table(data | {"k": pa.array([number], narrower)}))
    read = table.read("x")
    assert read["t"].to_pylist() == [moment] * 4 and read["s"].to_pylist() == ["a", "a", "a", None]


def test_an_empty_frame_is_refused(table: Client) -> None:
    refused("FIELD_INVALID", lambda: table.write("x", frame([], [])), "tables/x", "no rows")
    refused("FIELD_INVALID", lambda: table.write("x", frame([], []), mode="OVERWRITE"), "no rows")
    refused("FIELD_INVALID", lambda: table.train("s", frame([], []), "t"), "no rows")


def _compressed() -> bytes:
    sink = io.BytesIO()
    data = frame(list(range(100)), [1.0] * 100)
    with pa.ipc.new_stream(sink, data.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(data)
    return sink.getvalue()


def _with_texts(offsets: list[int], data: bytes) -> bytes:
    """A stream whose column of texts claims these offsets."""
    buffers = [pa.py_buffer(struct.pack(f"<{len(offsets)}i", *offsets)), pa.py_buffer(data)]
    texts = pa.StringArray.from_buffers(len(offsets) - 1, *buffers)
    rows = list(range(len(texts)))
    return ipc(frame(rows, [1.0] * len(rows)).append_column("s", pa.chunked_array([texts])))


def _vast() -> bytes:
    """A stream whose first batch claims a body of a terabyte."""
    good = bytearray(ipc(frame([1], [1])))
    start = 8 + struct.unpack_from("<i", good, 4)[0]  # behind the schema
    message = start + 8 + struct.unpack_from("<I", good, start + 8)[0]
    vtable = message - struct.unpack_from("<i", good, message)[0]
    struct.pack_into("<q", good, message + struct.unpack_from("<H", good, vtable + 10)[0], 2**40)
    return bytes(good)


def test_bytes_that_are_no_whole_arrow_stream_are_refused(table: Client) -> None:
    good = ipc(frame(list(range(30)), [1.0] * 30))
    for data in (
        b"",
        b"x",
        b"\xff" * 100,
        b"\0" * 4096,
        good[: len(good) // 2],
        good[:-8],
        good + b"more",
        good + good,
    ):
        refused("ARROW_INVALID", lambda data=data: table.write_bytes("x", data))
    refused("ARROW_INVALID", lambda: table.write_bytes("x", _compressed()), "compressed")
    refused("ARROW_INVALID", lambda: table.write_bytes("x", _with_texts([0, 2**30, 1], b"x")), "damaged")
    refused("ARROW_INVALID", lambda: table.write_bytes("x", _with_texts([0, 1], b"\xff")), "damaged")
    refused("ARROW_INVALID", lambda: table.write_bytes("x", _vast()), "smaller")
    assert table.table("x").current_version == 0


def test_a_stream_begins_with_its_header_and_has_one(table: Client) -> None:
    header = pb.WriteTableRequest(header=pb.WriteTableRequest.Header(table="tables/x", mode=pb.WRITE_MODE_MERGE))
    data = pb.WriteTableRequest(arrow=ipc(frame([1], [1])))
    refused("STREAM_ORDER", lambda: table.call("WriteTable", iter([data, header])), "header")
    refused("STREAM_ORDER", lambda: table.call("WriteTable", iter([header, header, data])), "arrow")
    refused("STREAM_ORDER", lambda: table.call("WriteTable", iter([])), "header")
    refused("STREAM_ORDER", lambda: table.call("CreateTrainingSet", iter([pb.CreateTrainingSetRequest()])), "header")


def test_a_spec_must_fit_its_tables(table: Client) -> None:
    table.create("other", {"k": "STRING", "v": "INT32"}, ["k"])

    def spec(*lookups: pb.FeatureLookup) -> Callable[[], Any]:
        return lambda: table.spec("n", *lookups)

    refused("SCHEMA_MISMATCH", spec(lookup("x", ["nope"])), "tables/x", "'nope'")
    refused("SCHEMA_MISMATCH", spec(lookup("x", ["k"])), "'k' is a primary key")
    refused("SCHEMA_MISMATCH", spec(lookup("x", ["v"], keys={"z": "k"})), "'z'")
    refused("SCHEMA_MISMATCH", spec(lookup("x", ["v"], renames={"s": "w"})), "'s' in renames")
    refused("SCHEMA_MISMATCH", spec(lookup("x", ["v"]), lookup("other", ["v"], keys={"k": "o"})), "'v' occurs twice")
    refused("SCHEMA_MISMATCH", spec(lookup("x", ["v"]), lookup("other", renames={"v": "w"})), "'k' is INT64")
    refused("SCHEMA_MISMATCH", spec(lookup("other", look_back=timedelta(1))), "tables/other", "timestamp_key")
    refused("FIELD_INVALID", spec(lookup("x", ["v"], look_back=-timedelta(1))), "look_back", "negative")
    refused("FIELD_INVALID", spec(lookup("x", ["v"], defaults={"v": "much"})), "lookups[0].defaults['v']", "a number")
    refused("FIELD_INVALID", spec(lookup("other", ["v"], defaults={"v": str(2**31)})), "32 bits")
    refused("FIELD_REQUIRED", spec(), "lookups")


def test_a_label_frame_must_have_what_the_spec_asks_for(table: Client) -> None:
    good = frame([1], [1])

    def train(data: pa.Table, **fields: Any) -> Callable[[], Any]:
        return lambda: table.train("s", data, "t", **fields)

    assert refused("LOOKUP_KEY_MISSING", train(good.drop_columns("k")), "'k'")["column"] == "k"
    refused("LOOKUP_KEY_MISSING", train(good.drop_columns("t")), "'t'")
    refused(
        "SCHEMA_MISMATCH", train(good.set_column(0, "k", pa.array(["1"]))), "'k' must be INT64 here, but STRING came"
    )
    refused("SCHEMA_MISMATCH", train(good.append_column("v", pa.array([1.0]))), "'v' occurs twice")
    refused("SCHEMA_MISMATCH", train(good, labels=["late"]), "'late'")
    refused("SCHEMA_MISMATCH", train(good, exclude_columns=["late"]), "'late'")
    refused("TIMESTAMP_INVALID", train(frame([1, 2], [1, None])), "'t'", "row 1")
    naive = pa.array([datetime(2013, 1, 1)], pa.timestamp("us"))
    refused("TIMESTAMP_INVALID", train(good.set_column(1, "t", naive)), "'t'", "zone")
    refused("ARROW_INVALID", lambda: table.call("CreateTrainingSet", iter([_training_header(), _garbage()])))


def _training_header() -> pb.CreateTrainingSetRequest:
    wanted = pb.TrainingSet(spec="specs/s", timestamp_column="t")
    return pb.CreateTrainingSetRequest(header=pb.CreateTrainingSetRequest.Header(training_set=wanted))


def _garbage() -> pb.CreateTrainingSetRequest:
    return pb.CreateTrainingSetRequest(arrow=b"garbage that is no Arrow")


def test_an_online_request_must_have_the_keys_in_one_length_and_type(table: Client) -> None:
    table.write("x", frame([1], [1]))
    table.publish("x")

    def get(*columns: data_pb2.Column) -> Callable[[], Any]:
        return lambda: table.call("GetOnlineFeatures", pb.GetOnlineFeaturesRequest(spec="specs/s", keys=columns))

    k = key_column("k", [1])
    assert refused("LOOKUP_KEY_MISSING", get(key_column("z", [1])), "'k'")["column"] == "k"
    refused("FIELD_INVALID", get(key_column("k", ["1"])), "keys['k']", "int64s")
    refused("FIELD_INVALID", get(k, key_column("z", [1, 2])), "keys['z']", "length")
    refused("FIELD_INVALID", get(k, k), "keys['k']", "twice")
    refused("FIELD_INVALID", get(data_pb2.Column(name="k", int64s=k.int64s, nulls=[7])), "row 7")
    refused("TOO_MANY_ITEMS", get(key_column("k", list(range(10_001)))), "10000")
    refused("FIELD_REQUIRED", get(), "keys")
    assert get(key_column("k", [1] * 10_000))().rows == 10_000


def test_what_is_not_published_is_not_answered(table: Client) -> None:
    facts = refused("NOT_PUBLISHED", lambda: table.online("s", {"k": [1]}), "tables/x")
    assert facts["table"] == "tables/x"
    refused("NOT_PUBLISHED", lambda: table.publish("x"), "tables/x", "no version")


def test_a_table_in_use_stays(table: Client) -> None:
    call = lambda: table.call("DeleteTable", pb.DeleteTableRequest(name="tables/x"))  # noqa: E731
    assert refused("TABLE_IN_USE", call, "specs/s")["used_by"] == "specs/s"


def test_columns_are_only_added_at_the_end(table: Client) -> None:
    present = list(table.table("x").columns)

    def update(columns: list[pb.TableColumn], etag: str = "") -> Callable[[], Any]:
        request = pb.UpdateTableRequest(table=pb.Table(name="tables/x", columns=columns, etag=etag))
        return lambda: table.call("UpdateTable", request)

    more = pb.TableColumn(name="w", type=data_pb2.DATA_TYPE_BOOL)
    refused("SCHEMA_MISMATCH", update(present[:-1]), "'s'", "nothing came")
    refused("SCHEMA_MISMATCH", update([more, *present]), "column 0")
    refused("SCHEMA_MISMATCH", update([*present, present[0]]), "'k' occurs twice")
    other = pb.TableColumn(name="s", type=data_pb2.DATA_TYPE_BOOL)
    refused("SCHEMA_MISMATCH", update([*present[:-1], other]), "'s' STRING")
    etag = table.table("x").etag
    update([*present, more], etag)()
    refused("ETAG_MISMATCH", update([*present, more], etag))
    refused("ETAG_MISMATCH", update([*present, more], "never"))
    mask = FieldMask(paths=["primary_keys"])
    request = pb.UpdateTableRequest(table=pb.Table(name="tables/x"), update_mask=mask)
    refused("FIELD_INVALID", lambda: table.call("UpdateTable", request), "update_mask", "primary_keys")


def test_a_page_token_of_another_list_is_refused(table: Client) -> None:
    table.create("y", COLUMNS, ["k"])
    token = table.call("ListTables", pb.ListTablesRequest(page_size=1)).next_page_token
    for other in (token, "nonsense"):
        request = pb.ListTableVersionsRequest(parent="tables/x", page_token=other)
        refused("PAGE_TOKEN_INVALID", lambda request=request: table.call("ListTableVersions", request))


def test_the_same_request_id_has_one_effect_and_another_body_is_refused(table: Client) -> None:
    first = table.write("x", frame([1], [1]), request_id="one")
    assert table.write("x", frame([1], [1]), request_id="one") == first
    assert table.table("x").current_version == 1
    refused("REQUEST_ID_REUSED", lambda: table.write("x", frame([2], [1]), request_id="one"), "one")
    refused("REQUEST_ID_REUSED", lambda: table.write("x", frame([1], [1]), "OVERWRITE", request_id="one"))
    published = table.publish("x", request_id="two")
    assert table.publish("x", request_id="two") == published
    made = table.train("s", frame([1], [1]), "t", request_id="three")
    assert table.train("s", frame([1], [1]), "t", request_id="three") == made
    refused("REQUEST_ID_REUSED", lambda: table.train("s", frame([1], [2]), "t", request_id="three"))
