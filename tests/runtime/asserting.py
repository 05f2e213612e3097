"""What a failed call says, for tests: code, reason, facts, and that nothing leaked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from fivefold_runtime import errors

LEAKS = ("Traceback", "/etc/", "SELECT", "sqlite", "psycopg", "Error", 'File "', "postgres", ".py")


@dataclass
class Refusal:
    """The status of a call that failed; filled at the end of the block."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    message: str = ""


@contextmanager
def refused(reason: str) -> Iterator[Refusal]:
    """The block must fail with this ErrorInfo reason, and its message must not speak of our insides."""
    refusal = Refusal()
    with pytest.raises(grpc.RpcError) as caught:
        yield refusal
    error = caught.value
    refusal.code, refusal.message = error.code(), error.details()
    refusal.reason, refusal.facts = errors.parse(error)
    assert refusal.reason == reason, f"{error.code()} {error.details()}"
    for leak in LEAKS:
        assert leak not in refusal.message
        assert not any(leak in fact for fact in refusal.facts.values())
