"""Errors as callers see them: class, reason, facts and a hint, from real services and from nobody."""

from __future__ import annotations

import socket
from datetime import datetime

import pytest

import fivefold
from fivefold.errors.v1 import errors_pb2
from fivefold.sdk.client import Client
from fivefold.sdk.hints import BY_REASON
from fivefold.sdk.tracking import Tracking
from fivefold.sdk.transport import Access, Transport


def test_every_hint_belongs_to_a_reason_of_the_contract() -> None:
    assert {f"REASON_{reason}" for reason in BY_REASON} <= set(errors_pb2.Reason.keys())


def test_an_error_of_a_service_carries_code_reason_facts_and_hint(client: Client) -> None:
    with pytest.raises(fivefold.NotFound) as caught:
        client.tracking.get_run("0" * 32)
    error = caught.value
    assert (error.code, error.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    assert error.facts["name"] == "runs/" + "0" * 32
    assert "check the name" in error.hint
    assert str(error) == f"{error.message}\n  hint: {error.hint}"


def test_a_param_that_is_written_twice_names_its_reason(client: Client) -> None:
    with client.tracking.run("params") as run, pytest.raises(fivefold.FailedPrecondition) as caught:
        run.log(params={"depth": 1})
        run.log(params={"depth": 2})
    assert caught.value.reason == "PARAM_CHANGED"
    assert "written once" in caught.value.hint


def test_a_wrong_field_is_named_with_its_path(client: Client) -> None:
    with pytest.raises(fivefold.InvalidArgument) as caught:
        client.tracking.create_experiment("x" * 501)
    assert caught.value.reason == "FIELD_TOO_LONG"
    assert [violation.field for violation in caught.value.fields] == ["experiment.display_name"]


def test_nobody_at_a_loopback_address_asks_whether_fivefold_runs(client: Client) -> None:
    with pytest.raises(fivefold.Unreachable) as caught:
        client.serving.served_models()
    assert caught.value.message == "serving does not answer at 127.0.0.1:9"
    assert "fivefold up" in caught.value.hint
    assert isinstance(caught.value, fivefold.Unavailable)


def test_a_server_that_never_answers_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        transport = Transport("tracking", f"127.0.0.1:{mute.getsockname()[1]}", Access(timeout=0.5))
        with pytest.raises((fivefold.DeadlineExceeded, fivefold.Unreachable)) as caught:
            Tracking(transport).list_experiments()
        transport.close()
    assert "tracking" in caught.value.message


def test_a_time_without_a_zone_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(fivefold.InvalidArgument, match="no time zone") as caught:
        client.serving.predict("churn", {"a": [1]}, as_of=datetime(2026, 1, 1))
    assert "replace(tzinfo=UTC)" in caught.value.hint


def test_a_timeout_must_be_a_time() -> None:
    with pytest.raises(fivefold.InvalidArgument, match="timeout is 0"):
        fivefold.connect("127.0.0.1:7100", timeout=0)


def test_a_missing_token_file_is_named(client: Client) -> None:
    with (
        fivefold.connect("127.0.0.1:7100", token_file="/no/such/token") as connected,
        pytest.raises(fivefold.InvalidArgument, match="/no/such/token"),
    ):
        connected.tracking.list_experiments()
