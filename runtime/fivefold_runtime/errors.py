"""Errors a servicer or store may raise, and their one form on the wire.

Raise the error that names the mistake; `handlers.py` turns it into a gRPC status with google.rpc details. The message
is for people, the reason (a name in fivefold/errors/v1) and the facts are for programs. Whatever else is raised leaves
the server as INTERNAL "internal error", without its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "fivefold"
_DETAILS = "grpc-status-details-bin"
_MAX_MESSAGE = 1024  # characters; HTTP/2 trailers are limited to 8 KiB in all
_MAX_FACT = 256  # characters of one fact
_MAX_FIELDS = 16  # field violations that are sent


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its path in the request ("trials[3].lr") and what was expected."""

    field: str
    description: str


class FivefoldError(Exception):
    """A refusal that the caller is meant to understand.

    message      one sentence for a person: what came, what was expected
    facts        every value of the message again, by name, as text
    fields       the request's fields at fault, for INVALID_ARGUMENT
    retry_after  seconds after which the same call may succeed, or None

    Subclass it through one of the classes below and set `reason`.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    reason: ClassVar[str] = ""
    multiline: ClassVar[bool] = False  # whether line ends in the message are the code's own and stay

    def __init__(
        self,
        message: str,
        /,
        *,
        fields: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        **facts: object,
    ) -> None:
        if not self.reason:
            raise TypeError(f"{type(self).__name__} has no reason; subclass it and set one of fivefold/errors/v1")
        super().__init__(message)
        self.message = message
        self.fields = fields
        self.retry_after = retry_after
        self.facts = _texts(facts)

    def status(self) -> status_pb2.Status:
        """Returns the google.rpc.Status that goes into the trailers, cut to what trailers may carry."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)
        for name, value in self.facts.items():
            info.metadata[name] = _clean(value, _MAX_FACT)
        details = [_packed(info)]
        if self.fields:
            bad = error_details_pb2.BadRequest()
            for violation in self.fields[:_MAX_FIELDS]:
                bad.field_violations.add(
                    field=_clean(violation.field, _MAX_FACT), description=_clean(violation.description, _MAX_FACT)
                )
            details.append(_packed(bad))
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after * 1e9))
            details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
        lines = self.message.split("\n") if self.multiline else [self.message]
        shown = "\n".join(_clean(line, _MAX_MESSAGE // len(lines)) for line in lines)
        return status_pb2.Status(code=self.code.value[0], message=shown, details=details)

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """Returns the trailing metadata that carries `status()`."""
        return ((_DETAILS, self.status().SerializeToString()),)


class InvalidArgument(FivefoldError):
    """The request is wrong whatever the state of the system. `raise FieldInvalid.at("page_size", "is -1; ...")`."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "FIELD_INVALID"

    @classmethod
    def at(cls, path: str, why: str, **facts: object) -> Self:
        """Returns the error of one field: its path ("trials[3].lr"), and what came and what was expected."""
        error = cls(f"{path} {why}", fields=(FieldViolation(path, why),))
        error.facts |= {"field": path} | _texts(facts)
        return error


class NotFound(FivefoldError):
    """No such resource, or none that the caller may see: `raise NotFound.of(name)`, so that nobody can tell which."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "RESOURCE_NOT_FOUND"

    @classmethod
    def of(cls, name: str) -> Self:
        """Returns the error that says that `name` is not there, in the words that policy uses too."""
        return cls(f"{name} does not exist", name=name)


class AlreadyExists(FivefoldError):
    """The name is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "RESOURCE_EXISTS"


class FailedPrecondition(FivefoldError):
    """The state of the system does not allow it. Has no reason of its own: subclass it."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(FivefoldError):
    """Someone else was faster: read again, then decide again."""

    code = grpc.StatusCode.ABORTED
    reason = "ETAG_MISMATCH"


class PermissionDenied(FivefoldError):
    """The caller may see the resource but not do this to it."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Unauthenticated(FivefoldError):
    """No token, or one that does not verify."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "TOKEN_INVALID"


class ResourceExhausted(FivefoldError):
    """Too much at once, too big, or no room left."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_CALLS"


class Unavailable(FivefoldError):
    """Not now; the same call may succeed later."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "SERVICE_UNAVAILABLE"


class DeadlineExceeded(FivefoldError):
    """The caller's time ran out before the work began."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class OutOfRange(FivefoldError):
    """Past the valid range, as reading beyond an end."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "FIELD_INVALID"


class Unimplemented(FivefoldError):
    """The contract has it, this server does not."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SUPPORTED"


class Internal(FivefoldError):
    """What an unexpected exception becomes. Never raise it."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


def parse(error: Any) -> tuple[str, dict[str, str]]:
    """Returns (reason, facts) of a failed call (grpc.RpcError); ("", {}) when the server sent no ErrorInfo of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info.reason, dict(info.metadata)
    return "", {}


def _texts(facts: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in facts.items() if value is not None}


def _packed(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed


def _clean(text: str, limit: int) -> str:
    """Cuts to `limit` characters and shows control characters instead of sending them."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
