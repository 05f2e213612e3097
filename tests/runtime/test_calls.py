"""Calls over a real server: errors, validation, streams, deadlines, limits, health, reflection."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from asserting import refused
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from notes import SERVICE, Config, NotesServicer, build
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc
from prometheus_client import Counter

from fivefold_runtime.testing import serve


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serve(build, Config(data=str(tmp_path_factory.mktemp("data")), threads=4, stream_threads=8)) as service:
        yield service


@pytest.fixture
def stub(running):
    return notes_pb2_grpc.NotesServiceStub(running.channel)


def servicer(running) -> NotesServicer:
    return running.app.servicers[SERVICE]


def raw(running, method, kind="unary_unary"):
    return getattr(running.channel, kind)(f"/{SERVICE}/{method}")


def test_a_typed_error_arrives_with_code_reason_and_facts(stub):
    with refused("RESOURCE_NOT_FOUND") as refusal:
        stub.GetNote(pb.GetNoteRequest(name="notes/none"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.facts == {"name": "notes/none"}


def test_an_unexpected_exception_leaves_without_its_text_but_is_logged_with_its_traceback(stub, caplog):
    with caplog.at_level(logging.INFO, "fivefold.calls"), refused("INTERNAL") as refusal:
        stub.Act(pb.Note(text="fail"))
    assert (refusal.code, refusal.message) == (grpc.StatusCode.INTERNAL, "internal error")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "secret /etc/passwd" in str(record.exc_info[1])


def test_what_is_not_built_yet_says_so(stub):
    with refused("NOT_SUPPORTED") as refusal:
        stub.Act(pb.Note(text="unbuilt"))
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("text", "reason"), [("fail", "INTERNAL"), ("refuse", "FIELD_INVALID")])
def test_a_stream_that_fails_while_it_is_iterated_ends_with_a_mapped_error(stub, text, reason):
    answers = []
    with refused(reason):
        for note in stub.ActLater(pb.Note(text=text)):
            answers.append(note.text)
    assert answers == ["1", "2"]


@pytest.mark.parametrize("method", ["Act", "CreateNote"])
def test_bytes_that_are_no_message_are_an_invalid_argument(running, method):
    with refused("MESSAGE_MALFORMED") as refusal:
        raw(running, method)(b"\xff\xff\xff\xff")
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_stream_that_turns_into_garbage_is_an_invalid_argument(running, stub):
    stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/garbage", text="x")))
    good = pb.UpdateNoteRequest(note=pb.Note(name="notes/garbage", text="y")).SerializeToString()
    with refused("MESSAGE_MALFORMED"):
        raw(running, "AppendNotes", "stream_unary")(iter([good, b"\xff\xff"]))
    with refused("MESSAGE_MALFORMED"):
        list(raw(running, "Echo", "stream_stream")(iter([b"", b"\xff\xff"])))
    with refused("MESSAGE_MALFORMED"):
        list(raw(running, "WatchNotes", "unary_stream")(b"\xff\xff"))


def test_every_message_of_a_client_stream_is_validated(stub):
    stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/stream", text="")))
    good = pb.UpdateNoteRequest(note=pb.Note(name="notes/stream", text="a"))
    assert stub.AppendNotes(iter([good, good])).text == "aa"
    with refused("FIELD_REQUIRED") as refusal:
        stub.AppendNotes(iter([good, pb.UpdateNoteRequest()]))
    assert refusal.facts == {"field": "note"}
    with refused("FIELD_TOO_LONG"):
        list(stub.Echo(iter([pb.Note(text="fine"), pb.Note(text="x" * 41)])))


def test_a_field_at_fault_is_named_in_the_details(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Act(pb.Note(parts=[pb.Note(), pb.Note(text="x" * 41)]))
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    violations = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violations) for detail in status_pb2.Status.FromString(details).details)
    [violation] = violations.field_violations
    assert violation.field == "parts[1].text"
    assert "41 bytes" in violation.description


def test_an_empty_client_stream_reaches_the_method(stub):
    assert stub.AppendNotes(iter([])) == pb.Note()


def test_a_method_that_is_not_there_is_unimplemented(running):
    with pytest.raises(grpc.RpcError) as caught:
        raw(running, "NoSuchMethod")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_method_that_this_server_does_not_do_says_so(tmp_path):
    def without(config):
        app = build(config)
        for notes in app.servicers.values():
            notes.Act = unsupported
        return app

    def unsupported(request, context):
        raise NotImplementedError

    with serve(without, Config(data=str(tmp_path))) as running:
        with refused("NOT_SUPPORTED") as refusal:
            notes_pb2_grpc.NotesServiceStub(running.channel).Act(pb.Note())
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_beyond_the_limit_is_refused_and_the_server_goes_on(tmp_path):
    with serve(build, Config(data=str(tmp_path), max_message_bytes=1000)) as running:
        stub = notes_pb2_grpc.NotesServiceStub(running.channel)
        with pytest.raises(grpc.RpcError) as caught:
            raw(running, "Act")(b"\0" * 2000)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Act(pb.Note()).text == "done"


def test_a_call_whose_deadline_passed_in_the_queue_is_not_run(tmp_path):
    with serve(build, Config(data=str(tmp_path), threads=1)) as running:
        stub, notes = notes_pb2_grpc.NotesServiceStub(running.channel), servicer(running)
        first = stub.Act.future(pb.Note(text="wait"))
        assert notes.entered.acquire(timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Act(pb.Note(text="wait"), timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        notes.gate.set()
        first.result()
        stub.Act(pb.Note())  # behind the late one, on the only thread
        assert not notes.entered.acquire(blocking=False)


def test_open_streams_do_not_starve_unary_calls_and_one_too_many_is_refused(tmp_path):
    with serve(build, Config(data=str(tmp_path), threads=2, stream_threads=8)) as running:
        stub, gate = notes_pb2_grpc.NotesServiceStub(running.channel), servicer(running)
        streams = [stub.WatchNotes(pb.ListNotesRequest()) for _ in range(8)]
        for _ in streams:
            assert gate.entered.acquire(timeout=10)
        assert stub.Act(pb.Note()).text == "done"
        with refused("TOO_MANY_CALLS") as refusal:
            next(stub.WatchNotes(pb.ListNotesRequest()))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        for stream in streams:
            stream.cancel()


def test_calls_beyond_the_queue_are_refused_fast_while_health_answers(tmp_path):
    with serve(build, Config(data=str(tmp_path), threads=1)) as running:
        stub, gate = notes_pb2_grpc.NotesServiceStub(running.channel), servicer(running)
        held = [stub.Act.future(pb.Note(text="wait")) for _ in range(64)]
        assert gate.entered.acquire(timeout=10)
        with refused("TOO_MANY_CALLS"):
            stub.Act(pb.Note())
        answer = health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        gate.gate.set()
        codes = {call.code() for call in held}
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_watch_sees_what_is_written_after_it_began(running, stub):
    watch = stub.WatchNotes(pb.ListNotesRequest())
    stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/seen", text="t")))
    assert any(note.name == "notes/seen" for note in watch)
    watch.cancel()


def test_each_call_writes_one_log_line_with_trace_and_without_payload(stub, caplog):
    trace = "0af7651916cd43dd8448eb211c80319c"
    with caplog.at_level(logging.INFO, "fivefold.calls"):
        stub.Act(pb.Note(text="payload-text"), metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")])
    [record] = [record for record in caplog.records if getattr(record, "trace", "") == trace]
    assert (record.method, record.code, record.subject) == (f"/{SERVICE}/Act", "OK", "local")
    assert "payload-text" not in json.dumps(vars(record), default=str)


def test_metrics_count_calls_by_code(tmp_path):
    with serve(build, Config(data=str(tmp_path))) as running:
        stub = notes_pb2_grpc.NotesServiceStub(running.channel)
        stub.Act(pb.Note())
        with refused("FIELD_INVALID"):
            stub.Act(pb.Note(text="refuse"))
        metrics = running.server.metrics.registry
        for code in ("OK", "INVALID_ARGUMENT"):
            labels = {"service": SERVICE, "method": "Act", "code": code}
            assert metrics.get_sample_value("fivefold_calls_total", labels) == 1
        assert metrics.get_sample_value("fivefold_calls_running", {"service": SERVICE, "method": "Act"}) == 0


def test_metrics_are_served_over_http_with_the_services_own(tmp_path):
    own = Counter("notes_of_my_own", "Notes", registry=None)

    def measured(config):
        app = build(config)
        app.collectors = [own]
        return app

    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with serve(measured, Config(data=str(tmp_path), metrics_listen=address)) as running:
        notes_pb2_grpc.NotesServiceStub(running.channel).Act(pb.Note())
        own.inc()
        shown = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    assert "notes_of_my_own_total 1.0" in shown
    assert f'fivefold_calls_total{{code="OK",method="Act",service="{SERVICE}"}} 1.0' in shown


def test_health_answers_per_service_and_not_for_others(running):
    health = health_pb2_grpc.HealthStub(running.channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    unknown = next(health.Watch(health_pb2.HealthCheckRequest(service="nobody")))
    assert unknown.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def test_a_check_of_readiness_that_breaks_is_not_serving(tmp_path):
    def broken(config):
        app = build(config)
        app.ready = lambda: 1 / 0
        return app

    with serve(broken, Config(data=str(tmp_path))) as running:
        answer = health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_follows_what_the_app_says_of_itself(tmp_path):
    said = ["not yet"]

    def unready(config):
        app = build(config)
        app.ready = lambda: said[0]
        return app

    with serve(unready, Config(data=str(tmp_path))) as running:
        health = health_pb2_grpc.HealthStub(running.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        live = health.Check(health_pb2.HealthCheckRequest(service="live"))
        assert live.status == health_pb2.HealthCheckResponse.SERVING
        said[0] = ""
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING


def test_the_health_port_answers_health_and_nothing_else(tmp_path):
    with serve(build, Config(data=str(tmp_path), health_listen="127.0.0.1:0")) as running:
        with grpc.insecure_channel(f"127.0.0.1:{running.server.health_port}") as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as caught:
                notes_pb2_grpc.NotesServiceStub(channel).Act(pb.Note())
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def reflected(running) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    [answer] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return [service.name for service in answer.list_services_response.service]


def test_reflection_names_the_services(running):
    assert {SERVICE, "grpc.health.v1.Health", "fivefold.permissions.v1.PermissionsService"} <= set(reflected(running))


def test_reflection_is_off_in_production(tmp_path):
    with serve(build, Config(data=str(tmp_path), production=True)) as running:
        with pytest.raises(grpc.RpcError) as caught:
            reflected(running)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_service_under_another_name_is_served_and_described_by_that_name(tmp_path):
    def renamed(config):
        app = build(config)
        app.servicers = {("notes.Standard", SERVICE): app.servicers[SERVICE]}
        return app

    with serve(renamed, Config(data=str(tmp_path))) as running:
        answer = running.channel.unary_unary("/notes.Standard/Act")(b"")
        assert pb.Note.FromString(answer).text == "done"
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="notes.Note")
        [described] = stub.ServerReflectionInfo(iter([asked]))
        assert described.file_descriptor_response.file_descriptor_proto


def test_a_method_without_an_implementation_keeps_the_server_from_starting(tmp_path):
    from fivefold_runtime.settings import StartError

    def incomplete(config):
        app = build(config)
        app.servicers = {SERVICE: object()}
        return app

    with pytest.raises(StartError, match=r"NotesService\.CreateNote has no implementation"):
        with serve(incomplete, Config(data=str(tmp_path))):
            pass


def test_many_calls_at_once_each_get_their_own_answer(stub):
    def make(number: int) -> str:
        return stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name=f"notes/m{number}", text=str(number)))).text

    before = threading.active_count()
    with ThreadPoolExecutor(16) as callers:
        assert list(callers.map(make, range(40))) == [str(number) for number in range(40)]
    assert threading.active_count() - before < 100
