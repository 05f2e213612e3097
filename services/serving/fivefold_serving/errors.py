"""The refusals of this service, each with its stable reason."""

from __future__ import annotations

from fivefold_runtime.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Unavailable,
)


class ModelNotServed(NotFound):
    """The model, or the version asked for, is not loaded here and nothing is being loaded for it."""

    reason = "MODEL_NOT_SERVED"


class ModelLoading(Unavailable):
    """The model's first version is being loaded."""

    reason = "MODEL_LOADING"


class ModelRefused(FailedPrecondition):
    """The version could not be loaded; the message says why."""

    reason = "MODEL_REFUSED"


class InputMismatch(InvalidArgument):
    """A column or tensor is missing, unknown, or of the wrong type, shape or count."""

    reason = "INPUT_MISMATCH"

    @classmethod
    def of(cls, column: str, came: str, expected: str) -> InputMismatch:
        """Returns the error that names the column, what came and what was expected."""
        name = column if len(column) <= 64 else column[:61] + "..."
        return cls(
            f"column {name!r}: {came}; expected {expected}",
            fields=(FieldViolation(name, f"{came}; expected {expected}"),),
            column=name,
            came=came,
            expected=expected,
        )


class LookupKeyMissing(InvalidArgument):
    """Features have to be looked up and the request lacks one of their keys."""

    reason = "LOOKUP_KEY_MISSING"


class TooManyRows(InvalidArgument):
    """More rows than one call may have."""

    reason = "TOO_MANY_ITEMS"


class WorkerUnavailable(Unavailable):
    """The process that predicts for this model ended; the next call starts it again."""

    reason = "SERVICE_UNAVAILABLE"
