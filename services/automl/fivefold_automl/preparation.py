"""Preparation that is saved inside the model: raw columns in, numbers out. Runs in Ray workers.

Only steps that serving compiles: ordinal and one-hot encoding, median, scaling, columns picked by name. A value
that was not seen in training, and a missing one, have a place in every encoding.
"""

from __future__ import annotations

from typing import Any

from fivefold_automl.data import Input, Kind
from fivefold_automl.learners.base import Encoding

_MOST_ONE_HOT = 64  # different values up to which a linear model sees a category


def columns_for(encoding: Encoding, inputs: tuple[Input, ...]) -> tuple[list[str], list[str]]:
    """Returns the names of (number columns, category columns) that a learner of this encoding sees."""
    numbers = [c.name for c in inputs if c.kind is not Kind.CATEGORICAL]
    limit = _MOST_ONE_HOT if encoding is Encoding.LINEAR else None
    categories = [c.name for c in inputs if c.kind is Kind.CATEGORICAL and (limit is None or c.distinct <= limit)]
    return numbers, categories


def fitted(encoding: Encoding, inputs: tuple[Input, ...], frame: Any) -> tuple[Any, Any]:
    """Returns a fitted ColumnTransformer over frames that have the inputs by name, and what it makes of `frame`."""
    made = _transformer(encoding, inputs, frame)
    return made, made.fit_transform(frame)


def _transformer(encoding: Encoding, inputs: tuple[Input, ...], frame: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers, categories = columns_for(encoding, inputs)
    if encoding is Encoding.LINEAR:
        fill = SimpleImputer(strategy="median", keep_empty_features=True)
        of_numbers: Any = Pipeline([("fill", fill), ("scale", StandardScaler())])
        # Categories are listed, so that None and NaN, which the encoder tells apart, are both no category to it.
        known = [sorted(frame[name].dropna().unique()) for name in categories]
        of_categories: Any = OneHotEncoder(categories=known, handle_unknown="ignore")
    else:
        filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        of_numbers = filled if encoding is Encoding.FILLED else "passthrough"
        of_categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    steps = [("numbers", of_numbers, numbers), ("categories", of_categories, categories)]
    return ColumnTransformer([step for step in steps if step[2]])
