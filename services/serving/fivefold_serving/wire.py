"""Columns of messages (fivefold.data.v1) to values of a model's inputs and back, and served versions to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fivefold.data.v1 import data_pb2
from fivefold.models.signature import Column
from fivefold.serving.v1 import serving_pb2 as pb
from fivefold_serving.columns import Values
from fivefold_serving.errors import InputMismatch
from fivefold_serving.inputs import EXPECTED, checked
from fivefold_serving.predict import Prediction
from fivefold_serving.served import Entry, Loaded, State, states

_KINDS = {"bools": "booleans", "int64s": "integers", "doubles": "floating point numbers", "strings": "text"}
_ACCEPTED = {
    "bool": ("bools",),
    "int32": ("int64s", "doubles"),
    "int64": ("int64s", "doubles"),
    "float": ("doubles", "int64s"),
    "double": ("doubles", "int64s"),
    "string": ("strings",),
    "timestamp": ("int64s",),
    "date": ("int64s",),
}
_FIELDS = {"bool": "bools", "int64": "int64s", "double": "doubles", "string": "strings"}  # of outputs
_STATES = {
    State.LOADING: pb.SERVED_STATE_LOADING,
    State.LIVE: pb.SERVED_STATE_LIVE,
    State.STANDBY: pb.SERVED_STATE_STANDBY,
    State.REFUSED: pb.SERVED_STATE_REFUSED,
}


class Given:
    """The columns of a request, all of one length."""

    def __init__(self, columns: Sequence[data_pb2.Column]) -> None:
        """Raises InputMismatch for a column that occurs twice, has no values, or differs in length."""
        self._columns: dict[str, data_pb2.Column] = {}
        self.rows = -1
        for column in columns:
            kind = column.WhichOneof("values")
            if kind is None:
                raise InputMismatch.of(column.name, "no values", "one kind of values")
            if column.name in self._columns:
                raise InputMismatch.of(column.name, "the name twice", "each name once")
            rows = len(getattr(column, kind).values)
            if self.rows not in (-1, rows):
                raise InputMismatch.of(column.name, f"{rows} rows", f"{self.rows} rows, as the other columns have")
            if column.nulls and max(column.nulls) >= rows:
                raise InputMismatch.of(column.name, f"row {max(column.nulls)} named null", f"one of {rows} rows")
            self.rows = rows
            self._columns[column.name] = column

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._columns)

    def key(self, column: Column) -> data_pb2.Column:
        """Returns a column as it is sent on for a look-up."""
        return self._columns[column.name]

    def values(self, column: Column) -> Values:
        """Returns a column as an input of its signature. Raises InputMismatch."""
        given = self._columns[column.name]
        kind = given.WhichOneof("values") or ""
        nulls = given.nulls
        if len(set(nulls)) == self.rows:
            return [None] * self.rows if column.type == "string" else np.full(self.rows, np.nan)
        if kind not in _ACCEPTED[column.type]:
            raise InputMismatch.of(column.name, _KINDS[kind], EXPECTED[column.type])
        raw = getattr(given, kind).values
        if column.type == "string":
            texts: list[str | None] = list(raw)
            for row in nulls:
                texts[row] = None
            return texts
        numbers = np.array(raw, float)
        if nulls:
            numbers[list(nulls)] = np.nan
        return checked(numbers, column)


def to_column(name: str, values: Values, kind: str) -> data_pb2.Column:
    """Returns values as a message; NaN of numbers and None of texts become nulls."""
    column = data_pb2.Column(name=name)
    if not isinstance(values, np.ndarray):
        column.strings.values.extend("" if value is None else value for value in values)
        column.nulls.extend(row for row, value in enumerate(values) if value is None)
        return column
    missing = np.isnan(values)
    there = np.where(missing, 0.0, values) if kind != "double" and kind != "float" else values
    if kind == "bool":
        column.bools.values.extend(there.astype(bool).tolist())
    elif kind in ("float", "double"):
        column.doubles.values.extend(there.tolist())
    else:
        column.int64s.values.extend(there.astype(np.int64).tolist())
    if missing.any():
        column.nulls.extend(np.flatnonzero(missing).tolist())
    return column


def to_predicted(answer: Prediction, with_features: bool) -> pb.PredictResponse:
    """Returns the answer of Predict."""
    message = pb.PredictResponse(model_version=answer.loaded.version.name, features_missing=answer.missing)
    for column in answer.loaded.outputs:
        target = message.outputs.add(name=column.name)
        values = answer.outputs[column.name]
        getattr(target, _FIELDS[column.type]).values.extend(
            values.tolist() if isinstance(values, np.ndarray) else values
        )
    if with_features:
        kinds = {column.name: column.type for column in answer.loaded.signature.inputs}
        message.features.extend(to_column(name, values, kinds[name]) for name, values in answer.looked.items())
    return message


def model_of(served: pb.ServedModel) -> str:
    """Returns the model of a served version: models/{model}."""
    return served.model_version.rpartition("/versions/")[0]


def to_served(entries: Mapping[str, Entry]) -> list[pb.ServedModel]:
    """Returns what is served, by model and version."""
    return [
        _to_served(model, number, state, why, loaded, entries[model])
        for model, number, state, why, loaded in states(entries)
    ]


def _to_served(model: str, number: int, state: State, why: str, loaded: Loaded | None, entry: Entry) -> pb.ServedModel:
    message = pb.ServedModel(model_version=f"models/{model}/versions/{number}", state=_STATES[state], reason=why)
    if loaded is not None:
        message.predictor = loaded.about
        message.feature_spec = loaded.feature_spec.name if loaded.feature_spec else ""
        message.rows_predicted = loaded.counter.rows
    if state is State.LIVE and entry.since is not None:
        message.live_time.FromDatetime(entry.since)
    return message
