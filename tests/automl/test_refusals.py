"""What the service answers to wrong requests, and what it does without Ray. No search runs here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold_automl.__main__ import Config, build, owner_of
from fivefold_automl.names import job_id
from fivefold_runtime.names import NameInvalid
from fivefold_runtime.settings import StartError
from tests.automl.conftest import Service, refusal, table

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = f"jobs/{'0' * 32}"


def asked(service: Service, data: pa.Table | None = None, **fields: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Creates a job that is refused."""
    fields.setdefault("training_set", service.peers.features.put(table() if data is None else data))
    job = pb.Job(**{"problem_type": pb.PROBLEM_TYPE_CLASSIFICATION, "target": "y", **fields})
    return refusal(service.stub.CreateJob, pb.CreateJobRequest(job=job))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"target": "nothing"}, "TARGET_INVALID"),
        ({"problem_type": pb.PROBLEM_TYPE_REGRESSION}, "TARGET_INVALID"),
        ({"training_set": "models/a"}, "NAME_INVALID"),
        ({"training_set": "trainingSets/.."}, "NAME_INVALID"),
        ({"problem_type": 0}, "FIELD_REQUIRED"),
        ({"metric": pb.METRIC_TYPE_RMSE}, "FIELD_INVALID"),
        ({"time_column": "nothing"}, "FIELD_INVALID"),
        ({"time_column": "color"}, "FIELD_INVALID"),
        ({"exclude_columns": ["nothing"]}, "FIELD_INVALID"),
        ({"exclude_learners": ["nothing"]}, "FIELD_INVALID"),
        ({"exclude_columns": ["number", "other", "count", "color", "flag", "amount"]}, "DATA_INVALID"),
        ({"budget": {"seconds": 0}}, "FIELD_INVALID"),
        ({"budget": {"seconds": 86_401}}, "FIELD_INVALID"),
        ({"validation_share": 0.9}, "FIELD_INVALID"),
        ({"seed": -1}, "FIELD_INVALID"),
    ],
)
def test_a_wrong_job_is_refused_before_anything_is_made(rayless: Service, fields: dict[str, Any], reason: str) -> None:
    assert asked(rayless, **fields)[:2] == (INVALID, reason)
    assert rayless.peers.tracking.runs == {}


def test_leaving_out_every_learner_is_refused(rayless: Service) -> None:
    everyone = ["decision_tree", "extra_trees", "lightgbm", "linear", "random_forest", "xgboost"]
    assert asked(rayless, exclude_learners=everyone)[:2] == (INVALID, "FIELD_INVALID")


def test_two_rows_are_refused(rayless: Service) -> None:
    assert asked(rayless, table(2))[:2] == (INVALID, "DATA_INVALID")


def test_an_unknown_training_set_is_not_found(rayless: Service) -> None:
    name = f"trainingSets/{'0' * 32}"
    assert asked(rayless, training_set=name)[:2] == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("which", ["tracking", "features"])
def test_a_service_that_is_down_is_named(rayless: Service, which: str) -> None:
    getattr(rayless.peers, which).down.set()
    code, reason, facts = asked(rayless)
    assert (code, reason, facts["service"]) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", which)


def test_a_job_that_is_not_there_is_not_found(rayless: Service) -> None:
    stub = rayless.stub
    for call, request in (
        (stub.GetJob, pb.GetJobRequest(name=MISSING)),
        (stub.CancelJob, pb.CancelJobRequest(name=MISSING)),
        (stub.WatchJob, pb.WatchJobRequest(name=MISSING)),
        (stub.ListTrials, pb.ListTrialsRequest(parent=MISSING)),
        (stub.RegisterTrial, pb.RegisterTrialRequest(job=MISSING, model="models/m")),
    ):
        assert refusal(call, request)[:2] == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


