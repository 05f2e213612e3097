"""Errors on the wire, ids, clocks, log lines."""

from __future__ import annotations

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from fivefold.errors.v1 import errors_pb2
from fivefold_runtime import clock, errors, ids
from fivefold_runtime.logging import JsonLines


def every_error() -> list[type[errors.FivefoldError]]:
    import pkgutil

    import fivefold_runtime

    for module in pkgutil.iter_modules(fivefold_runtime.__path__):
        __import__(f"fivefold_runtime.{module.name}")
    found, left = [], [errors.FivefoldError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("fivefold_runtime") and kind.reason]


def test_every_reason_is_documented_in_the_contract():
    known = {name.removeprefix("REASON_") for name in errors_pb2.Reason.DESCRIPTOR.values_by_name}
    assert {kind.reason for kind in every_error()} <= known


def test_an_error_without_a_reason_cannot_be_raised():
    with pytest.raises(TypeError, match="has no reason"):
        errors.FailedPrecondition("x")


def test_details_carry_reason_facts_fields_and_the_time_to_wait():
    error = errors.InvalidArgument.at("a.b", "is 3", value=3)
    error.retry_after = 1.5
    status = error.status()
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    assert [detail.Unpack(into) for detail, into in zip(status.details, (info, bad, retry), strict=True)] == [True] * 3
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "FIELD_INVALID",
        "fivefold",
        {"field": "a.b", "value": "3"},
    )
    assert [(v.field, v.description) for v in bad.field_violations] == [("a.b", "is 3")]
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1.5)
    assert (status.code, status.message) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "a.b is 3")


def test_a_hostile_message_is_cut_and_made_printable():
    error = errors.NotFound("a\x1b[31m\nb" * 10_000, name="x" * 10_000)
    [(_, raw)] = error.trailers()
    assert len(raw) < 4096
    status = status_pb2.Status.FromString(raw)
    assert status.message.isprintable() and "\\x1b" in status.message


def test_ids_are_unique_ordered_and_of_one_form():
    with ThreadPoolExecutor(8) as makers:
        made = list(makers.map(lambda _: ids.new_id(), range(5000)))
    assert len(set(made)) == 5000
    alone = [ids.new_id() for _ in range(5000)]
    assert alone == sorted(alone) and min(alone) > max(made)
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" and int(one, 16) for one in alone)


def test_ids_keep_their_order_when_the_clock_is_set_back(monkeypatch):
    before = ids.new_id()
    monkeypatch.setattr("time.time_ns", lambda: 1)
    after = [ids.new_id() for _ in range(10_000)]
    assert [before, *after] == sorted({before, *after})


def test_microseconds_are_exact_and_naive_times_are_refused():
    moment = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-3)))
    assert clock.micros(moment) == round(moment.timestamp()) * 1_000_000 - 1
    assert clock.micros(datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)) == -999_999
    assert clock.SystemClock().now().tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        clock.micros(datetime(2024, 1, 1))


def test_a_log_line_is_one_json_object_with_its_fields():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines("notes"))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        raise KeyError("x\ny")
    except KeyError:
        log.exception("it %s", "failed", extra={"model": "m\nn", "ms": 3, "odd": {1}})
    [line] = out.getvalue().splitlines()
    read = json.loads(line)
    assert (read["message"], read["service"], read["level"], read["model"], read["ms"]) == (
        "it failed",
        "notes",
        "error",
        "m\nn",
        3,
    )
    assert "KeyError" in read["traceback"]
