"""The running call, wherever its code is: identity, deadline, and whether it should end.

`handlers.py` sets it; it travels in a context variable, so that the SQL writer thread works in the caller's name.
Outside a call (background work, tests of a store) there is none: the subject is then `local` and nothing ends.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc

from fivefold_runtime.errors import DeadlineExceeded, Unavailable
from fivefold_runtime.principal import LOCAL, Principal


class ShuttingDown(Unavailable):
    """The server drains: streams end, new calls go elsewhere."""

    reason = "SHUTTING_DOWN"


@dataclass(slots=True)
class Call:
    """One RPC as it runs.

    deadline  on the monotonic clock, infinite when the caller set none
    draining  set when the server received SIGTERM
    traceparent  the caller's W3C trace context, "" without one
    notes     more fields for the call's log line, such as {"model": "models/churn"}
    """

    method: str
    principal: Principal
    deadline: float
    draining: threading.Event
    context: grpc.ServicerContext | None = None
    traceparent: str = ""
    notes: dict[str, object] = field(default_factory=dict)

    def remaining(self) -> float:
        """Returns the seconds until the deadline, 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())


current: ContextVar[Call | None] = ContextVar("fivefold_call", default=None)


def caller() -> Principal:
    """Returns who makes the running call; `local` where authentication is off and outside any call."""
    call = current.get()
    return call.principal if call else LOCAL


def note(**fields: object) -> None:
    """Adds fields to the log line of the running call. Never a payload, parameter value or credential."""
    call = current.get()
    if call:
        call.notes.update(fields)


def check() -> None:
    """Raises when a stream should end; one that waits or loops asks this at least once a second.

    Raises ShuttingDown while the server drains, DeadlineExceeded when the time is up or the caller went away.
    """
    call = current.get()
    if call is not None and call.draining.is_set():
        raise ShuttingDown(
            "the server is stopping; call again to reach another, or this one once it is back", retry_after=1.0
        )
    check_deadline()


def check_deadline() -> None:
    """Raises DeadlineExceeded when the running call's time is up or its caller went away."""
    call = current.get()
    if call is not None and (call.remaining() <= 0 or (call.context is not None and not call.context.is_active())):
        raise gone()


def gone() -> DeadlineExceeded:
    """Returns the error of a call that nobody waits for any more."""
    return DeadlineExceeded("the deadline passed, or the caller went away")