def test_a_trial_of_another_job_is_not_found(rayless: Service) -> None:
    job = rayless.job(rayless.peers.features.put(table()), learners=("linear",))
    request = pb.RegisterTrialRequest(job=job.name, model="models/m", trial=f"{MISSING}/trials/1")
    assert refusal(rayless.stub.RegisterTrial, request)[:2] == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("name", ["jobs/../x", "jobs/", "jobs/zz", "runs/1", f"{MISSING}/trials/0", "jobs/%2e%2e"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        owner_of(name)


def test_a_trial_belongs_to_its_job() -> None:
    assert owner_of(f"{MISSING}/trials/12") == MISSING
    assert job_id(MISSING) == "0" * 32


def test_a_job_whose_ray_does_not_come_fails_with_the_reason(rayless: Service) -> None:
    job = rayless.ended(rayless.job(rayless.peers.features.put(table()), learners=("linear",)))
    assert (job.state, job.error_reason) == (pb.JOB_STATE_FAILED, "RAY_UNAVAILABLE")
    assert "Ray is starting" in job.error


def test_a_cluster_that_is_not_there_yet_is_said_to_be_starting(rayless: Service) -> None:
    cluster = rayless.stub.GetCluster(pb.GetClusterRequest())
    assert (cluster.state, cluster.embedded, list(cluster.nodes)) == (pb.CLUSTER_STATE_STARTING, True, [])
    assert rayless.app.ready() == "Ray is starting"


def test_the_same_request_id_makes_one_job(rayless: Service) -> None:
    training_set = rayless.peers.features.put(table())
    job = pb.Job(problem_type=pb.PROBLEM_TYPE_CLASSIFICATION, target="y", training_set=training_set)
    request = pb.CreateJobRequest(job=job, request_id="only-once")
    first = rayless.stub.CreateJob(request)
    assert rayless.stub.CreateJob(request).name == first.name
    assert len(rayless.stub.ListJobs(pb.ListJobsRequest()).jobs) == 1
    request.job.seed = 5
    assert refusal(rayless.stub.CreateJob, request)[1] == "REQUEST_ID_REUSED"


def test_jobs_are_listed_newest_first_page_by_page(rayless: Service) -> None:
    training_set = rayless.peers.features.put(table())
    names = [rayless.job(training_set, learners=("linear",)).name for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = rayless.stub.ListJobs(pb.ListJobsRequest(page_size=2, page_token=token))
        seen += [job.name for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == names[::-1]


def test_a_page_token_of_another_list_is_refused(rayless: Service) -> None:
    job = rayless.job(rayless.peers.features.put(table()), learners=("linear",))
    for call, request in (
        (rayless.stub.ListJobs, pb.ListJobsRequest(page_token="x")),
        (rayless.stub.ListTrials, pb.ListTrialsRequest(parent=job.name, page_token="x")),
    ):
        assert refusal(call, request)[:2] == (INVALID, "PAGE_TOKEN_INVALID")


def test_a_waiting_job_is_cancelled_at_once_and_its_run_ends(rayless: Service) -> None:
    training_set = rayless.peers.features.put(table())
    rayless.job(training_set, learners=("linear",))
    waiting = rayless.job(training_set, learners=("linear",))
    assert rayless.stub.CancelJob(pb.CancelJobRequest(name=waiting.name)).state == pb.JOB_STATE_CANCELLED
    assert rayless.ended(waiting).state == pb.JOB_STATE_CANCELLED
    run = rayless.peers.tracking.runs[waiting.run]
    while not run.HasField("end_time"):
        rayless.stub.GetJob(pb.GetJobRequest(name=waiting.name))
    assert run.tags["fivefold.job_state"] == "cancelled"


@pytest.mark.parametrize(
    "settings",
    [
        {"jobs": 0},
        {"ray_cpus": -1},
        {"ray_store_bytes": 1},
        {"ray_wait_seconds": -1.0},
        {"ray_temp": "/tmp/" + "x" * 40},
    ],
)
def test_a_setting_out_of_range_stops_the_start(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StartError, match="it must"):
        replace(Config(data=str(tmp_path)), **settings).check()


def test_a_newer_schema_stops_the_start(tmp_path: Path) -> None:
    import sqlite3

    config = Config(data=str(tmp_path))
    app = build(config)
    assert app.database is not None
    app.database.close()
    with sqlite3.connect(tmp_path / "store.db") as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartError, match="newer"):
        build(config)
