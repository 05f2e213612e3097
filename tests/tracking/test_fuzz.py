"""Whatever a request holds, the answer is an answer or a refusal with a reason: never INTERNAL, never our insides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.testing import serve
from fivefold_tracking.__main__ import Config, build
from tests.runtime.fuzzing import FUZZING, Requests, check, methods_of
from tests.tracking.client import Tracking, sha256

METHODS = methods_of(pb.DESCRIPTOR.services_by_name["TrackingService"])
FILE = b"weights"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tracking, Requests]]:
    """A service on each kind of database with one thing of each kind, and requests that often name them."""
    data = str(tmp_path_factory.mktemp("fuzz") / "data")
    url = ""
    if request.param == "postgresql":
        shared = request.getfixturevalue("postgres_database")
        url = shared.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with serve(build, Config(data=data, store_url=url)) as running:
        tracking = Tracking(running.channel)
        experiment = tracking.experiment(tags={"team": "a"}).name
        parent = tracking.run(experiment).name
        run = tracking.run(experiment, parent_run=parent, params={"depth": "4"}, tags={"team": "a"}).name
        tracking.log(run, [pb.Metric(key="auc", value=0.5, step=step) for step in range(3)])
        ended = tracking.run(experiment, status=pb.RUN_STATUS_FINISHED).name
        model = tracking.stub.CreateLoggedModel(
            pb.CreateLoggedModelRequest(logged_model=pb.LoggedModel(experiment=experiment, source_run=run))
        ).name
        tracking.upload(run, "model/weights", FILE)
        yield tracking, Requests(
            [experiment, "experiments/2", "experiments/-1", f"experiments/{2**63}", parent, run, run, ended, model,
             "runs/" + "0" * 32, "logged_models/m-" + "0" * 32, "flights", "model/weights", "model", "../x",
             "%2e%2e", sha256(FILE), "auc", "depth", "team", "tags.team", "status", "end_time",
             "metrics.auc > 0.4", "params.depth >= 4 OR NOT tags.team LIKE 'a%'", "datasets.name IS NULL",
             "attributes.start_time IN (1, 2)", "metrics.auc DESC, start_time", "name DESC"],
            {
                **dict.fromkeys(("name", "parent"), (experiment, run, model)),
                **dict.fromkeys(("run", "runs", "source_run", "parent_run"), (run,)),
                **dict.fromkeys(("experiment", "experiments"), (experiment,)),
                **dict.fromkeys(("logged_model", "models"), (model,)),
                **dict.fromkeys(("path", "key", "keys"), ("model/weights", "auc")),
                "sha256": [sha256(FILE)],
                "request_id": [""],
                "etag": [""],
            },
        )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@FUZZING
@given(data=st.data())
def test_no_request_breaks_a_method(fuzzed: tuple[Tracking, Requests], method: str, data: st.DataObject) -> None:
    tracking, requests = fuzzed
    check(tracking.stub, METHODS[method], data, requests, endless=method == "WatchMetrics")
