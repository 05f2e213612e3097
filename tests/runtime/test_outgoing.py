"""Calls from one service to another: whose token, whose deadline, and what becomes of its errors."""

from __future__ import annotations

import time

import grpc
import pytest
from asserting import refused
from notes import SERVICE, Config, build
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc

from fivefold_runtime.app import App
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.outgoing import channel, passed_on
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import serve


class Relay:
    """A service that hands everything on to the notes service, for the caller or for itself."""

    def __init__(self, caller, itself):
        self.caller, self.itself = caller, itself

    def __getattr__(self, method):
        def relay(request, context):
            own = method == "Act" and request.text == "caller" and request.colour == "own"
            with passed_on("notes"):
                return getattr(self.itself if own else self.caller, method)(request)

        return relay


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder)
    (folder / "token").write_text(sign_token(folder, "relay", ["service"]) + "\n")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory, keys):
    def make() -> Config:
        return Config(
            data=str(tmp_path_factory.mktemp("data")),
            auth="jwt",
            jwt_keys=str(keys / "jwks.json"),
            token_file=str(keys / "token"),
            standing_levels="group:all=CAN_MANAGE",
        )

    return make


@pytest.fixture(scope="module")
def relay(settings):
    with serve(build, settings()) as notes:

        def build_relay(config):
            stubs = [
                notes_pb2_grpc.NotesServiceStub(channel(notes.address, config, acting_for=who))
                for who in ("caller", "self")
            ]
            app = build(config)
            return App(servicers={SERVICE: Relay(*stubs)}, authorizer=app.authorizer, database=app.database)

        with serve(build_relay, settings()) as service:
            yield notes_pb2_grpc.NotesServiceStub(service.channel)


def bearer(keys, subject: str, *groups: str):
    return [("authorization", f"Bearer {sign_token(keys, subject, groups)}")]


def test_a_call_for_the_caller_carries_the_callers_token(relay, keys):
    assert relay.Act(pb.Note(text="caller"), metadata=bearer(keys, "ann")).text == "ann"
    assert relay.Act(pb.Note(text="caller")).text == "anonymous"


def test_a_call_for_the_server_itself_carries_its_own_token_and_notices_a_new_one(relay, keys):
    asked = pb.Note(text="caller", colour="own")
    assert relay.Act(asked, metadata=bearer(keys, "ann")).text == "relay"
    (keys / "token").write_text(sign_token(keys, "renewed"))
    assert relay.Act(asked, metadata=bearer(keys, "ann")).text == "renewed"


def test_a_refusal_of_the_other_service_keeps_code_reason_and_facts(relay, keys):
    with refused("RESOURCE_NOT_FOUND") as refusal:
        relay.GetNote(pb.GetNoteRequest(name="notes/none"), metadata=bearer(keys, "ann", "all"))
    assert (refusal.code, refusal.facts) == (grpc.StatusCode.NOT_FOUND, {"name": "notes/none"})


def test_a_defect_of_the_other_service_is_said_to_be_its_own(relay, keys):
    with refused("SERVICE_UNAVAILABLE") as refusal:
        relay.Act(pb.Note(text="fail"), metadata=bearer(keys, "ann"))
    assert refusal.facts == {"service": "notes"}


def test_a_service_that_is_down_is_unavailable_and_named():
    stub = notes_pb2_grpc.NotesServiceStub(channel("127.0.0.1:1", Config(), acting_for="self"))
    with pytest.raises(FivefoldError) as caught, passed_on("notes"):
        stub.Act(pb.Note())
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")


def test_a_caller_who_has_little_time_is_not_kept_longer(relay, keys):
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        relay.Act(pb.Note(text="wait"), metadata=bearer(keys, "ann"), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 20


def test_a_token_file_that_is_not_there_keeps_the_server_from_starting(tmp_path):
    with pytest.raises(StartError, match="Check --token-file"):
        channel("127.0.0.1:1", Config(token_file=str(tmp_path / "none")), acting_for="self")
