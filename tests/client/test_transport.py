"""Retries, tokens and watches against a server that misbehaves on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

import fivefold
from fivefold.registry.v1 import registry_pb2
from fivefold.sdk.registry import Registry
from fivefold.sdk.tracking import Tracking
from fivefold.sdk.transport import Access, Transport
from fivefold.tracking.v1 import tracking_pb2 as pb


@contextmanager
def server(**methods: grpc.RpcMethodHandler) -> Iterator[str]:
    """Serves some methods of tracking and registry; yields the address."""
    running = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    for service in ("fivefold.tracking.v1.TrackingService", "fivefold.registry.v1.RegistryService"):
        running.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(None).wait()


def unary(behaviour: Callable[[Any, grpc.ServicerContext], Any], request: Any, answer: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, answer.SerializeToString)


@contextmanager
def transport(address: str, **access: Any) -> Iterator[Transport]:
    made = Transport("tracking", address, Access(**access))
    yield made
    made.close()


def test_a_mutation_that_finds_the_service_away_is_sent_again_with_the_same_request_id() -> None:
    seen: list[str] = []

    def create(request: pb.CreateExperimentRequest, context: grpc.ServicerContext) -> pb.Experiment:
        seen.append(request.request_id)
        if len(seen) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return pb.Experiment(name="experiments/1")

    with (
        server(CreateExperiment=unary(create, pb.CreateExperimentRequest, pb.Experiment)) as address,
        transport(address) as channel,
    ):
        assert Tracking(channel).create_experiment("x").name == "experiments/1"
    assert len(seen) == 3
    assert len(set(seen)) == 1 and len(seen[0]) == 32


def test_a_refusal_is_not_sent_again() -> None:
    calls: list[str] = []

    def get(request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.Run:
        calls.append(request.name)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    with server(GetRun=unary(get, pb.GetRunRequest, pb.Run)) as address, transport(address) as channel:
        with pytest.raises(fivefold.FailedPrecondition, match="no"):
            Tracking(channel).get_run("a")
    assert calls == ["runs/a"]


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    seen: list[str] = []

    def get(request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.Run:
        seen.append(str(dict(context.invocation_metadata()).get("authorization")))
        return pb.Run(name=request.name)

    file = tmp_path / "token"
    file.write_text("first\n")
    with (
        server(GetRun=unary(get, pb.GetRunRequest, pb.Run)) as address,
        transport(address, token_file=str(file)) as channel,
        transport(address) as bare,
    ):
        Tracking(channel).get_run("a")
        (tmp_path / "next").write_text("second\n")
        (tmp_path / "next").replace(file)
        Tracking(channel).get_run("a")
        Tracking(bare).get_run("a")
    assert seen == ["Bearer first", "Bearer second", "None"]


def test_a_watch_goes_on_after_the_last_event_when_the_service_comes_back() -> None:
    asked: list[int] = []

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[registry_pb2.WatchEventsResponse]:
        asked.append(request.after_position)
        position = request.after_position + 1
        yield registry_pb2.WatchEventsResponse(events=[registry_pb2.Event(position=position)], position=position)
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    handler = grpc.unary_stream_rpc_method_handler(
        watch,
        registry_pb2.WatchEventsRequest.FromString,
        registry_pb2.WatchEventsResponse.SerializeToString,
    )
    with server(WatchEvents=handler) as address, transport(address) as channel:
        events = Registry(channel).watch(after=7)
        assert [next(events).position for _ in range(3)] == [8, 9, 10]
        events.close()  # type: ignore[attr-defined]
    assert asked == [7, 8, 9]


def test_an_upload_that_fails_while_it_is_made_raises_what_went_wrong() -> None:
    def pieces() -> Iterator[pb.UploadArtifactRequest]:
        yield pb.UploadArtifactRequest()
        raise fivefold.InvalidArgument("the file shrank")

    def upload(requests: Iterator[pb.UploadArtifactRequest], context: grpc.ServicerContext) -> pb.Artifact:
        for _ in requests:
            pass
        return pb.Artifact()

    handler = grpc.stream_unary_rpc_method_handler(
        upload, pb.UploadArtifactRequest.FromString, pb.Artifact.SerializeToString
    )
    with server(UploadArtifact=handler) as address, transport(address) as channel:
        from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

        with pytest.raises(fivefold.InvalidArgument, match="the file shrank"):
            channel.send(channel.stub(TrackingServiceStub).UploadArtifact, pieces())


def test_text_from_a_server_of_another_kind_is_passed_on_without_a_reason() -> None:
    with server() as address, transport(address) as channel, pytest.raises(fivefold.Unimplemented) as caught:
        Tracking(channel).get_run("a")
    assert caught.value.reason == ""
    assert "different versions" in caught.value.hint
