"""Predictions by rows or by entity keys, and what is served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from fivefold.sdk import columns as plain
from fivefold.sdk.errors import DeadlineExceeded, FailedPrecondition
from fivefold.sdk.extras import need
from fivefold.sdk.names import full
from fivefold.sdk.names import version as full_version
from fivefold.sdk.records import Listing, Record
from fivefold.sdk.times import to_timestamp
from fivefold.sdk.transport import Transport
from fivefold.serving.v1 import serving_pb2 as pb
from fivefold.serving.v1.serving_pb2_grpc import ServingServiceStub

_ASK_SECONDS = 0.05
_SHOWN_ROWS = 5  # of a prediction that is printed


@dataclass(frozen=True, repr=False)
class ServedModel(Record):
    """One version on this server: LOADING, LIVE, STANDBY or REFUSED."""

    model_version: str
    state: str
    reason: str
    predictor: str
    feature_spec: str
    live_time: datetime | None
    rows_predicted: int


@dataclass(frozen=True, repr=False)
class ServingState(Record):
    """What a server serves, and whether it is in touch with the registry."""

    served_models: tuple[ServedModel, ...]
    registry_connected: bool


class Prediction:
    """Predictions, all from one version.

    model_version     "models/{model}/versions/{version}"
    features_missing  number of looked-up values that were missing, expired or defaulted
    """

    def __init__(self, answer: pb.PredictResponse) -> None:
        self._answer = answer
        self.model_version = answer.model_version
        self.features_missing = answer.features_missing

    @cached_property
    def outputs(self) -> dict[str, list[Any]]:
        """Outputs by the model's signature, such as `label` and `probability`: a list each, in row order."""
        return {column.name: plain.from_wire(column) for column in self._answer.outputs}

    @cached_property
    def features(self) -> dict[str, list[Any]]:
        """Looked-up features as the model saw them; empty unless asked for."""
        return {column.name: plain.from_wire(column) for column in self._answer.features}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns one dict for each row: its outputs, then its features."""
        named = {**self.features, **self.outputs}
        order = [*self.outputs, *(name for name in self.features if name not in self.outputs)]
        rows = len(next(iter(named.values()), []))
        return [{name: named[name][row] for name in order} for row in range(rows)]

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame of the outputs, in row order."""
        return need("pandas", "to_pandas()").DataFrame(self.outputs)

    def __repr__(self) -> str:
        rows = len(next(iter(self.outputs.values()), []))
        more = f", … {rows} rows" if rows > _SHOWN_ROWS else ""
        outputs = [f"{name}={values[:_SHOWN_ROWS]}" for name, values in self.outputs.items()]
        return f"Prediction({self.model_version}, {', '.join(outputs)}{more})"


class Serving:
    """The serving service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(ServingServiceStub)

    def predict(
        self, model: str, columns: Any, *, as_of: datetime | None = None, with_features: bool = False
    ) -> Prediction:
        """Predicts by the model's Production version.

        columns        a dict of lists or single values, or a frame, at most 10,000 rows: inputs of the model, or the
                       keys of its feature spec, from which the rest is looked up
        as_of          time against which the age of looked-up features is measured; None: now
        with_features  returns what was looked up

        Raises NotFound (MODEL_NOT_SERVED), Unavailable (MODEL_LOADING), InvalidArgument (INPUT_MISMATCH,
        LOOKUP_KEY_MISSING).
        """
        request = pb.PredictRequest(
            model=full("models", model),
            columns=plain.to_wire(columns),
            as_of=to_timestamp(as_of, "as_of"),
            with_features=with_features,
        )
        return Prediction(self._transport.call(self._stub.Predict, request))

    def wait(self, version: str, timeout: float = 60.0) -> ServedModel:
        """Returns when a version answers, which is seconds after its promotion.

        version  "churn/3" or "models/churn/versions/3"
        timeout  seconds

        Raises FailedPrecondition (MODEL_REFUSED) when the server refuses the version, DeadlineExceeded.
        """
        name = full_version(version)
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            for served in self.served_models():
                if served.model_version == name and served.state == "LIVE":
                    return served
                if served.model_version == name and served.state == "REFUSED":
                    facts = {"model_version": name}
                    raise FailedPrecondition(f"{name} is refused: {served.reason}", reason="MODEL_REFUSED", facts=facts)
            time.sleep(_ASK_SECONDS)
        raise DeadlineExceeded(
            f"{name} did not answer within {timeout:g} s", hint="is it in Production? see `fivefold serve status`"
        )

    def served_models(self) -> Listing[ServedModel]:
        """Lists the versions that are served, being loaded, kept ready or refused, by model and version."""
        return Listing(self.state().served_models)

    def state(self) -> ServingState:
        """Returns what is served and whether the registry answers."""
        return ServingState.of(self._transport.call(self._stub.ListServedModels, pb.ListServedModelsRequest()))
