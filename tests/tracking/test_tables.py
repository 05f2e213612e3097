"""Runs side by side and runs as a table, through the service; what searches give away to those who may read little."""

from __future__ import annotations

import math
from collections.abc import Iterable

import grpc
import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.tracking.filled import fill, run_of
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import Running, serve
from fivefold_tracking import exporting
from fivefold_tracking.__main__ import Config, build
from fivefold_tracking.store.sql import MIGRATIONS
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking

PARAM, METRIC, TAG, ATTRIBUTE = (
    pb.CompareRunsResponse.KIND_PARAM,
    pb.CompareRunsResponse.KIND_METRIC,
    pb.CompareRunsResponse.KIND_TAG,
    pb.CompareRunsResponse.KIND_ATTRIBUTE,
)


def compared(tracking: Tracking, *runs: str, **more: bool) -> dict[tuple[int, str], list[object]]:
    """Returns the values of each row of a comparison, by kind and key, in the order of the rows."""
    answer = tracking.stub.CompareRuns(pb.CompareRunsRequest(runs=runs, **more))
    return {(row.kind, row.key): list(map(plain, row.values)) for row in answer.rows}


def plain(value: pb.CompareRunsResponse.Value) -> object:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def exported(tracking: Tracking, *experiments: str, **more: object) -> pa.Table:
    answers = tracking.stub.ExportRuns(pb.ExportRunsRequest(experiments=experiments, **more))
    return table_of(answer.data for answer in answers)


def table_of(pieces: Iterable[bytes]) -> pa.Table:
    kept = list(pieces)
    assert all(0 < len(piece) <= 1024 * 1024 for piece in kept)
    return pa.ipc.open_stream(b"".join(kept)).read_all()


@pytest.fixture
def two(tracking: Tracking) -> tuple[str, str]:
    experiment = tracking.experiment().name
    start = Timestamp(seconds=1_700_000_000, nanos=500_000_000)
    one = tracking.run(
        experiment, params={"lr": "0.1", "depth": "3", "model": "a", "x": "1"}, tags={"t": "1"}, user="ada",
        display_name="one", start_time=start, status="RUN_STATUS_FINISHED", end_time=Timestamp(seconds=1_700_000_002),
    )  # fmt: skip
    other = tracking.run(
        experiment, params={"lr": "1e-1", "depth": "10", "model": "7", "x": "y"}, tags={"t": "1"}, user="ada",
        display_name="other", start_time=start, source=pb.Source(git_commit="abc"),
    )  # fmt: skip
    tracking.log(one.name, [pb.Metric(key="auc", value=0.9), pb.Metric(key="nan", value=math.nan)], allow_ended=True)
    tracking.log(other.name, [pb.Metric(key="nan", value=math.nan), pb.Metric(key="loss", value=1)])
    return one.name, other.name


def test_a_comparison_shows_what_differs_params_first(tracking: Tracking, two: tuple[str, str]) -> None:
    rows = compared(tracking, *two)

    assert list(rows.items()) == [
        ((PARAM, "depth"), [3.0, 10.0]),
        ((PARAM, "model"), ["a", "7"]),
        ((PARAM, "x"), ["1", "y"]),
        ((METRIC, "auc"), [0.9, None]),
        ((METRIC, "loss"), [None, 1.0]),
        ((ATTRIBUTE, "duration_seconds"), ["1.500", None]),
        ((ATTRIBUTE, "end_time"), ["2023-11-14T22:13:22Z", None]),
        ((ATTRIBUTE, "git_commit"), [None, "abc"]),
        ((ATTRIBUTE, "status"), ["FINISHED", "RUNNING"]),
    ]


def test_a_comparison_shows_what_is_equal_when_asked_after_what_differs(
    tracking: Tracking, two: tuple[str, str]
) -> None:
    answer = tracking.stub.CompareRuns(pb.CompareRunsRequest(runs=two, show_equal=True))

    assert list(answer.display_names) == ["one", "other"]
    assert [row.differs for row in answer.rows] == sorted((row.differs for row in answer.rows), reverse=True)
    equal = [(row.kind, row.key) for row in answer.rows if not row.differs]
    assert equal == [
        (PARAM, "lr"), (METRIC, "nan"), (TAG, "t"), (ATTRIBUTE, "source_name"), (ATTRIBUTE, "start_time"),
        (ATTRIBUTE, "user"),
    ]  # fmt: skip


def test_values_of_a_comparison_follow_the_order_of_the_request(tracking: Tracking, two: tuple[str, str]) -> None:
    one, other = two
    assert compared(tracking, other, one, other)[PARAM, "depth"] == [10.0, 3.0, 10.0]
    assert compared(tracking, one) == {}


def test_a_run_that_is_not_there_cannot_be_compared(tracking: Tracking, two: tuple[str, str]) -> None:
    with refused("RESOURCE_NOT_FOUND"):
        tracking.stub.CompareRuns(pb.CompareRunsRequest(runs=[*two, f"runs/{'0' * 32}"]))
    with refused("NAME_INVALID"):
        tracking.stub.CompareRuns(pb.CompareRunsRequest(runs=["runs/x"]))


