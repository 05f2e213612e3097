"""What the service answers: defaults, masks, replays, and every way in which a request can be wrong."""

from __future__ import annotations

import base64

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import paging
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking

HOSTILE = [
    "", "experiments", "experiments/", "experiments/0", "experiments/01", "experiments/-1", "experiments/1.0",
    "experiments/٣", "experiments/../1", "experiments/%2e%2e", "experiments/1/runs", "runs/1",
    "/experiments/1", "experiments/1;x", "experiments/" + "9" * 30, "experiments/1#", "experiments\\1",
    "file://experiments/1", "experiments/１",
]  # fmt: skip
HOSTILE_RUNS = [
    "", "runs/", "runs/..", "runs/" + "g" * 32, "runs/" + "A" * 32, "runs/" + "0" * 31, "runs/" + "0" * 33,
    "experiments/1", "runs/%2e%2e", "runs/" + "0" * 32 + "/x", "runs/" + "0" * 31 + ";", "../runs/" + "0" * 32,
]  # fmt: skip
BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    ".",
    "..",
    "a/./b",
    "a;b",
    "a\nb",
    "a\u202eb",
    "a%2e",
    "a\\b",
    "a'b",
    "a,b",
]
GOOD_KEYS = ["a", "val loss", "val/loss", "système", "a:b", "a.b-c_d", "精度", "a..b"]


def test_a_run_gets_what_the_request_leaves_out(tracking: Tracking) -> None:
    made = tracking.run(tracking.experiment().name)

    assert made.status == pb.RUN_STATUS_RUNNING
    assert made.user == "local"
    assert made.start_time == made.create_time
    assert not made.HasField("end_time")
    adjective, animal, number = made.display_name.split("-")
    assert adjective.isalpha() and animal.isalpha() and number.isdigit()
    assert tracking.get(made.name) == made


def test_a_run_may_begin_in_the_first_moment_of_1970(tracking: Tracking) -> None:
    made = tracking.run(tracking.experiment().name, start_time=Timestamp(seconds=0))

    assert made.start_time == Timestamp(seconds=0) == tracking.get(made.name).start_time


def test_a_point_without_a_time_gets_now(tracking: Tracking) -> None:
    run = tracking.run(tracking.experiment().name)

    tracking.log(run.name, [pb.Metric(key="loss", value=1.0), pb.Metric(key="old", time=Timestamp(seconds=0))])

    loss, old = tracking.get(run.name).metrics
    assert loss.time.ToMicroseconds() >= run.create_time.ToMicroseconds()
    assert old.time.ToMicroseconds() == 0


@pytest.mark.parametrize("asked", [None, pb.RUN_STATUS_SCHEDULED, pb.RUN_STATUS_KILLED])
def test_a_run_that_begins_ended_has_an_end_time(tracking: Tracking, asked: pb.RunStatus | None) -> None:
    made = tracking.run(tracking.experiment().name, status=asked)

    assert made.HasField("end_time") == (asked == pb.RUN_STATUS_KILLED)


def test_an_update_without_a_mask_sets_the_fields_that_are_set(tracking: Tracking) -> None:
    experiment = tracking.experiment(tags={"a": "1"})
    run = tracking.run(experiment.name, params={"depth": "6"})

    renamed = tracking.stub.UpdateExperiment(
        pb.UpdateExperimentRequest(experiment=pb.Experiment(name=experiment.name, display_name="b"))
    )
    tracking.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=run.name, display_name="x", params={"depth": "7"})))

    assert (renamed.display_name, dict(renamed.tags)) == ("b", {"a": "1"})
    assert (tracking.get(run.name).display_name, dict(tracking.get(run.name).params)) == ("x", {"depth": "6"})


def test_a_mask_empties_tags(tracking: Tracking) -> None:
    experiment = tracking.experiment(tags={"a": "1"})
    request = pb.UpdateExperimentRequest(
        experiment=pb.Experiment(name=experiment.name, display_name="ignored"), update_mask=FieldMask(paths=["tags"])
    )

    assert dict(tracking.stub.UpdateExperiment(request).tags) == {}
    assert tracking.stub.UpdateExperiment(request).display_name == "flights"


