"""Who may do what, with JWT: a manager, a reader, a writer, a stranger and an administrator, over every method."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.permissions.v1 import permissions_pb2
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime import errors
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import Running, serve
from fivefold_tracking.__main__ import Config, build
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking
from tests.tracking.test_streams import header, one

READ, EDIT, MANAGE = (
    permissions_pb2.LEVEL_CAN_READ,
    permissions_pb2.LEVEL_CAN_EDIT,
    permissions_pb2.LEVEL_CAN_MANAGE,
)


class Everyone:
    """The service as each caller sees it, and what the manager made: an experiment with a run."""

    def __init__(self, running: Running, keys: Path) -> None:
        def as_(subject: str, *groups: str) -> Tracking:
            return Tracking(running.channel, sign_token(keys, subject, list(groups), lifetime=timedelta(hours=1)))

        self.manager, self.stranger, self.admin = as_("mia"), as_("sam"), as_("root")
        self.reader, self.writer = as_("rob", "readers"), as_("wes")
        self.nobody = Tracking(running.channel)
        self.automl = as_("service", "fivefold:automl")
        self.experiment = self.manager.experiment("mine").name
        self.run = self.manager.run(self.experiment, params={"a": "1"}).name
        self.manager.upload(self.run, "a", b"1")
        asked = pb.LoggedModel(experiment=self.experiment, display_name="secret", tags={"a": "1"})
        self.model = self.manager.stub.CreateLoggedModel(pb.CreateLoggedModelRequest(logged_model=asked)).name
        self.manager.upload(self.model, "a", b"1")
        grants = [("mia", MANAGE), ("group:readers", READ), ("wes", EDIT)]
        self.manager.permissions.SetPermissions(
            permissions_pb2.SetPermissionsRequest(
                permissions=permissions_pb2.Permissions(
                    resource=self.experiment,
                    grants=[permissions_pb2.Grant(principal=who, level=level) for who, level in grants],
                )
            )
        )


@pytest.fixture
def everyone(data: Path, tmp_path: Path) -> Iterator[Everyone]:
    keys = tmp_path / "keys"
    config = Config(data=str(data), auth="jwt", jwt_keys=str(make_key(keys)), admins="root")
    with serve(build, config) as running:
        yield Everyone(running, keys)


def get_permissions(caller: Tracking, resource: str) -> Any:
    return caller.permissions.GetPermissions(permissions_pb2.GetPermissionsRequest(resource=resource))


def delete_artifact(caller: Tracking, everyone: Everyone) -> None:
    everyone.manager.upload(everyone.model, "a", b"1")
    caller.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=everyone.model, path="a"))


# Each call of one experiment, run or logged model, and the level that it needs.
CALLS: dict[str, tuple[int, Callable[[Tracking, Everyone], object]]] = {
    "GetExperiment": (READ, lambda t, e: t.stub.GetExperiment(pb.GetExperimentRequest(name=e.experiment))),
    "GetRun": (READ, lambda t, e: t.get(e.run)),
    "ListMetricPoints": (READ, lambda t, e: t.stub.ListMetricPoints(pb.ListMetricPointsRequest(run=e.run, key="m"))),
    "SampleMetrics": (READ, lambda t, e: t.stub.SampleMetrics(pb.SampleMetricsRequest(runs=[e.run], keys=["m"]))),
    "WatchMetrics": (READ, lambda t, e: next(t.stub.WatchMetrics(pb.WatchMetricsRequest(run=e.run)))),
    "ListArtifacts": (READ, lambda t, e: t.artifacts(e.run)),
    "DownloadArtifact": (READ, lambda t, e: t.download(e.run, "a")),
    "GetPermissions": (READ, lambda t, e: get_permissions(t, e.run)),
    "UpdateExperiment": (
        EDIT,
        lambda t, e: t.stub.UpdateExperiment(
            pb.UpdateExperimentRequest(experiment=pb.Experiment(name=e.experiment, tags={"a": "1"}))
        ),
    ),
    "CreateRun": (EDIT, lambda t, e: t.run(e.experiment, parent_run=e.run)),
    "UpdateRun": (
        EDIT,
        lambda t, e: t.stub.UpdateRun(pb.UpdateRunRequest(run=pb.Run(name=e.run, display_name="x"))),
    ),
    "LogBatch": (EDIT, lambda t, e: t.log(e.run, tags={"a": "1"})),
    "LogMetrics": (EDIT, lambda t, e: list(t.stub.LogMetrics(iter([header(e.run)])))),
    "LogInputs": (
        EDIT,
        lambda t, e: t.stub.LogInputs(
            pb.LogInputsRequest(run=e.run, inputs=[pb.DatasetInput(dataset="d", digest="1")])
        ),
    ),
    "UploadArtifact": (EDIT, lambda t, e: t.upload(e.run, "b", b"2")),
    "DeleteRun": (EDIT, lambda t, e: t.stub.DeleteRun(pb.DeleteRunRequest(name=e.run))),
    "UndeleteRun": (EDIT, lambda t, e: t.stub.UndeleteRun(pb.UndeleteRunRequest(name=e.run))),
    "CompareRuns": (READ, lambda t, e: t.stub.CompareRuns(pb.CompareRunsRequest(runs=[e.run]))),
    "DeleteRuns": (
        EDIT,
        lambda t, e: t.stub.DeleteRuns(
            pb.DeleteRunsRequest(experiment=e.experiment, started_until=Timestamp(seconds=1))
        ),
    ),
    "UndeleteRuns": (
        EDIT,
        lambda t, e: t.stub.UndeleteRuns(
            pb.UndeleteRunsRequest(experiment=e.experiment, deleted_since=Timestamp(seconds=1))
        ),
    ),
    "GetLoggedModel": (READ, lambda t, e: t.stub.GetLoggedModel(pb.GetLoggedModelRequest(name=e.model))),
    "CreateLoggedModel": (
        EDIT,
        lambda t, e: t.stub.CreateLoggedModel(
            pb.CreateLoggedModelRequest(logged_model=pb.LoggedModel(experiment=e.experiment, source_run=e.run))
        ),
    ),
    "UpdateLoggedModel": (
        EDIT,
        lambda t, e: t.stub.UpdateLoggedModel(
            pb.UpdateLoggedModelRequest(logged_model=pb.LoggedModel(name=e.model, display_name="x"))
        ),
    ),
    "DeleteLoggedModel": (EDIT, lambda t, e: t.stub.DeleteLoggedModel(pb.DeleteLoggedModelRequest(name=e.model))),
    "LogOutputs": (
        EDIT,
        lambda t, e: t.stub.LogOutputs(pb.LogOutputsRequest(run=e.run, outputs=[pb.ModelOutput(logged_model=e.model)])),
    ),
    "GetUpload": (
        EDIT,
        lambda t, e: t.stub.GetUpload(pb.GetUploadRequest(parent=e.model, path="a", sha256="0" * 64)),
    ),
    "DeleteArtifact": (EDIT, delete_artifact),
    "PurgeRuns": (MANAGE, lambda t, e: t.stub.PurgeRuns(pb.PurgeRunsRequest(experiment=e.experiment))),
    "PurgeExperiment": (
        MANAGE,
        lambda t, e: t.stub.PurgeExperiment(pb.PurgeExperimentRequest(name=e.experiment)),
    ),
    "DeleteExperiment": (
        MANAGE,
        lambda t, e: t.stub.DeleteExperiment(pb.DeleteExperimentRequest(name=e.experiment)),
    ),
    "UndeleteExperiment": (
        MANAGE,
        lambda t, e: t.stub.UndeleteExperiment(pb.UndeleteExperimentRequest(name=e.experiment)),
    ),
    "SetPermissions": (
        MANAGE,
        lambda t, e: t.permissions.SetPermissions(
            permissions_pb2.SetPermissionsRequest(
                permissions=permissions_pb2.Permissions(
                    resource=e.experiment, grants=[permissions_pb2.Grant(principal="mia", level=MANAGE)]
                )
            )
        ),
    ),
}
FREE = {
    "CreateExperiment",
    "LookupExperiment",
    "ListExperiments",
    "SearchRuns",
    "ExportRuns",
    "SearchLoggedModels",
    "ListDatasets",
}


def reason(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return errors.parse(error)[0]
    return ""


def test_every_method_is_covered_here() -> None:
    methods = {
        method.name
        for file in (pb, permissions_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert methods == CALLS.keys() | FREE


@pytest.mark.parametrize("method", CALLS)
def test_a_method_is_open_exactly_from_its_level_on(everyone: Everyone, method: str) -> None:
    needed, call = CALLS[method]

    assert reason(lambda: call(everyone.nobody, everyone)) == "TOKEN_MISSING"
    assert reason(lambda: call(everyone.stranger, everyone)) == "RESOURCE_NOT_FOUND"
    assert reason(lambda: call(everyone.reader, everyone)) == ("" if needed <= READ else "PERMISSION_DENIED")
    denied = needed > EDIT
    assert reason(lambda: call(everyone.writer, everyone)) == ("PERMISSION_DENIED" if denied else "")
    assert reason(lambda: call(everyone.manager, everyone)) not in {"PERMISSION_DENIED", "RESOURCE_NOT_FOUND"}


def test_a_refusal_does_not_tell_a_hidden_resource_from_a_missing_one(everyone: Everyone) -> None:
    missing = "runs/" + "0" * 32
    with refused("RESOURCE_NOT_FOUND") as hidden:
        everyone.stranger.get(everyone.run)
    with refused("RESOURCE_NOT_FOUND") as absent:
        everyone.stranger.get(missing)

    assert hidden.message.replace(everyone.run, "X") == absent.message.replace(missing, "X")
    assert set(hidden.facts) == set(absent.facts)


def test_lists_and_searches_show_only_what_the_caller_may_read(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name

    def listed(caller: Tracking) -> list[str]:
        return [one.name for one in caller.stub.ListExperiments(pb.ListExperimentsRequest()).experiments]

    assert listed(everyone.stranger) == [own]
    assert listed(everyone.reader) == [everyone.experiment]
    assert listed(everyone.admin) == listed(everyone.automl) == [own, everyone.experiment]
    found = everyone.stranger.search(everyone.experiment, own, view=pb.VIEW_ALL)
    assert (len(found.runs), found.total_size) == (0, 0)
    assert everyone.reader.search(everyone.experiment, own).total_size == 1


def test_logged_models_and_datasets_show_only_to_who_may_read_them(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name
    inputs = [pb.DatasetInput(dataset="secret", digest="1")]
    everyone.manager.stub.LogInputs(pb.LogInputsRequest(run=everyone.run, inputs=inputs, models=[everyone.model]))
    experiments = [everyone.experiment, own]

    def found(caller: Tracking) -> tuple[int, int]:
        models = pb.SearchLoggedModelsRequest(experiments=experiments, filter="name = 'secret'", view=pb.VIEW_ALL)
        datasets = pb.ListDatasetsRequest(experiments=experiments)
        return (
            len(caller.stub.SearchLoggedModels(models).logged_models),
            len(caller.stub.ListDatasets(datasets).datasets),
        )

    assert found(everyone.stranger) == (0, 0)
    assert found(everyone.reader) == found(everyone.admin) == (1, 1)


def test_a_hidden_logged_model_is_like_one_that_is_not_there(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name
    run, missing = everyone.stranger.run(own).name, "logged_models/m-" + "0" * 32
    stub = everyone.stranger.stub
    for call in (
        lambda name: stub.GetLoggedModel(pb.GetLoggedModelRequest(name=name)),
        lambda name: stub.LogInputs(pb.LogInputsRequest(run=run, models=[name])),
        lambda name: stub.LogOutputs(pb.LogOutputsRequest(run=run, outputs=[pb.ModelOutput(logged_model=name)])),
        lambda name: everyone.stranger.log(run, [pb.Metric(key="a", value=1.0, logged_model=name)]),
        lambda name: everyone.stranger.upload(name, "a", b"1"),
        lambda name: everyone.stranger.download(name, "a"),
        lambda name: everyone.stranger.artifacts(name),
        lambda name: stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=name, path="a")),
        lambda name: stub.GetUpload(pb.GetUploadRequest(parent=name, path="a", sha256="0" * 64)),
    ):
        with refused("RESOURCE_NOT_FOUND") as hidden:
            call(everyone.model)
        with refused("RESOURCE_NOT_FOUND") as absent:
            call(missing)
        assert hidden.message.replace(everyone.model, "X") == absent.message.replace(missing, "X")
    assert not everyone.stranger.get(run).model_inputs


def test_a_hidden_run_is_nobodys_source(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name

    with refused("RESOURCE_NOT_FOUND"):
        everyone.stranger.stub.CreateLoggedModel(
            pb.CreateLoggedModelRequest(logged_model=pb.LoggedModel(experiment=own, source_run=everyone.run))
        )


def test_a_purge_by_names_reaches_no_other_experiment(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name
    everyone.manager.stub.DeleteRun(pb.DeleteRunRequest(name=everyone.run))

    purged = everyone.stranger.stub.PurgeRuns(pb.PurgeRunsRequest(experiment=own, names=[everyone.run, everyone.model]))

    assert purged == pb.PurgeRunsResponse()
    assert everyone.manager.get(everyone.run).name == everyone.run


def test_nobody_has_rights_on_a_purged_experiment(everyone: Everyone) -> None:
    everyone.manager.stub.DeleteExperiment(pb.DeleteExperimentRequest(name=everyone.experiment))
    everyone.manager.stub.PurgeExperiment(pb.PurgeExperimentRequest(name=everyone.experiment))

    for caller in (everyone.manager, everyone.admin, everyone.stranger):
        for name in (everyone.experiment, everyone.run, everyone.model):
            with refused("RESOURCE_NOT_FOUND"):
                get_permissions(caller, name)


def test_a_hidden_display_name_is_found_by_nobody_else(everyone: Everyone) -> None:
    def lookup(caller: Tracking) -> object:
        return caller.stub.LookupExperiment(pb.LookupExperimentRequest(display_name="mine"))

    assert lookup(everyone.reader).name == everyone.experiment  # type: ignore[attr-defined]
    with refused("RESOURCE_NOT_FOUND") as refusal:
        lookup(everyone.stranger)
    assert everyone.experiment not in refusal.message + str(refusal.facts)


@pytest.mark.parametrize("allow_existing", [False, True])
def test_a_hidden_display_name_is_taken_but_not_handed_out(everyone: Everyone, allow_existing: bool) -> None:
    with refused("RESOURCE_EXISTS") as refusal:
        everyone.stranger.experiment("mine", allow_existing=allow_existing)

    assert everyone.experiment not in refusal.message + str(refusal.facts)
    assert everyone.reader.experiment("mine", allow_existing=True).name == everyone.experiment


def test_a_hidden_run_is_nobodys_parent(everyone: Everyone) -> None:
    own = everyone.stranger.experiment("own").name

    with refused("RESOURCE_NOT_FOUND"):
        everyone.stranger.run(own, parent_run=everyone.run)


def test_who_made_a_run_is_the_caller(everyone: Everyone) -> None:
    assert everyone.writer.run(everyone.experiment).user == "wes"


def test_a_manager_who_is_taken_off_sees_nothing_more(everyone: Everyone) -> None:
    grants = [permissions_pb2.Grant(principal="wes", level=MANAGE)]
    everyone.manager.permissions.SetPermissions(
        permissions_pb2.SetPermissionsRequest(
            permissions=permissions_pb2.Permissions(resource=everyone.run, grants=grants)
        )
    )

    with refused("RESOURCE_NOT_FOUND"):
        everyone.manager.get(everyone.run)
    assert everyone.writer.get(everyone.run).name == everyone.run


def take_off_everyone_but_the_manager(everyone: Everyone) -> None:
    everyone.manager.permissions.SetPermissions(
        permissions_pb2.SetPermissionsRequest(
            permissions=permissions_pb2.Permissions(
                resource=everyone.experiment, grants=[permissions_pb2.Grant(principal="mia", level=MANAGE)]
            )
        )
    )


def test_a_watcher_who_is_taken_off_sees_nothing_more(everyone: Everyone) -> None:
    watch = everyone.reader.stub.WatchMetrics(pb.WatchMetricsRequest(run=everyone.run))
    assert not next(watch).series
    take_off_everyone_but_the_manager(everyone)
    everyone.manager.log(everyone.run, [pb.Metric(key="m", value=1.0)])

    with refused("RESOURCE_NOT_FOUND"):
        next(watch)


def test_an_open_stream_of_a_writer_who_is_taken_off_writes_nothing_more(everyone: Everyone) -> None:
    off = threading.Event()

    def messages() -> Iterator[pb.LogMetricsRequest]:
        yield header(everyone.run)
        off.wait(60)
        yield one(1)

    answers = everyone.writer.stub.LogMetrics(messages())
    assert next(answers).acknowledged == 0
    take_off_everyone_but_the_manager(everyone)
    off.set()

    with refused("RESOURCE_NOT_FOUND"):
        next(answers)
    assert not everyone.manager.get(everyone.run).metrics


def test_permissions_of_what_is_not_there_cannot_be_set(everyone: Everyone) -> None:
    grants = [permissions_pb2.Grant(principal="x", level=MANAGE)]
    for resource, expected in (("experiments/77", "RESOURCE_NOT_FOUND"), ("experiments/../1", "NAME_INVALID")):
        with refused(expected):
            everyone.admin.permissions.SetPermissions(
                permissions_pb2.SetPermissionsRequest(
                    permissions=permissions_pb2.Permissions(resource=resource, grants=grants)
                )
            )


def test_a_replay_by_another_caller_is_another_call(everyone: Everyone) -> None:
    request = pb.CreateExperimentRequest(experiment=pb.Experiment(display_name="new"), request_id="1")
    made = everyone.manager.stub.CreateExperiment(request)

    assert everyone.manager.stub.CreateExperiment(request) == made
    with refused("RESOURCE_EXISTS"):
        everyone.stranger.stub.CreateExperiment(request)
