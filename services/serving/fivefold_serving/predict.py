"""Predicts: columns or keys in, outputs out, by one version. The hot path of both protocols; knows neither of them.

Touches the table (read only), the model and, where values are missing, the features service. Raises the errors that the
contracts name; everything that is wrong with an input is InputMismatch and names the column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.data.v1 import data_pb2
from fivefold.models.package import FeatureSpec
from fivefold.models.signature import Column
from fivefold_serving.clients import Features, Looked
from fivefold_serving.columns import Numbers, Values
from fivefold_serving.errors import (
    InputMismatch,
    LookupKeyMissing,
    ModelLoading,
    ModelNotServed,
    TooManyRows,
    WorkerUnavailable,
)
from fivefold_serving.features import ValueRefused
from fivefold_serving.predictor import Answers
from fivefold_serving.served import Entry, Label, Loaded, Table
from fivefold_serving.worker import WorkerLost

MOST_ROWS = 10_000
Outputs = Numbers | list[Label]  # probabilities or predictions, or labels
_RETRY_SECONDS = 1.0


class Given(Protocol):
    """What a request brings, whatever its protocol: named columns of `rows` rows."""

    rows: int

    @property
    def names(self) -> frozenset[str]: ...

    def values(self, column: Column) -> Values:
        """Returns a column as an input of the signature. Raises InputMismatch."""
        ...

    def key(self, column: Column) -> data_pb2.Column:
        """Returns a column as a key for a look-up. Raises InputMismatch."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of one version.

    outputs   by the version's `outputs`: a list of labels, arrays of probabilities or predictions
    looked    looked-up inputs as the model saw them
    missing   number of looked-up values that were not stored ones
    """

    loaded: Loaded
    outputs: Mapping[str, Outputs]
    looked: Mapping[str, Values]
    missing: int


def find(table: Table, model: str, number: int | None = None) -> Loaded:
    """Returns the version that answers for a model, or a certain one that is in memory.

    Raises ModelLoading while the first is on its way, ModelNotServed for any other.
    """
    entry = table.entries.get(model, Entry())
    found = entry.live if number is None else entry.loaded(number)
    if found is not None:
        return found
    name = f"models/{model}" if number is None else f"models/{model}/versions/{number}"
    if entry.loading if number is None else number in entry.loading:
        raise ModelLoading(f"{name} is being loaded", retry_after=_RETRY_SECONDS, model=name)
    if number is None and entry.refused:
        newest = max(entry.refused)
        raise ModelNotServed(
            f"{name} has no version that can be served; version {newest} was refused: {entry.refused[newest]}",
            model=name,
        )
    what = "has no version in Production" if number is None else "is not served"
    raise ModelNotServed(f"{name} {what}", model=name)


def predict(loaded: Loaded, given: Given, features: Features, as_of: Timestamp | None = None) -> Prediction:
    """Predicts for the rows of a request. Looks up the inputs that it lacks, where the model has a feature spec."""
    _check_rows(given)
    inputs = loaded.signature.inputs
    spec = loaded.feature_spec
    lacking = [column for column in inputs if column.name not in given.names]
    _check_names(loaded, given, lacking)
    looked, missing = _looked_up(spec, given, lacking, features, as_of) if spec and lacking else ({}, 0)
    columns = {column.name: looked[column.name] if column.name in looked else given.values(column) for column in inputs}
    _check_nulls(loaded, columns)
    answers = _answered(loaded, columns, given.rows)
    loaded.counter.add(given.rows)
    return Prediction(loaded, _outputs(loaded, answers), looked, missing)


def _check_rows(given: Given) -> None:
    if given.rows < 1:
        raise InputMismatch(
            "the request has no rows; expected at least one", came="0 rows", expected="at least one row"
        )
    if given.rows > MOST_ROWS:
        raise TooManyRows(
            f"the request has {given.rows} rows; at most {MOST_ROWS} are allowed", rows=given.rows, limit=MOST_ROWS
        )


def _check_names(loaded: Loaded, given: Given, lacking: Sequence[Column]) -> None:
    """Refuses columns that the model does not know, and those that it lacks and nothing can look up."""
    spec = loaded.feature_spec
    known = {column.name for column in loaded.signature.inputs}
    keys = {key.name for key in spec.keys} if spec else set()
    for name in sorted(given.names - known - keys):
        raise InputMismatch.of(name, "an unknown column", f"one of {_listed(sorted(known | keys))}")
    features = {feature.name for feature in spec.features} if spec else set()
    wanted = [column.name for column in lacking if column.name in features]
    for name in sorted(keys - given.names) if wanted else ():
        raise LookupKeyMissing(
            f"column {name!r} is missing: {len(wanted)} features, such as {wanted[0]!r}, are looked up by it",
            column=name,
            feature=wanted[0],
        )
    for column in lacking:
        if column.name not in features:
            raise InputMismatch.of(column.name, "no such column", f"a column of type {column.type}")


def _looked_up(
    spec: FeatureSpec, given: Given, lacking: Sequence[Column], features: Features, as_of: Timestamp | None
) -> tuple[dict[str, Values], int]:
    found: Looked = features.look_up(spec.name, [given.key(key) for key in spec.keys], as_of)
    for column in lacking:
        if column.name not in found:
            raise InputMismatch.of(
                column.name, f"no such feature from {spec.name}", "one that the model was trained on"
            )
    return {column.name: found.values(column) for column in lacking}, found.missing([c.name for c in lacking])


def _check_nulls(loaded: Loaded, columns: Mapping[str, Values]) -> None:
    for name in loaded.not_null:
        values = columns[name]
        missing = np.isnan(values) if isinstance(values, np.ndarray) else np.array([v is None for v in values], bool)
        if missing.any():
            raise InputMismatch.of(name, f"a missing value in row {int(np.argmax(missing))}", "a value in every row")


def _answered(loaded: Loaded, columns: Mapping[str, Values], rows: int) -> Answers:
    try:
        return loaded.predictor(columns, rows)
    except ValueRefused as error:
        if not error.column:
            raise InputMismatch(error.why, why=error.why) from None
        came = "a missing value" if error.value is None else f"the value {str(error.value)[:40]!r}"
        raise InputMismatch.of(error.column, came, "a value that the model knows") from None
    except WorkerLost:
        name = loaded.version.name
        raise WorkerUnavailable(
            f"the process that predicts for {name} ended; it starts again with the next call",
            retry_after=_RETRY_SECONDS,
            model_version=name,
        ) from None


def _outputs(loaded: Loaded, answers: Answers) -> dict[str, Outputs]:
    if not loaded.classes:
        return {"prediction": answers[:, 0]}
    labels = [loaded.classes[place] for place in answers.argmax(axis=1).tolist()]
    if len(loaded.classes) == 2:
        return {"label": labels, "probability": answers[:, loaded.positive]}
    names = [column.name for column in loaded.outputs[1:]]
    return {"label": labels} | {name: answers[:, place] for place, name in enumerate(names)}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
