"""What a call may raise: one class per gRPC status code, with the service's reason, its facts and a hint what to do.

Programs decide by class, `code` and `reason` (fivefold/errors/v1); message and hint are for people and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fivefold.sdk.hints import hint_for

if TYPE_CHECKING:
    import grpc

_DETAILS = "grpc-status-details-bin"
_DOMAIN = "fivefold"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request: its path (`labels[2]`) and what was expected."""

    field: str
    description: str


class FivefoldError(Exception):
    """A call failed.

    code         name of the gRPC status, such as "NOT_FOUND"
    reason       name in fivefold/errors/v1 without REASON_, such as "PARAM_CHANGED"; "" when no service answered
    message      one sentence: what came, what was expected
    facts        the values that the message speaks of, by name
    fields       the request's fields at fault
    hint         what to do about it; "" when the message says it all
    retry_after  seconds after which the same call may succeed, or None
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
        fields: tuple[FieldViolation, ...] = (),
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.facts = dict(facts or {})
        self.fields = fields
        self.hint = hint or hint_for(self.code, reason, self.facts)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class InvalidArgument(FivefoldError, ValueError):
    """The request is wrong, whatever the state of the system. Raised by the SDK too, before anything is sent."""

    code = "INVALID_ARGUMENT"


class NotFound(FivefoldError, LookupError):
    """No such resource, or none that this caller may see."""

    code = "NOT_FOUND"


class AlreadyExists(FivefoldError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(FivefoldError):
    """The state of the system does not allow it now."""

    code = "FAILED_PRECONDITION"


class Aborted(FivefoldError):
    """Someone else was faster: read again, then decide again."""

    code = "ABORTED"


class OutOfRange(FivefoldError):
    """Past the valid range, as reading beyond an end."""

    code = "OUT_OF_RANGE"


class Unauthenticated(FivefoldError):
    """No token, or one that the service does not accept."""

    code = "UNAUTHENTICATED"


class PermissionDenied(FivefoldError):
    """This caller may see the resource but not do this to it."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(FivefoldError):
    """Too much at once, too big, or no room left."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(FivefoldError):
    """Not now; the same call may succeed later."""

    code = "UNAVAILABLE"


class Unreachable(Unavailable):
    """No service answered at the address."""


class DeadlineExceeded(FivefoldError):
    """The answer did not come in time."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(FivefoldError):
    """The call was cancelled."""

    code = "CANCELLED"


class Unimplemented(FivefoldError):
    """The service does not know this method."""

    code = "UNIMPLEMENTED"


class Internal(FivefoldError):
    """A defect of the service; its log says more."""

    code = "INTERNAL"


class MissingExtra(FivefoldError, ImportError):
    """Something that the call needs is not installed; the message says what to install."""


_CLASSES: dict[str, type[FivefoldError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        OutOfRange,
        Unauthenticated,
        PermissionDenied,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
        Internal,
    )
}


def of_call(error: grpc.RpcError, *, service: str, address: str, timeout: float | None) -> FivefoldError:
    """Turns gRPC's error into ours.

    service, address  who was called, for the message when nobody answered
    timeout           seconds that the call had, or None
    """
    code: str = error.code().name
    text: str = error.details() or ""
    kind = _CLASSES.get(code, FivefoldError)
    answered = _details(error)
    if answered is not None:
        reason, facts, fields, retry_after = answered
        return kind(text, reason=reason, facts=facts, fields=fields, retry_after=retry_after)
    if code == "UNAVAILABLE":
        facts = {"service": service, "address": address, "detail": text}
        return Unreachable(f"{service} does not answer at {address}", facts=facts, hint=_reach_hint(address, text))
    if code == "DEADLINE_EXCEEDED":
        waited = f" within {timeout:g} s" if timeout is not None else " in time"
        return DeadlineExceeded(
            f"{service} at {address} did not answer{waited}", facts={"service": service, "address": address}
        )
    return kind(text or f"{service} at {address} answered {code}", facts={"service": service, "address": address})


_Details = tuple[str, dict[str, str], tuple[FieldViolation, ...], float | None]


def _details(error: grpc.RpcError) -> _Details | None:
    """Returns (reason, facts, fields, retry_after) of a status that one of our services sent, else None."""
    from google.rpc import error_details_pb2, status_pb2

    trailers: Any = error.trailing_metadata() or ()
    status = next((status_pb2.Status.FromString(value) for key, value in trailers if key == _DETAILS), None)
    if status is None:
        return None
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    fields: tuple[FieldViolation, ...] = ()
    retry_after = None
    for detail in status.details:
        if detail.Unpack(bad):
            fields = tuple(FieldViolation(wrong.field, wrong.description) for wrong in bad.field_violations)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif not info.reason:
            detail.Unpack(info)
    if info.domain != _DOMAIN:
        return None
    return info.reason, dict(info.metadata), fields, retry_after


def _reach_hint(address: str, text: str) -> str:
    lowered = text.lower()
    if any(word in lowered for word in ("ssl", "tls", "handshake", "certificate")):
        return "the two ends disagree about TLS: connect(tls_ca=…) or FIVEFOLD_TLS_CA is the server's authority"
    host = address.rpartition(":")[0].strip("[]")
    if host in ("localhost", "::1") or host.startswith("127."):
        return "is Fivefold running? Start it with `fivefold up`, or set FIVEFOLD_URL to where it runs"
    return "check the address (FIVEFOLD_URL) and the network between here and there"
