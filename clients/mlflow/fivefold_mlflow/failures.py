"""Errors of Fivefold as MLflow's exceptions, with the error codes that its users check."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow.exceptions import MlflowException, MlflowNotImplementedException
from mlflow.protos import databricks_pb2 as codes

from fivefold.sdk.errors import FivefoldError

#: What MLflow's own stores answer where something is deleted, ended or written once.
_AS_PARAMETER = frozenset({"PARAM_CHANGED", "RUN_DELETED", "RUN_ENDED", "EXPERIMENT_DELETED", "LOGGED_MODEL_DELETED"})

_CODES: dict[str, int] = {
    "INVALID_ARGUMENT": codes.INVALID_PARAMETER_VALUE,
    "OUT_OF_RANGE": codes.INVALID_PARAMETER_VALUE,
    "NOT_FOUND": codes.RESOURCE_DOES_NOT_EXIST,
    "ALREADY_EXISTS": codes.RESOURCE_ALREADY_EXISTS,
    "FAILED_PRECONDITION": codes.INVALID_STATE,
    "ABORTED": codes.ABORTED,
    "UNAUTHENTICATED": codes.UNAUTHENTICATED,
    "PERMISSION_DENIED": codes.PERMISSION_DENIED,
    "RESOURCE_EXHAUSTED": codes.RESOURCE_EXHAUSTED,
    "UNAVAILABLE": codes.TEMPORARILY_UNAVAILABLE,
    "DEADLINE_EXCEEDED": codes.DEADLINE_EXCEEDED,
    "CANCELLED": codes.CANCELLED,
    "UNIMPLEMENTED": codes.NOT_IMPLEMENTED,
    "INTERNAL": codes.INTERNAL_ERROR,
}


class Failure(MlflowException):
    """A call that a service refused, or that did not arrive.

    reason  name in fivefold/errors/v1 without REASON_; "" when no service answered
    facts   the values that the message speaks of, by name
    """

    def __init__(
        self,
        message: str,
        error_code: int = codes.INTERNAL_ERROR,
        *,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, error_code=error_code)
        self.reason = reason
        self.facts = dict(facts or {})

    def saying(self, message: str) -> Failure:
        """Returns the same failure in the words of MLflow."""
        code: int = codes.ErrorCode.Value(self.error_code)
        return Failure(message, code, reason=self.reason, facts=self.facts)


class NotSupported(MlflowNotImplementedException, NotImplementedError):
    """Fivefold has no such thing. MLflow's own code falls back where it catches either base."""


def translated(error: FivefoldError, missing: str = "") -> Failure:
    """Returns MLflow's exception for an error of ours.

    missing  what MLflow says where the thing that the call is about does not exist; "": what the service said
    """
    code = codes.INVALID_PARAMETER_VALUE if error.reason in _AS_PARAMETER else _CODES.get(error.code)
    message = missing if missing and error.code == "NOT_FOUND" else str(error)
    if error.reason == "PAGE_TOKEN_INVALID":
        message = f"Invalid page token, could not base64-decode: {message}"
    return Failure(message, code or codes.INTERNAL_ERROR, reason=error.reason, facts=error.facts)


def not_found(message: str) -> MlflowException:
    """Returns the exception for something that does not exist."""
    return MlflowException(message, codes.RESOURCE_DOES_NOT_EXIST)


def invalid(message: str) -> MlflowException:
    """Returns the exception for a wrong argument."""
    return MlflowException(message, codes.INVALID_PARAMETER_VALUE)


def refusing(name: str) -> object:
    """Returns a method that says that Fivefold does not have it."""

    def method(self: object, *_: object, **__: object) -> None:
        raise NotSupported(f"{name} is not supported by Fivefold, which keeps experiments, runs, models and files")

    method.__name__ = name
    method.__doc__ = "Raises NotSupported."
    return method


def refuse(store: type, *contracts: type, keep: frozenset[str]) -> None:
    """Gives a store a refusing method for each public method of the contracts that no class of ours has.

    keep  names of those that work as MLflow wrote them
    """
    ours = {name for kind in store.__mro__ if kind.__module__.startswith("fivefold_mlflow") for name in vars(kind)}
    for name in sorted({name for contract in contracts for name in dir(contract)} - ours - keep):
        if not name.startswith("_") and callable(getattr(contracts[0], name, None) or getattr(contracts[-1], name)):
            setattr(store, name, refusing(name))
