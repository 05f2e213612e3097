"""Who may do what, with JWT: the creator, a reader, a writer, a stranger and an administrator, over every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from fivefold.features.v1 import features_pb2 as pb
from fivefold.permissions.v1 import permissions_pb2
from fivefold.permissions.v1.permissions_pb2_grpc import PermissionsServiceStub
from fivefold_features.__main__ import Config, build
from fivefold_runtime import errors
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import Running, serve
from tests.features.calling import MOMENT, Client, at, lookup

FRAME = pa.table({"k": ["a"], "t": pa.array([at(1)], MOMENT), "v": [1.0]})
LABELS = pa.table({"k": ["a"], "at": pa.array([at(2)], MOMENT)})

READ, EDIT, MANAGE = (
    permissions_pb2.LEVEL_CAN_READ,
    permissions_pb2.LEVEL_CAN_EDIT,
    permissions_pb2.LEVEL_CAN_MANAGE,
)


class Everyone:
    """The service as each caller sees it; `mia` made a table, a spec and a training set and shared them."""

    def __init__(self, running: Running, keys: Path) -> None:
        def as_(subject: str, *groups: str) -> Client:
            return Client(running, sign_token(keys, subject, list(groups), lifetime=timedelta(hours=1)))

        self.creator, self.stranger, self.admin = as_("mia"), as_("sam"), as_("root")
        self.reader, self.writer = as_("rob", "readers"), as_("wes")
        self.automl, self.nobody = as_("service", "fivefold:automl"), Client(running)
        self.creator.create("mine", {"k": "STRING", "t": "TIMESTAMP", "v": "DOUBLE"}, ["k"], timestamp_key="t")
        self.creator.write("mine", FRAME)
        self.creator.publish("mine")
        self.creator.spec("mine", lookup("mine"))
        self.set = self.creator.train("mine", LABELS, "at").name
        for resource in ("tables/mine", "specs/mine", self.set):
            levels = [("mia", MANAGE), ("group:readers", READ), ("wes", EDIT)]
            granted = [permissions_pb2.Grant(principal=who, level=level) for who, level in levels]
            permissions = permissions_pb2.Permissions(resource=resource, grants=granted)
            PermissionsServiceStub(running.channel).SetPermissions(
                permissions_pb2.SetPermissionsRequest(permissions=permissions), metadata=self.creator._metadata
            )


@pytest.fixture
def everyone(tmp_path: Path) -> Iterator[Everyone]:
    keys = tmp_path / "keys"
    config = Config(data=str(tmp_path / "data"), auth="jwt", jwt_keys=str(make_key(keys)), admins="root")
    with serve(build, config) as running:
        yield Everyone(running, keys)


READS: dict[str, Callable[[Client, str], Any]] = {
    "GetTable": lambda c, s: c.table("mine"),
    "ReadTable": lambda c, s: c.read("mine"),
    "ListTableVersions": lambda c, s: c.call("ListTableVersions", pb.ListTableVersionsRequest(parent="tables/mine")),
    "GetFeatureSpec": lambda c, s: c.call("GetFeatureSpec", pb.GetFeatureSpecRequest(name="specs/mine")),
    "CreateFeatureSpec": lambda c, s: c.spec("of_mine", lookup("mine")),
    "CreateTrainingSet": lambda c, s: c.train("mine", LABELS, "at"),
    "GetTrainingSet": lambda c, s: c.call("GetTrainingSet", pb.GetTrainingSetRequest(name=s)),
    "ReadTrainingSet": lambda c, s: c.rows(pb.TrainingSet(name=s)),
    "VerifyTrainingSet": lambda c, s: c.verify(s),
    "ProfileTable": lambda c, s: c.profile("mine"),
    "CompareTableVersions": lambda c, s: c.call(
        "CompareTableVersions", pb.CompareTableVersionsRequest(name="tables/mine", base_version=1)
    ),
    "RecordConsumer": lambda c, s: c.consume("tables/mine/versions/1", "runs/ab"),
    "GetLineage": lambda c, s: c.lineage("tables/mine"),
    "CheckConsistency": lambda c, s: c.call("CheckConsistency", pb.CheckConsistencyRequest(spec="specs/mine")),
    "GetOnlineFeatures": lambda c, s: c.online("mine", {"k": ["a"]}),
}
EDITS: dict[str, Callable[[Client, str], Any]] = {
    "WriteTable": lambda c, s: c.write("mine", FRAME),
    "CompactTable": lambda c, s: c.compact("mine"),
    "PublishTable": lambda c, s: c.publish("mine"),
    "UpdateTable": lambda c, s: c.call(
        "UpdateTable", pb.UpdateTableRequest(table=pb.Table(name="tables/mine", description="x"))
    ),
}
MANAGES: dict[str, Callable[[Client, str], Any]] = {
    "VacuumTable": lambda c, s: c.vacuum("mine", dry_run=True),
    "DeleteFeatureSpec": lambda c, s: c.call("DeleteFeatureSpec", pb.DeleteFeatureSpecRequest(name="specs/mine")),
    # Of a caller's own request it is gone for the next one, who then may not know of it: so it is the last.
    "DeleteTable": lambda c, s: c.call("DeleteTable", pb.DeleteTableRequest(name="tables/mine")),
}
OPEN: dict[str, Callable[[Client, str], Any]] = {
    "CreateTable": lambda c, s: c.create("other", {"k": "STRING", "v": "INT64"}, ["k"]),
    "ListTables": lambda c, s: c.call("ListTables", pb.ListTablesRequest()),
    "ListTrainingSets": lambda c, s: c.call("ListTrainingSets", pb.ListTrainingSetsRequest()),
    "ListFunctions": lambda c, s: c.call("ListFunctions", pb.ListFunctionsRequest()),
    "ListFeatureSpecs": lambda c, s: c.call("ListFeatureSpecs", pb.ListFeatureSpecsRequest()),
}


def outcome(call: Callable[[], Any]) -> str:
    """Returns the reason of the refusal; "" when the call was let in (even if it then failed on the state)."""
    try:
        call()
    except grpc.RpcError as error:
        reason = errors.parse(error)[0]
        return "" if reason in ("TABLE_IN_USE", "SPEC_IN_USE") else reason
    return ""


def test_every_method_is_in_one_of_these_tables() -> None:
    methods = pb.DESCRIPTOR.services_by_name["FeatureService"].methods
    assert {method.name for method in methods} == {*READS, *EDITS, *MANAGES, *OPEN, "DeleteTrainingSet"}


def test_only_who_manages_a_training_set_deletes_it(everyone: Everyone) -> None:
    def delete(client: Client) -> str:
        return outcome(lambda: client.call("DeleteTrainingSet", pb.DeleteTrainingSetRequest(name=everyone.set)))

    assert delete(everyone.nobody) == "TOKEN_MISSING"
    assert delete(everyone.stranger) == "RESOURCE_NOT_FOUND"
    assert delete(everyone.reader) == delete(everyone.writer) == delete(everyone.automl) == "PERMISSION_DENIED"
    assert delete(everyone.creator) == ""
    assert delete(everyone.admin) == "RESOURCE_NOT_FOUND"


def test_a_version_of_a_table_has_the_rights_of_the_table(everyone: Everyone) -> None:
    for name in ("tables/mine/versions/1", "tables/mine"):
        assert outcome(lambda name=name: everyone.reader.consume(name, "runs/ab")) == ""
        assert outcome(lambda name=name: everyone.stranger.consume(name, "runs/ab")) == "RESOURCE_NOT_FOUND"
        assert outcome(lambda name=name: everyone.stranger.lineage(name)) == "RESOURCE_NOT_FOUND"


def test_a_table_in_use_does_not_tell_of_a_spec_that_its_owner_may_not_read(everyone: Everyone) -> None:
    everyone.creator.create("shared", {"k": "STRING", "v": "INT64"}, ["k"])
    granted = [
        permissions_pb2.Grant(principal="mia", level=MANAGE),
        permissions_pb2.Grant(principal="sam", level=READ),
    ]
    PermissionsServiceStub(everyone.creator.running.channel).SetPermissions(
        permissions_pb2.SetPermissionsRequest(
            permissions=permissions_pb2.Permissions(resource="tables/shared", grants=granted)
        ),
        metadata=everyone.creator._metadata,
    )
    everyone.stranger.spec("secret_plan", lookup("shared"))
    with pytest.raises(grpc.RpcError) as caught:
        everyone.creator.call("DeleteTable", pb.DeleteTableRequest(name="tables/shared"))
    reason, facts = errors.parse(caught.value)[:2]
    assert reason == "TABLE_IN_USE" and "secret" not in f"{caught.value.details()}{facts}"


def test_who_has_no_token_is_let_in_nowhere(everyone: Everyone) -> None:
    for method, call in (READS | EDITS | MANAGES | OPEN).items():
        assert outcome(lambda call=call: call(everyone.nobody, everyone.set)) == "TOKEN_MISSING", method


def test_each_caller_may_do_what_its_level_allows(everyone: Everyone) -> None:
    expected = {
        everyone.stranger: ("RESOURCE_NOT_FOUND", "RESOURCE_NOT_FOUND", "RESOURCE_NOT_FOUND"),
        everyone.reader: ("", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        everyone.writer: ("", "", "PERMISSION_DENIED"),
        everyone.automl: ("", "", "PERMISSION_DENIED"),
        everyone.creator: ("", "", ""),
        everyone.admin: ("", "", ""),
    }
    for client, outcomes in expected.items():
        for methods, wanted in zip((READS, EDITS, MANAGES), outcomes, strict=True):
            for method, call in methods.items():
                assert outcome(lambda call=call, client=client: call(client, everyone.set)) == wanted, method


def test_lists_show_what_the_caller_may_read_and_no_more(everyone: Everyone) -> None:
    def listed(client: Client) -> tuple[list[str], list[str]]:
        tables = client.call("ListTables", pb.ListTablesRequest()).tables
        specs = client.call("ListFeatureSpecs", pb.ListFeatureSpecsRequest()).feature_specs
        return [one.name for one in tables], [one.name for one in specs]

    assert listed(everyone.stranger) == ([], [])
    for client in (everyone.reader, everyone.writer, everyone.creator, everyone.admin, everyone.automl):
        assert listed(client) == (["tables/mine"], ["specs/mine"])


def test_a_spec_over_a_table_that_may_not_be_read_is_refused_as_if_it_were_not_there(everyone: Everyone) -> None:
    messages = []
    for table in ("mine", "none"):
        with pytest.raises(grpc.RpcError) as caught:
            everyone.stranger.spec("theirs", lookup(table))
        assert errors.parse(caught.value)[0] == "RESOURCE_NOT_FOUND"
        messages.append((caught.value.details() or "").replace(table, "X"))
    assert messages[0] == messages[1]


def test_the_next_table_of_a_deleted_name_is_its_creators_alone(everyone: Everyone) -> None:
    everyone.creator.create("short", {"k": "STRING", "v": "INT64"}, ["k"])
    everyone.creator.call("DeleteTable", pb.DeleteTableRequest(name="tables/short"))
    everyone.stranger.create("short", {"k": "STRING", "v": "INT64"}, ["k"])
    assert outcome(lambda: everyone.creator.table("short")) == "RESOURCE_NOT_FOUND"
    assert everyone.stranger.table("short").creator == "sam"
