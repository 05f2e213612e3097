"""What is logged arrives exactly once through a service that refuses streams, has no room, or loses its answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest

from fivefold.sdk.client import Client
from fivefold.sdk.tracking import Tracking
from fivefold.sdk.transport import Access, Transport
from fivefold.tracking.v1.tracking_pb2_grpc import (
    TrackingServiceServicer,
    TrackingServiceStub,
    add_TrackingServiceServicer_to_server,
)

PATIENCE = 60  # seconds until a buffer has emptied, on a loaded machine


class NoStreams(TrackingServiceServicer):
    """A service before the real one that has no stream to give, and answers single calls through it."""

    def __init__(self, behind: TrackingServiceStub, code: grpc.StatusCode) -> None:
        self._behind = behind
        self._code = code
        self.calls = self.streams = 0

    def LogMetrics(self, requests, context):  # type: ignore[no-untyped-def]
        self.streams += 1
        context.abort(self._code, "no more streams")

    def LogBatch(self, request, context):  # type: ignore[no-untyped-def]
        self.calls += 1
        return self._behind.LogBatch(request)

    def CreateExperiment(self, request, context):  # type: ignore[no-untyped-def]
        return self._behind.CreateExperiment(request)

    def CreateRun(self, request, context):  # type: ignore[no-untyped-def]
        return self._behind.CreateRun(request)

    def UpdateRun(self, request, context):  # type: ignore[no-untyped-def]
        return self._behind.UpdateRun(request)


@contextmanager
def in_front(front: TrackingServiceServicer) -> Iterator[Tracking]:
    """Yields tracking through a service that stands before the real one."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add_TrackingServiceServicer_to_server(front, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    transport = Transport("tracking", f"127.0.0.1:{port}", Access())
    yield Tracking(transport)
    transport.close()
    server.stop(None)


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED])
def test_where_streams_are_refused_points_go_by_single_calls(client: Client, code: grpc.StatusCode) -> None:
    front = NoStreams(client.tracking.transport.stub(TrackingServiceStub), code)
    with in_front(front) as refusing, refusing.run("no streams") as run:
        for step in range(2500):
            run.log_metric("loss", step, step)
        assert run.flush(PATIENCE)
    assert list(client.tracking.history(run.name, "loss").steps) == list(range(2500))
    assert front.streams >= 1
    assert front.calls >= 3


def test_where_no_thread_can_be_started_any_more_points_go_by_single_calls(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(Transport, "exchange", ending)
    with client.tracking.run("ending") as run:
        run.log_metric("loss", 1.0)
        assert run.flush(PATIENCE)
    assert client.tracking.get_run(run.name).metrics == {"loss": 1.0}


class Full(NoStreams):
    """A service before the real one that has no room left until it is told so."""

    full = True

    def LogBatch(self, request, context):  # type: ignore[no-untyped-def]
        self.calls += 1
        if self.full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        return self._behind.LogBatch(request)


def test_a_service_without_room_is_asked_again_with_pauses(client: Client) -> None:
    stub = client.tracking.transport.stub(TrackingServiceStub)
    front = Full(stub, grpc.StatusCode.UNIMPLEMENTED)
    with in_front(front) as full, full.run("full disk") as run:
        run.log_metric("loss", 1.0)
        assert not run.flush(1.0)
        assert front.calls < 20
        front.full = False
        assert run.flush(PATIENCE)
    assert client.tracking.get_run(run.name).metrics == {"loss": 1.0}


class Forgetful(NoStreams):
    """A service before the real one whose connections break just when it is to say that points are written."""

    def LogMetrics(self, requests, context):  # type: ignore[no-untyped-def]
        self.streams += 1
        answers = self._behind.LogMetrics(requests)
        yield next(answers)
        if self.streams <= 5:
            next(answers)
            context.abort(grpc.StatusCode.UNAVAILABLE, "the line is cut")
        yield from answers


def test_points_whose_acknowledgement_was_lost_are_not_written_twice(client: Client) -> None:
    front = Forgetful(client.tracking.transport.stub(TrackingServiceStub), grpc.StatusCode.OK)
    with in_front(front) as forgetful, forgetful.run("forgetful") as run:
        for step in range(100):
            run.log_metric("loss", step, step)
        assert run.flush(PATIENCE)
        run.log_metric("loss", 100, 100)
        assert run.flush(PATIENCE)
    assert front.streams > 1
    assert list(client.tracking.history(run.name, "loss").steps) == list(range(101))


class Blunt(NoStreams):
    """A service before the real one that at first says only that something was wrong, and not what was written before."""

    def LogMetrics(self, requests, context):  # type: ignore[no-untyped-def]
        self.streams += 1
        answers = self._behind.LogMetrics(requests)
        yield next(answers)
        try:
            for answer in answers:
                if self.streams > 1:
                    yield answer
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


def test_the_point_that_is_refused_is_found_among_those_that_are_not_acknowledged(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivefold.sdk.tracking.delivery._PARCEL_POINTS", 10)
    front = Blunt(client.tracking.transport.stub(TrackingServiceStub), grpc.StatusCode.OK)
    with in_front(front) as blunt, blunt.run("blunt") as run:
        run._delivery.add([("good", place) for place in range(30)] + [("bad?key", 1.0)], 0, 1)
        assert not run.flush(PATIENCE)
        assert (run.refused, run._delivery.waiting) == (1, 0)
    assert list(client.tracking.history(run.name, "good").values) == list(range(30))


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fivefold.tracking")