@pytest.mark.parametrize("path", ["name", "params", "*", "status.x", ""])
def test_a_mask_with_a_field_that_cannot_be_updated_is_refused(tracking: Tracking, path: str) -> None:
    run = tracking.run(tracking.experiment().name)

    with refused("FIELD_INVALID") as refusal:
        tracking.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=run.name), update_mask=FieldMask(paths=[path])))
    assert refusal.facts["field"] == "update_mask"


@pytest.mark.parametrize("path", ["status", "display_name"])
def test_a_mask_with_a_field_that_has_no_value_is_refused(tracking: Tracking, path: str) -> None:
    run = tracking.run(tracking.experiment().name)

    with refused("FIELD_REQUIRED") as refusal:
        tracking.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=run.name), update_mask=FieldMask(paths=[path])))
    assert refusal.facts["field"] == f"run.{path}"


def test_the_same_request_id_gets_the_first_answer_and_changes_nothing(on_both: Tracking) -> None:
    experiment = on_both.experiment(request_id="e").name
    assert on_both.experiment(request_id="e").name == experiment
    request = pb.CreateRunRequest(run=pb.Run(experiment=experiment), request_id="r")
    made = on_both.stub.CreateRun(request)
    logged = pb.LogBatchRequest(run=made.name, metrics=[pb.Metric(key="a", value=1)], request_id="l")
    on_both.stub.LogBatch(logged)

    assert on_both.stub.CreateRun(request) == made
    on_both.stub.LogBatch(logged)

    assert on_both.search(experiment).total_size == 1
    history = on_both.stub.ListMetricPoints(pb.ListMetricPointsRequest(run=made.name, key="a"))
    assert len(history.points.values) == 1
    logged.metrics[0].value = 2
    with refused("REQUEST_ID_REUSED"):
        on_both.stub.LogBatch(logged)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_experiments_is_refused_everywhere(tracking: Tracking, name: str) -> None:
    stub, experiment = tracking.stub, pb.Experiment(name=name, display_name="x")
    required = "FIELD_REQUIRED" if not name else "FIELD_TOO_LONG" if len(name) > 64 else "NAME_INVALID"
    for call, request, reason in (
        (stub.GetExperiment, pb.GetExperimentRequest(name=name), required),
        (stub.DeleteExperiment, pb.DeleteExperimentRequest(name=name), required),
        (stub.UndeleteExperiment, pb.UndeleteExperimentRequest(name=name), required),
        (stub.UpdateExperiment, pb.UpdateExperimentRequest(experiment=experiment), "NAME_INVALID"),
        (stub.CreateRun, pb.CreateRunRequest(run=pb.Run(experiment=name)), "NAME_INVALID"),
        (stub.SearchRuns, pb.SearchRunsRequest(experiments=[name]), "NAME_INVALID"),
    ):
        if request == pb.CreateRunRequest(run=pb.Run()):
            request.run.display_name = "x"
        with refused(reason) as refusal:
            call(request)
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", HOSTILE_RUNS)
def test_a_name_that_is_no_runs_is_refused_everywhere(tracking: Tracking, name: str) -> None:
    stub, experiment = tracking.stub, tracking.experiment().name
    required = "FIELD_REQUIRED" if not name else "NAME_INVALID"
    calls = [
        (stub.GetRun, pb.GetRunRequest(name=name), required),
        (stub.DeleteRun, pb.DeleteRunRequest(name=name), required),
        (stub.UndeleteRun, pb.UndeleteRunRequest(name=name), required),
        (stub.UpdateRun, pb.UpdateRunRequest(run=pb.Run(name=name, display_name="x")), "NAME_INVALID"),
        (stub.LogBatch, pb.LogBatchRequest(run=name), required),
        (stub.LogInputs, pb.LogInputsRequest(run=name, inputs=[pb.DatasetInput(dataset="d", digest="1")]), required),
        (stub.ListMetricPoints, pb.ListMetricPointsRequest(run=name, key="a"), required),
        (stub.ListArtifacts, pb.ListArtifactsRequest(parent=name), required),
        (
            lambda request: list(stub.DownloadArtifact(request)),
            pb.DownloadArtifactRequest(parent=name, path="a"),
            required,
        ),
    ]
    if name:  # An empty one means that there is no parent.
        calls.append((stub.SearchRuns, pb.SearchRunsRequest(experiments=[experiment], parent_run=name), "NAME_INVALID"))
        calls.append(
            (stub.CreateRun, pb.CreateRunRequest(run=pb.Run(experiment=experiment, parent_run=name)), "NAME_INVALID")
        )
    for call, request, reason in calls:
        with refused(reason) as refusal:
            call(request)
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_is_not_allowed_is_refused_and_nothing_is_written(tracking: Tracking, key: str) -> None:
    experiment = tracking.experiment().name
    run = tracking.run(experiment).name
    for call in (
        lambda: tracking.log(run, [pb.Metric(key="good"), pb.Metric(key=key)], params={"good": "1"}),
        lambda: tracking.log(run, [pb.Metric(key="good")], params={key: "1"}),
        lambda: tracking.log(run, [pb.Metric(key="good")], tags={key: "1"}),
        lambda: tracking.run(experiment, params={key: "1"}),
        lambda: tracking.run(experiment, tags={key: "1"}),
        lambda: tracking.experiment("other", tags={key: "1"}),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with refused("NAME_INVALID"):
        tracking.log(run, tags={key: "1"})

    now = tracking.get(run)
    assert (len(now.metrics), len(now.params), tracking.search(experiment).total_size) == (0, 0, 1)


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_a_key_that_mlflow_allows_is_allowed(tracking: Tracking, key: str) -> None:
    experiment = tracking.experiment().name
    run = tracking.run(experiment).name

    tracking.log(run, [pb.Metric(key=key, value=1)], params={key: "1"}, tags={key: "1"})

    assert tracking.metrics(run) == {key: 1}
    assert tracking.search(experiment, order_by=f"metrics.`{key}` desc").runs[0].name == run


@pytest.mark.parametrize(
    "order",
    [
        "start",
        "metrics",
        "metrics.",
        "params. desc",
        "datasets.name",
        "start_time up",
        "metrics.a; drop",
        "start_time desc, x",
    ],
)
def test_an_order_that_is_not_understood_is_refused(tracking: Tracking, order: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tracking.search(tracking.experiment().name, order_by=order)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with refused("FILTER_INVALID") as refusal:
        tracking.search(tracking.experiment(allow_existing=True).name, order_by="stop_time")
    assert refusal.facts["field"] == "order_by"


def test_limits_of_the_contract_are_enforced(tracking: Tracking) -> None:
    run = tracking.run(tracking.experiment().name).name

    with refused("FIELD_TOO_LONG"):
        tracking.log(run, [pb.Metric(key="k" * 251)])
    with refused("FIELD_TOO_LONG"):
        tracking.log(run, params={"a": "x" * 6001})
    with refused("FIELD_TOO_LONG"):
        tracking.log(run, tags={"a": "x" * 8001})
    with refused("TOO_MANY_ITEMS"):
        tracking.log(run, [pb.Metric(key="a")] * 1001)
    with refused("TOO_MANY_ITEMS"):
        tracking.log(run, params={str(i): "" for i in range(101)})
    with refused("FIELD_REQUIRED"):
        tracking.stub.LogInputs(pb.LogInputsRequest(run=run, inputs=[pb.DatasetInput(dataset="d")]))
    with refused("FIELD_INVALID"):
        tracking.log(run, params={"a": "x\0y"})
    tracking.log(run, [pb.Metric(key="k" * 250)] * 1000, params={"a": "x" * 6000}, tags={"a": "ä" * 4000})


def test_times_before_1970_are_refused(tracking: Tracking) -> None:
    experiment = tracking.experiment().name
    run, early = tracking.run(experiment).name, Timestamp(seconds=-1)

    for call, field in (
        (lambda: tracking.log(run, [pb.Metric(key="a", time=early)]), "metrics[0].time"),
        (lambda: tracking.run(experiment, start_time=early), "run.start_time"),
        (lambda: tracking.run(experiment, status=pb.RUN_STATUS_FAILED, end_time=early), "run.end_time"),
    ):
        with refused("FIELD_INVALID") as refusal:
            call()
        assert refusal.facts["field"] == field


def test_an_end_time_needs_a_status_that_has_ended(tracking: Tracking) -> None:
    with refused("FIELD_INVALID") as refusal:
        tracking.run(tracking.experiment().name, end_time=Timestamp(seconds=1))
    assert refusal.facts["field"] == "run.end_time"


@pytest.mark.parametrize("display_name", ["", "  ", "\t"])
def test_an_experiment_needs_a_display_name(tracking: Tracking, display_name: str) -> None:
    with refused("FIELD_REQUIRED") as refusal:
        tracking.experiment(display_name, tags={"a": "1"})
    assert refusal.facts["field"] == "experiment.display_name"


def test_a_changed_param_is_told_with_both_values(tracking: Tracking) -> None:
    run = tracking.run(tracking.experiment().name, params={"depth": "6"}).name

    with refused("PARAM_CHANGED") as refusal:
        tracking.log(run, params={"depth": "7"})
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.facts == {"key": "depth", "stored": "6", "given": "7"}


def test_states_that_forbid_a_call_have_their_codes(tracking: Tracking) -> None:
    experiment = tracking.experiment()
    run = tracking.run(experiment.name).name
    with refused("RESOURCE_EXISTS") as exists:
        tracking.experiment()
    with refused("ETAG_MISMATCH") as mismatch:
        tracking.stub.DeleteExperiment(pb.DeleteExperimentRequest(name=experiment.name, etag="other"))
    with refused("RESOURCE_NOT_FOUND") as missing:
        tracking.get("runs/" + "0" * 32)
    tracking.stub.DeleteRun(pb.DeleteRunRequest(name=run))
    with refused("RUN_DELETED") as deleted:
        tracking.log(run, [pb.Metric(key="a")])
    tracking.stub.DeleteExperiment(pb.DeleteExperimentRequest(name=experiment.name))
    with refused("EXPERIMENT_DELETED") as gone:
        tracking.run(experiment.name)

    assert [each.code for each in (exists, mismatch, missing, deleted, gone)] == [
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.FAILED_PRECONDITION,
    ]


def test_a_page_token_belongs_to_its_query(tracking: Tracking) -> None:
    for name in "abc":
        tracking.experiment(name)
    runs = [tracking.run("experiments/1").name for _ in range(3)]
    found = tracking.search("experiments/1", page_size=1)

    for wrong in ({"order_by": "start_time"}, {"view": pb.VIEW_ALL}, {"parent_run": runs[0]}):
        with refused("PAGE_TOKEN_INVALID"):
            tracking.search("experiments/1", page_token=found.next_page_token, **wrong)
    with refused("PAGE_TOKEN_INVALID"):
        tracking.stub.ListExperiments(pb.ListExperimentsRequest(page_token=found.next_page_token))
    assert len(tracking.search("experiments/1", page_size=7, page_token=found.next_page_token).runs) == 2


@pytest.mark.parametrize(
    "key",
    [
        '[]', '{}', '1', '"x"', 'null', '[1]', '[0,1,"x"]', '[0,1,0,"x",2]', '["0",1,0,"x"]', '[-1,1,0,"x"]',
        '[1,null,0,"x"]', '[2,null,0,"x"]', '[3,1,0,"x"]', '[0,1,4,"x"]', '[0,1,2,"x"]', '[0,1,0.0,"x"]',
        '[0,9223372036854775808,0,"x"]', '[0,"1",0,"x"]', '[0,1,0,"\\ud800"]', '[0,1,0,"a\\u0000"]', '[0,true,0,"x"]',
        '[0,1,0,null]', '[0,null,0,"x"]', '[0,[1],0,"x"]', '[0,{},0,"x"]', '[0,1.5,0,"x"]',
    ],
)  # fmt: skip
def test_a_made_up_page_token_is_refused(tracking: Tracking, key: str) -> None:
    request = pb.SearchRunsRequest(experiments=[tracking.experiment().name])
    sum_ = paging._sum(key.encode(), paging.query_of(request))  # It is no secret, so anyone could compute it.
    request.page_token = base64.urlsafe_b64encode(sum_ + key.encode()).decode().rstrip("=")

    with refused("PAGE_TOKEN_INVALID"):
        tracking.stub.SearchRuns(request)


def test_a_negative_page_size_is_refused(tracking: Tracking) -> None:
    with refused("FIELD_INVALID"):
        tracking.search(tracking.experiment().name, page_size=-1)
