"""Traces features through fitted scikit-learn transformers.

One function for each type of transformer, in a table; a type that is not in it makes the model run natively. Encoders
are not re-implemented: each is asked for its answer to every category it knows, to a missing value and to an unknown
one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import compose, feature_selection, impute, pipeline, preprocessing

from fivefold_serving.compiler import NotCompilable
from fivefold_serving.compiler.symbols import Choice, Feature, Number, Present, Text

Features = list[Feature]


def trace(transformer: Any, features: Features) -> Features:
    """Returns the features that the transformer makes of `features`. Raises NotCompilable."""
    if transformer == "passthrough" or transformer is None:
        return features
    for kind, function in _KINDS.items():
        if type(transformer) is kind:
            return function(transformer, features)
    raise NotCompilable(f"{type(transformer).__name__} has no compiled form")


def _pipeline(transformer: pipeline.Pipeline, features: Features) -> Features:
    for _, step in transformer.steps:
        features = trace(step, features)
    return features


def _columns(transformer: compose.ColumnTransformer, features: Features) -> Features:
    made: Features = []
    for name, inner, _ in transformer.transformers_:
        places = transformer._transformer_to_input_indices.get(name, [])
        if (isinstance(inner, str) and inner == "drop") or not len(places):
            continue
        made += trace(inner, [features[place] for place in places])
    return made


def _union(transformer: pipeline.FeatureUnion, features: Features) -> Features:
    if transformer.transformer_weights:
        raise NotCompilable("FeatureUnion with weights has no compiled form")
    return [one for _, inner in transformer.transformer_list if inner != "drop" for one in trace(inner, features)]


def _imputer(transformer: impute.SimpleImputer, features: Features) -> Features:
    made: Features = []
    marker = transformer.missing_values
    for feature, fill in zip(features, transformer.statistics_, strict=True):
        if isinstance(feature, Text):
            if feature.fill is not None or feature.none != (marker is None):
                made.append(feature)  # Nothing is missing in the imputer's eyes: None is no NaN to it.
            elif isinstance(fill, str):
                made.append(replace(feature, fill=fill))
            else:
                raise NotCompilable(f"SimpleImputer without a text for column {feature.column!r}")
            continue
        if not (isinstance(marker, float) and np.isnan(marker)):
            raise NotCompilable(f"SimpleImputer for the missing value {marker!r}")
        if isinstance(fill, float) and np.isnan(fill):
            raise NotCompilable(f"SimpleImputer without a value for column {feature.column!r}")
        made.append(feature.then("impute", float(fill)))
    if transformer.add_indicator:
        if transformer.indicator_.features not in ("missing-only", "all"):
            raise NotCompilable("MissingIndicator of an unknown kind")
        for place in transformer.indicator_.features_:
            source = features[place]
            if (isinstance(source, Number) and not source.ops) or (isinstance(source, Text) and source.fill is None):
                made.append(Present(source.column))
            else:
                raise NotCompilable("a missing indicator behind another transformer")
    return made


def _each(*operations: tuple[str, str, str]) -> Callable[[Any, Features], Features]:
    """A scaler: each operation takes its numbers from an attribute, and a parameter ("": none) may switch it off.

    StandardScaler keeps `mean_` where with_mean=False, so the numbers alone do not say what is done.
    """

    def traced(transformer: Any, features: Features) -> Features:
        for operation, attribute, switch in operations:
            values = getattr(transformer, attribute, None)
            if values is not None and (not switch or getattr(transformer, switch)):
                features = [one.then(operation, value) for one, value in zip(features, values, strict=True)]
        return features

    return traced


def _min_max(transformer: preprocessing.MinMaxScaler, features: Features) -> Features:
    made = _each(("multiply", "scale_", ""), ("add", "min_", ""))(transformer, features)
    if transformer.clip:
        low, high = transformer.feature_range
        made = [one.then("least", low).then("most", high) for one in made]
    return made


def _kept(transformer: Any, features: Features) -> Features:
    return [feature for feature, keep in zip(features, transformer.get_support(), strict=True) if keep]


def _identity(transformer: preprocessing.FunctionTransformer, features: Features) -> Features:
    if transformer.func is not None:
        raise NotCompilable("FunctionTransformer with a function has no compiled form")
    return features


def _encoder(transformer: Any, features: Features) -> Features:
    """Asks an encoder for its answers, column by column."""
    categories = [list(found) for found in transformer.categories_]
    widths = _widths(transformer, len(features))
    made: Features = []
    start = 0
    for place, (feature, known) in enumerate(zip(features, categories, strict=True)):
        taken = slice(start, start + widths[place])
        start += widths[place]
        made += _choices(transformer, place, feature, known, categories, taken)
    return made


def _widths(transformer: Any, columns: int) -> list[int]:
    if isinstance(transformer, preprocessing.OneHotEncoder):
        return [int(width) for width in transformer._n_features_outs]
    return [len(transformer.get_feature_names_out()) // columns] * columns


def _choices(
    transformer: Any, place: int, feature: Feature, known: list[Any], categories: list[list[Any]], taken: slice
) -> Features:
    fill = _fill_of(feature)
    keys = [value for value in known if not _is_missing(value)]
    text = isinstance(feature, Text)
    if any(isinstance(key, str) != text for key in keys):
        raise NotCompilable(f"an encoder of column {feature.column!r} whose categories are of another type")
    asked = [*keys, None if isinstance(feature, Text) and feature.none else np.nan, _unknown_of(keys, text)]
    answers = [_asked(transformer, place, value, categories, taken) for value in asked]
    rows, missing, unknown = answers[:-2], answers[-2], answers[-1]
    if fill is not None:
        missing = rows[keys.index(fill)] if fill in keys else unknown
    if any(row is None for row in rows):
        raise NotCompilable(f"{type(transformer).__name__} refuses a category of its own")
    plain = tuple(key if isinstance(key, str) else float(key) for key in keys)
    return [
        Choice(
            feature.column,
            plain,
            tuple(float(row[output]) for row in rows if row is not None),
            None if missing is None else float(missing[output]),
            None if unknown is None else float(unknown[output]),
        )
        for output in range(taken.stop - taken.start)
    ]


def _fill_of(feature: Feature) -> str | float | None:
    """Returns what stands for missing before the encoder; refuses features that are no plain column."""
    if isinstance(feature, Text):
        return feature.fill
    if isinstance(feature, Number) and len(feature.ops) <= 1 and all(name == "impute" for name, _ in feature.ops):
        return feature.ops[0][1] if feature.ops else None
    raise NotCompilable(f"an encoder behind another transformer of column {feature.column!r}")


def _asked(
    transformer: Any, place: int, value: Any, categories: list[list[Any]], taken: slice
) -> Sequence[float] | None:
    """Returns the encoder's answer where one column has `value` and the others their first category; None: refused."""
    row = [known[0] if known else np.nan for known in categories]
    row[place] = value
    names = getattr(transformer, "feature_names_in_", range(len(row)))
    kinds = [object if any(isinstance(one, str) for one in known) else None for known in categories]
    frame = pd.DataFrame(
        {name: pd.Series([one], dtype=kind) for name, one, kind in zip(names, row, kinds, strict=True)}
    )
    frame.columns = list(names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = transformer.transform(frame)
    except ValueError:
        return None
    dense = answer.toarray() if sparse.issparse(answer) else np.asarray(answer)
    return dense[0, taken].tolist()


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _unknown_of(keys: list[Any], text: bool) -> Any:
    return "\N{REPLACEMENT CHARACTER} unknown" if text or not keys else float(max(keys)) + 1.5


_KINDS: dict[type, Callable[[Any, Features], Features]] = {
    pipeline.Pipeline: _pipeline,
    pipeline.FeatureUnion: _union,
    compose.ColumnTransformer: _columns,
    impute.SimpleImputer: _imputer,
    preprocessing.StandardScaler: _each(("subtract", "mean_", "with_mean"), ("divide", "scale_", "with_std")),
    preprocessing.RobustScaler: _each(("subtract", "center_", "with_centering"), ("divide", "scale_", "with_scaling")),
    preprocessing.MaxAbsScaler: _each(("divide", "scale_", "")),
    preprocessing.MinMaxScaler: _min_max,
    preprocessing.OneHotEncoder: _encoder,
    preprocessing.OrdinalEncoder: _encoder,
    preprocessing.TargetEncoder: _encoder,
    preprocessing.FunctionTransformer: _identity,
    feature_selection.VarianceThreshold: _kept,
    feature_selection.SelectKBest: _kept,
    feature_selection.SelectPercentile: _kept,
    feature_selection.SelectFromModel: _kept,
}
