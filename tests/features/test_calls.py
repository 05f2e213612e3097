"""Every call of the contract, over the wire."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from fivefold.features.v1 import features_pb2 as pb
from tests.features.calling import MOMENT, Client, at, lookup, statuses, unpacked

WEATHER = {
    "origin": "STRING",
    "hour": "TIMESTAMP",
    "known": "TIMESTAMP",
    "temp": "DOUBLE",
    "wind": "INT64",
    "sky": "STRING",
}


def weather(rows: list[tuple[str, float, float, float | None, int | None, str | None]]) -> pa.Table:
    origin, hour, known, temp, wind, sky = zip(*rows, strict=True)
    return pa.table(
        {
            "origin": pa.array(origin, pa.string()),
            "hour": pa.array(map(at, hour), MOMENT),
            "known": pa.array(map(at, known), MOMENT),
            "temp": pa.array(temp, pa.float64()),
            "wind": pa.array(wind, pa.int64()),
            "sky": pa.array(sky, pa.string()),
        }
    )


ROWS = [("JFK", 1.0, 2.0, 10.0, 5, "clear"), ("JFK", 2.0, 3.0, 11.0, None, "rain"), ("LGA", 1.0, 2.0, 12.0, 7, None)]


def made(client: Client, **fields: object) -> pb.Table:
    return client.create("weather", WEATHER, ["origin"], timestamp_key="hour", knowledge_key="known", **fields)


def test_a_created_table_is_read_as_it_was_asked_for(client: Client) -> None:
    table = made(client, description="hourly", tags={"source": "noaa"})
    assert client.table("weather") == table
    assert (table.name, table.current_version, table.published, table.creator) == ("tables/weather", 0, False, "local")
    assert [column.name for column in table.columns] == list(WEATHER)
    assert table.create_time == table.update_time and table.etag


def test_tables_are_listed_by_name_in_pages(client: Client) -> None:
    for name in ("b", "c", "a"):
        client.create(name, {"k": "INT64", "v": "INT64"}, ["k"])
    first = client.call("ListTables", pb.ListTablesRequest(page_size=2))
    second = client.call("ListTables", pb.ListTablesRequest(page_size=2, page_token=first.next_page_token))
    assert [table.name for table in (*first.tables, *second.tables)] == ["tables/a", "tables/b", "tables/c"]
    assert not second.next_page_token


def test_a_write_makes_a_version_and_is_read_back_in_order(client: Client) -> None:
    made(client)
    version = client.write("weather", weather(ROWS[::-1]))
    assert (version.name, version.version, version.rows_written) == ("tables/weather/versions/1", 1, 3)
    assert len(version.digest) == 64
    assert client.read("weather").equals(weather(ROWS))
    assert client.read("weather", columns=["temp", "origin"]).to_pydict() == {
        "temp": [10.0, 11.0, 12.0],
        "origin": ["JFK", "JFK", "LGA"],
    }


def test_merge_replaces_equal_rows_and_keeps_others_and_every_version_stays_readable(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.write("weather", weather([("JFK", 1.0, 2.0, 99.0, 1, "fog"), ("EWR", 0.0, 1.0, 1.0, 1, "late")]))
    client.write("weather", weather(ROWS[:1]), mode="OVERWRITE")
    client.write("weather", weather(ROWS[1:2]))
    assert client.read("weather", version=1).equals(weather(ROWS))
    assert client.read("weather", version=2, columns=["temp"])["temp"].to_pylist() == [1.0, 99.0, 11.0, 12.0]
    assert client.read("weather", version=3).equals(weather(ROWS[:1]))
    assert client.read("weather").equals(weather(ROWS[:2]))
    listed = client.call("ListTableVersions", pb.ListTableVersionsRequest(parent="tables/weather", page_size=3))
    rest = client.call(
        "ListTableVersions",
        pb.ListTableVersionsRequest(parent="tables/weather", page_size=3, page_token=listed.next_page_token),
    )
    versions = [*listed.table_versions, *rest.table_versions]
    assert [(one.version, one.rows_written, one.rows_total) for one in versions] == [
        (4, 1, 2),
        (3, 1, 1),
        (2, 2, 5),
        (1, 3, 3),
    ]


def test_a_value_and_its_later_correction_are_both_kept(client: Client) -> None:
    made(client)
    client.write("weather", weather([("JFK", 1.0, 2.0, 10.0, 5, "first")]))
    client.write("weather", weather([("JFK", 1.0, 9.0, 20.0, 5, "corrected")]))
    assert client.read("weather")["sky"].to_pylist() == ["first", "corrected"]
    client.spec("s", lookup("weather", ["sky"]))
    labels = pa.table({"origin": ["JFK", "JFK"], "t": pa.array([at(8), at(9)], MOMENT)})
    assert client.rows(client.train("s", labels, "t"))["sky"].to_pylist() == ["first", "corrected"]


def test_a_table_without_a_version_reads_as_no_rows(client: Client) -> None:
    made(client)
    empty = client.read("weather")
    assert empty.num_rows == 0 and empty.schema == weather(ROWS).schema


def test_added_columns_are_null_in_older_rows_everywhere(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.publish("weather")
    old = client.table("weather")
    added = [*old.columns, pb.TableColumn(name="dew", type=5, description="dew point")]
    changed = client.call(
        "UpdateTable", pb.UpdateTableRequest(table=pb.Table(name=old.name, columns=added, etag=old.etag))
    )
    assert changed.etag != old.etag and len(changed.columns) == 7
    assert client.read("weather")["dew"].null_count == 3
    client.write("weather", weather(ROWS[2:]).append_column("dew", pa.array([3.5])))
    assert client.read("weather")["dew"].to_pylist() == [None, None, 3.5]
    client.spec("s", lookup("weather", ["dew", "temp"]))
    answer = client.online("s", {"origin": ["JFK", "LGA"]})
    assert statuses(answer) == [["NULL", "NULL"], ["PRESENT", "PRESENT"]]
    client.publish("weather")
    assert unpacked(client.online("s", {"origin": ["JFK", "LGA"]})) == {"dew": [None, 3.5], "temp": [11.0, 12.0]}


def test_update_changes_what_the_mask_names_and_nothing_else(client: Client) -> None:
    made(client, description="before", tags={"a": "1"})
    request = pb.UpdateTableRequest(table=pb.Table(name="tables/weather", description="after", tags={"b": "2"}))
    request.update_mask.paths.append("description")
    changed = client.call("UpdateTable", request)
    assert (changed.description, dict(changed.tags)) == ("after", {"a": "1"})


def test_a_deleted_table_is_gone_and_its_name_is_free(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.publish("weather")
    client.call("DeleteTable", pb.DeleteTableRequest(name="tables/weather"))
    assert not client.call("ListTables", pb.ListTablesRequest()).tables
    assert made(client).current_version == 0
    assert client.read("weather").num_rows == 0


def test_a_spec_says_which_features_and_keys_it_has(client: Client) -> None:
    made(client)
    client.create("planes", {"tailnum": "STRING", "seats": "INT32"}, ["tailnum"])
    spec = client.spec(
        "delays",
        lookup("weather", ["temp", "sky"], keys={"origin": "from"}, renames={"temp": "temperature"}),
        lookup("planes"),
        description="what is known",
    )
    assert [(one.name, one.type) for one in spec.features] == [("temperature", 5), ("sky", 6), ("seats", 2)]
    assert [one.name for one in spec.keys] == ["from", "tailnum"]
    assert client.call("GetFeatureSpec", pb.GetFeatureSpecRequest(name="specs/delays")) == spec
    assert list(client.call("ListFeatureSpecs", pb.ListFeatureSpecsRequest()).feature_specs) == [spec]
    assert (
        client.spec(
            "delays",
            lookup("weather", ["temp", "sky"], keys={"origin": "from"}, renames={"temp": "temperature"}),
            lookup("planes"),
            description="what is known",
        )
        == spec
    )


def test_a_training_set_joins_what_was_true_and_known_and_keeps_every_label(client: Client) -> None:
    made(client)
    client.create("planes", {"tailnum": "STRING", "seats": "INT32"}, ["tailnum"])
    client.write("weather", weather(ROWS))
    client.write("planes", pa.table({"tailnum": ["N1"], "seats": pa.array([100], pa.int32())}))
    client.spec(
        "delays",
        lookup(
            "weather", ["temp", "wind"], keys={"origin": "from"}, look_back=timedelta(hours=3), defaults={"wind": "-1"}
        ),
        lookup("planes"),
    )
    labels = pa.table(
        {
            "t": pa.array([at(3.5), at(2.5), at(1.5), at(9), at(3), at(3), at(3)], MOMENT),
            "from": ["JFK", "JFK", "JFK", "JFK", "LGA", None, "LGA"],
            "tailnum": ["N1", "N2", None, "N1", "N1", "N1", "N1"],
            "late": [True, False, True, False, True, False, True],
        }
    )
    made_set = client.train("delays", labels, "t", labels=["late"], exclude_columns=["from"])
    rows = client.rows(made_set)
    assert rows.column_names == ["t", "tailnum", "late", "temp", "wind", "seats"]
    assert rows["temp"].to_pylist() == [11.0, 10.0, None, None, 12.0, None, 12.0]
    assert rows["wind"].to_pylist() == [-1, 5, -1, -1, 7, -1, 7]
    assert rows["seats"].to_pylist() == [100, None, None, 100, 100, 100, 100]
    assert rows["late"].equals(labels["late"]) and rows["t"].equals(labels["t"])
    assert list(made_set.table_versions) == ["tables/weather/versions/1", "tables/planes/versions/1"]
    assert (made_set.rows, list(made_set.labels), made_set.spec) == (7, ["late"], "specs/delays")
    assert client.call("GetTrainingSet", pb.GetTrainingSetRequest(name=made_set.name)) == made_set


def test_keys_of_a_label_frame_may_be_narrower_than_those_of_the_table(client: Client) -> None:
    client.create("seats", {"plane": "INT64", "seats": "DOUBLE"}, ["plane"])
    client.write("seats", pa.table({"plane": pa.array([1, 2], pa.int32()), "seats": pa.array([9, 8], pa.float32())}))
    client.spec("s", lookup("seats"))
    labels = pa.table({"t": pa.array([at(1)] * 3, MOMENT), "plane": pa.array([2, 1, 3], pa.int16())})
    rows = client.rows(client.train("s", labels, "t"))
    assert rows["plane"].type == pa.int64() and rows["seats"].to_pylist() == [8.0, 9.0, None]


def test_the_same_training_set_has_the_same_digests_and_another_has_others(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.spec("s", lookup("weather", ["temp"]))
    labels = pa.table({"origin": ["JFK", "LGA"], "t": pa.array([at(5), at(5)], MOMENT)})
    one, two = client.train("s", labels, "t"), client.train("s", labels, "t")
    assert one.name != two.name and (one.digest, one.label_digest) == (two.digest, two.label_digest)
    client.write("weather", weather([("JFK", 4.0, 4.5, 1.0, 1, "x")]))
    three = client.train("s", labels, "t")
    assert three.digest != one.digest and three.label_digest == one.label_digest
    assert client.train("s", labels.slice(0, 1), "t").label_digest != one.label_digest


def test_online_features_of_several_tables_come_as_packed_blocks(client: Client) -> None:
    made(client)
    client.create("planes", {"tailnum": "STRING", "seats": "INT32", "old": "BOOL", "maker": "STRING"}, ["tailnum"])
    client.write("weather", weather(ROWS))
    planes = {"tailnum": ["N1"], "seats": pa.array([100], pa.int32()), "old": [True], "maker": ["Boeing"]}
    client.write("planes", pa.table(planes))
    published = client.publish("weather")
    assert (published.table_version, published.keys_written, published.keys_total) == (
        "tables/weather/versions/1",
        2,
        2,
    )
    client.publish("planes")
    assert client.table("weather").published
    client.spec("s", lookup("weather", ["temp", "wind", "sky"]), lookup("planes", defaults={"seats": "9"}))
    answer = client.online("s", {"origin": ["JFK", "LGA", "EWR", None], "tailnum": ["N1", "N2", "N1", "N1"]}, at(10))
    assert unpacked(answer) == {
        "temp": [11.0, 12.0, None, None],
        "wind": [None, 7, None, None],
        "sky": ["rain", None, None, None],
        "seats": [100, 9, 100, 100],
        "old": [True, None, True, True],
        "maker": ["Boeing", None, "Boeing", "Boeing"],
    }
    assert statuses(answer) == [
        ["PRESENT", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
        ["NULL", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
        ["PRESENT", "NULL", "NOT_FOUND", "NOT_FOUND"],
        ["PRESENT", "DEFAULTED", "PRESENT", "PRESENT"],
        ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"],
        ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"],
    ]
    assert len({block.type for block in answer.blocks}) == len(answer.blocks)


def test_statuses_and_event_times_come_only_when_asked_for_or_needed(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.publish("weather")
    client.spec("s", lookup("weather", ["temp"], look_back=timedelta(hours=1)))
    plain = client.online("s", {"origin": ["JFK", "LGA"]}, at(2))
    assert statuses(plain) == [["NOT_FOUND", "PRESENT"]], "a row that is not known yet is not there"
    full = client.online("s", {"origin": ["JFK"]}, at(3))
    assert not full.statuses and not full.event_times
    asked = client.online("s", {"origin": ["JFK"]}, at(3), with_statuses=True, with_event_times=True)
    assert statuses(asked) == [["PRESENT"]]
    assert int.from_bytes(asked.event_times, "little") == int(at(2).timestamp() * 1e6)
    assert statuses(client.online("s", {"origin": ["JFK"]}, at(3.01))) == [["EXPIRED"]]


def test_publish_takes_what_was_true_and_known_and_a_key_keeps_a_newer_value(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.spec("s", lookup("weather", ["temp"]))

    def temperatures() -> list[float | None]:
        return unpacked(client.online("s", {"origin": ["JFK", "LGA"]}))["temp"]

    assert client.publish("weather", at(2.5)).keys_written == 2
    assert temperatures() == [10.0, 12.0]
    client.publish("weather", at(3))
    assert temperatures() == [11.0, 12.0]
    assert client.publish("weather", at(2)).keys_written <= 1
    assert temperatures() == [11.0, 12.0]
    client.publish("weather", at(2), reset=True)
    assert temperatures() == [10.0, 12.0]
    assert client.publish("weather", at(1), reset=True).keys_total == 0
    assert temperatures() == [None, None]


def test_a_correction_of_the_same_event_goes_online(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.publish("weather")
    client.write("weather", weather([("LGA", 1.0, 2.0, 77.0, 7, None)]))
    client.publish("weather")
    client.spec("s", lookup("weather", ["temp"]))
    assert unpacked(client.online("s", {"origin": ["LGA"]}))["temp"] == [77.0]


def test_an_overwrite_takes_its_removed_keys_offline_at_the_next_publish(client: Client) -> None:
    made(client)
    client.write("weather", weather(ROWS))
    client.publish("weather")
    client.write("weather", weather(ROWS[:1]), mode="OVERWRITE")
    assert client.publish("weather").keys_total == 1
    client.spec("s", lookup("weather", ["temp"]))
    assert unpacked(client.online("s", {"origin": ["JFK", "LGA"]}))["temp"] == [10.0, None]


def test_a_table_that_publishes_on_write_is_online_when_the_write_is_answered(client: Client) -> None:
    made(client, publish_on_write=True)
    client.spec("s", lookup("weather", ["temp"]))
    client.write("weather", weather(ROWS[1:]))
    client.write("weather", weather(ROWS[:1]))
    assert client.table("weather").published
    assert unpacked(client.online("s", {"origin": ["JFK", "LGA"]}))["temp"] == [11.0, 12.0], "a late row stays behind"
    client.write("weather", weather([("EWR", 1.0, 2.0, 1.0, 1, "x")]), mode="OVERWRITE")
    assert unpacked(client.online("s", {"origin": ["JFK", "EWR"]}))["temp"] == [None, 1.0]
