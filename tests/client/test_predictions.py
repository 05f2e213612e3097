"""What a prediction says of itself."""

from __future__ import annotations

from fivefold.sdk.columns import to_wire
from fivefold.sdk.serving import Prediction
from fivefold.serving.v1 import serving_pb2 as pb

VERSION = "models/churn/versions/3"


def prediction(rows: int) -> Prediction:
    outputs = {"label": [True] * rows, "probability": [0.75] * rows}
    return Prediction(pb.PredictResponse(model_version=VERSION, outputs=to_wire(outputs)))


def test_a_printed_prediction_names_its_version_and_its_values() -> None:
    assert repr(prediction(2)) == f"Prediction({VERSION}, label=[True, True], probability=[0.75, 0.75])"


def test_a_printed_prediction_of_many_rows_shows_the_first_and_their_number() -> None:
    printed = repr(prediction(10_000))
    assert len(printed) < 200
    assert printed.endswith("probability=[0.75, 0.75, 0.75, 0.75, 0.75], … 10000 rows)")