def test_an_export_has_typed_columns_and_nulls_where_a_run_has_no_value(
    tracking: Tracking, two: tuple[str, str]
) -> None:
    table = exported(tracking, "experiments/1", order_by="run_name")

    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds == {
        "run_id": "string", "run_name": "string", "experiment_id": "string", "status": "string", "user": "string",
        "start_time": "timestamp[us, tz=UTC]", "end_time": "timestamp[us, tz=UTC]", "parent_run_id": "string",
        "source_type": "string", "source_name": "string", "git_commit": "string",
        "metrics.auc": "double", "metrics.loss": "double", "metrics.nan": "double",
        "params.depth": "string", "params.lr": "string", "params.model": "string", "params.x": "string", "tags.t": "string",
    }  # fmt: skip
    rows = table.to_pylist()
    assert [f"runs/{row['run_id']}" for row in rows] == list(two)
    assert [row["metrics.auc"] for row in rows] == [0.9, None]
    assert all(math.isnan(row["metrics.nan"]) for row in rows)
    assert [row["params.depth"] for row in rows] == ["3", "10"]
    assert [row["git_commit"] for row in rows] == [None, "abc"]


def test_an_export_has_the_runs_and_the_keys_of_its_filter_only(tracking: Tracking, two: tuple[str, str]) -> None:
    table = exported(tracking, "experiments/1", filter="metrics.auc > 0.5")

    assert table.num_rows == 1
    assert "metrics.loss" not in table.column_names


def test_an_export_of_nothing_is_a_table_without_rows(tracking: Tracking) -> None:
    table = exported(tracking, tracking.experiment().name)

    assert (table.num_rows, "run_id" in table.column_names) == (0, True)


@pytest.fixture
def filled(data: object) -> Tracking:
    """A service whose experiment 1 has 2500 runs."""
    database = Database.open(sqlite_in(str(data)), migrations=MIGRATIONS)
    fill(database, 2500)
    database.close()
    with serve(build, Config(data=str(data))) as running:
        yield Tracking(running.channel)


def test_an_export_has_every_run_of_many_pages_once_in_order(filled: Tracking) -> None:
    table = exported(filled, "experiments/1", order_by="start_time")

    assert table["run_id"].to_pylist() == [run_of(index).id for index in range(2500)]
    assert table["metrics.auc"].to_pylist() == [run_of(index).metrics["auc"] for index in range(2500)]
    assert table["params.learning_rate"].to_pylist() == [run_of(index).params["learning_rate"] for index in range(2500)]
    assert len(table["run_id"].chunks) == 3


def test_an_export_ends_at_the_most_that_was_asked_for(filled: Tracking) -> None:
    for most in (1, 1000, 1001, 2400):
        assert exported(filled, "experiments/1", max_runs=most).num_rows == most


def test_a_search_that_leaves_the_count_out_finds_the_same(filled: Tracking) -> None:
    for filter in ("", "metrics.auc > 0.8 AND params.model = 'xgboost'", "params.seed = '7'"):
        counted = filled.search("experiments/1", filter=filter, order_by="metrics.auc desc")
        bare = filled.search("experiments/1", filter=filter, order_by="metrics.auc desc", skip_total_size=True)
        assert [run.name for run in bare.runs] == [run.name for run in counted.runs]
        assert (bare.total_size, counted.total_size > 0) == (0, True)


def test_a_table_with_more_columns_than_anyone_reads_is_refused(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, two: tuple[str, str]
) -> None:
    monkeypatch.setattr(exporting, "MOST_KEYS", 7)
    with refused("FIELD_INVALID"):
        exported(tracking, "experiments/1")
    assert exported(tracking, "experiments/1", filter="metrics.auc > 0").num_rows == 1


@pytest.mark.parametrize("call", ["SearchRuns", "ExportRuns", "ListExperiments"])
def test_a_mistake_is_refused_with_its_place_by_every_call(tracking: Tracking, call: str) -> None:
    more = {} if call == "ListExperiments" else {"experiments": [tracking.experiment().name]}
    for field, text, position in (("filter", "tags.x = 'a' AMD", "13"), ("order_by", "color", "0")):
        request = getattr(pb, f"{call}Request")(**more, **{field: text})
        with refused("FILTER_INVALID") as refusal:
            answer = getattr(tracking.stub, call)(request)
            list(answer) if call == "ExportRuns" else None
        assert (refusal.facts["field"], refusal.facts["position"]) == (field, position)


def test_the_caret_arrives_under_the_mistake(tracking: Tracking) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tracking.search(tracking.experiment().name, filter="metrics.auc >> 1")

    assert caught.value.details().split("\n")[1:] == ["  metrics.auc >> 1", "              ^"]


def test_a_run_changes_single_tags_by_the_mask(service: Running, tracking: Tracking) -> None:
    run = tracking.run(tracking.experiment().name, tags={"a": "1", "b.c": "2"}).name
    asked = pb.Run(name=run, tags={"b.c": "3"})

    changed = tracking.stub.UpdateRun(pb.UpdateRunRequest(run=asked, update_mask={"paths": ["tags.a", "tags.b.c"]}))

    assert dict(changed.tags) == {"b.c": "3"}
    with refused("NAME_INVALID"):
        bad = pb.Run(name=run, tags={"a;b": "3"})
        tracking.stub.UpdateRun(pb.UpdateRunRequest(run=bad, update_mask={"paths": ["tags.a;b"]}))
