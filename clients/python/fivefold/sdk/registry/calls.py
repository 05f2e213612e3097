"""What all parts of the registry's client share: the connection, and how versions and stages may be named.

A model is "churn" or "models/churn". A version is "churn/3" or "models/churn/versions/3", and wherever one is asked
for also "churn@champion" (an alias), "churn/Production" (the newest in a stage) or "churn/latest"; MLflow's
"models:/churn/3" is the same. Stages are "None", "Staging", "Production", "Archived" or the model's own names for
them, in any case. An alias, a stage or an own name costs one more call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.sdk import names
from fivefold.sdk.errors import FivefoldError, InvalidArgument, NotFound
from fivefold.sdk.records import enum_names
from fivefold.sdk.transport import Transport

if TYPE_CHECKING:
    from fivefold.sdk.tracking import Tracking

_STAGES = {name.lower(): number for number, name in enum_names(pb.Stage.DESCRIPTOR).items() if number}


class RegistryCalls:
    """The connection to the registry. `tracking` gives the client of the tracking service, when a call needs it."""

    def __init__(self, transport: Transport, tracking: Callable[[], Tracking] | None = None) -> None:
        self._transport = transport
        self._stub = transport.stub(RegistryServiceStub)
        self._tracking = tracking

    def _version(self, name: str, number: int | None = None) -> str:
        """Returns the full name of the version that is meant."""
        reference = names.reference(name, number)
        if reference.number is not None:
            return f"{reference.model}/versions/{reference.number}"
        if reference.alias:
            request = pb.GetModelVersionRequest(name=f"{reference.model}/aliases/{reference.alias}")
            return self._transport.call(self._stub.GetModelVersion, request).name
        found = self._newest(reference.model, reference.stage)
        return found.name

    def _parent(self, name: str) -> str:
        """Returns the full name of a model ("churn") or of a version ("churn/3", "churn/Production")."""
        bare = name.removeprefix("models:/").removeprefix("models/")
        return self._version(name) if "/" in bare else names.full("models", bare)

    def _newest(self, model: str, stage: str) -> pb.ModelVersion:
        """Returns the newest version of a model, in a stage or, for "latest", in any. Raises NotFound."""
        latest = stage.lower() == "latest"
        request = pb.ListModelVersionsRequest(
            parent=model,
            stages=[] if latest else [self._stage(model, stage)],  # type: ignore[list-item]
        )
        for found in self._transport.pages(self._stub.ListModelVersions, request, "model_versions", 1):
            version: pb.ModelVersion = found
            return version
        raise NotFound(
            f"{model} has no version{'' if latest else f' in {stage}'}",
            reason="RESOURCE_NOT_FOUND",
            facts={"model": model, "stage": stage},
            hint=f"see those that it has with `fivefold models versions {names.word(model)}`",
        )

    def _stage(self, model: str, text: str) -> int:
        """Returns the number of a stage by its name, or by the model's own name for it.

        Raises InvalidArgument that lists the names.
        """
        number = _STAGES.get(text.lower()) if isinstance(text, str) else None
        if number is not None:
            return number
        own = self._own_names(model)
        for name, stage in own.items():
            if name.lower() == str(text).lower():
                return stage
        known = ", ".join([*(name for number, name in enum_names(pb.Stage.DESCRIPTOR).items() if number), *own])
        raise InvalidArgument(
            f"stage is {text!r}; it must be one of {known}",
            reason="FIELD_INVALID",
            facts={"field": "stage", "value": str(text), "model": model},
        )

    def _own_names(self, model: str) -> dict[str, int]:
        """Returns a model's own names of stages; none for a model that is not there: another call will say so."""
        try:
            found = self._transport.call(self._stub.GetModel, pb.GetModelRequest(name=model))
        except NotFound:
            return {}
        return {own.name: own.stage for own in found.policy.stage_names}


@contextmanager
def hinting(**by_reason: str | Callable[[FivefoldError], str]) -> Iterator[None]:
    """Gives errors of these reasons the hint that fits the call at hand; a function is asked with the error."""
    try:
        yield
    except FivefoldError as error:
        hint = by_reason.get(error.reason, error.hint)
        error.hint = hint if isinstance(hint, str) else hint(error)
        raise
