"""Describes a model package: an MLflow model directory, written and read without MLflow, pandas or any learner.

    MLmodel              flavors, signature, what of ours MLflow has no field for under `metadata.fivefold`
    input_example.json   a few rows as MLflow writes them: {"columns": [...], "data": [[...], ...]}
    statistics.json      of inputs and outputs in training (see statistics.py)
    requirements.txt     what the model needs, python_env.yaml beside it
    model.…              written by the flavor's module

Raises PackageInvalid, whose message names the file and field and never a path of this machine.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Required, TypedDict

import yaml

from fivefold.models.signature import Column, Signature, SignatureInvalid

MLMODEL = "MLmodel"
EXAMPLE = "input_example.json"
STATISTICS = "statistics.json"
REQUIREMENTS = "requirements.txt"
ENVIRONMENT = "python_env.yaml"
_FORMAT = 1
_MOST_BYTES = 16 * 1024 * 1024  # of MLmodel, example and statistics each
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Columns = Mapping[str, Sequence[Any]]  # values by column; None is a null


class PackageInvalid(ValueError):
    """The folder is no model package, or one whose parts contradict each other."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The features that a model was trained from.

    name      Format: specs/{spec}
    keys      columns that a look-up needs: the spec's keys, and what its functions take from a request
    features  columns that a look-up gives
    Empty keys and features mean: as the features service describes the spec, which never changes.
    """

    name: str
    keys: tuple[Column, ...] = ()
    features: tuple[Column, ...] = ()

    @classmethod
    def of(cls, message: Any) -> FeatureSpec:
        """Returns the spec that a fivefold.features.v1.FeatureSpec message describes."""
        sides = ((*message.keys, *message.inputs), message.features)  # Functions may need more than the keys.
        return cls(message.name, *(tuple(Column(c.name, _TYPE_OF[c.type]) for c in side) for side in sides))


# fivefold.data.v1.DataType; BYTES is no model input.
_TYPE_OF = {1: "bool", 2: "int32", 3: "int64", 4: "float", 5: "double", 6: "string", 8: "timestamp", 9: "date"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a package says of itself.

    flavors        by name, as MLflow has them
    input_example  a few rows, by column; values are bool, int, float, str, datetime, date or None
    training_set   Format: trainingSets/{training_set}; empty: not from the features service
    classes        a classifier's labels in the order of its probabilities; empty: those of the fitted model
    positive       the label whose probability a binary classifier answers; None: the second class
    metadata       more of the caller's own, as MLflow keeps it
    """

    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature | None = None
    input_example: Columns | None = None
    feature_spec: FeatureSpec | None = None
    training_set: str = ""
    statistics: Mapping[str, Any] | None = None
    classes: tuple[str | int | bool, ...] = ()
    positive: str | int | bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class About(TypedDict, total=False):
    """What every flavor's `save` is told of a model, beside the model.

    signature      inputs by the names that the model's frame has; outputs are `label` and `probability` (binary) or
                   `probability_CLASS` columns of a classifier, `prediction` of a regressor
    input_example  a few rows: a frame, or a mapping of columns
    feature_spec, training_set, statistics, classes, positive, metadata: as in Package
    """

    signature: Required[Signature]
    input_example: Required[Any]
    feature_spec: FeatureSpec | None
    training_set: str
    statistics: Mapping[str, Any] | None
    classes: Sequence[str | int | bool]
    positive: str | int | bool | None
    metadata: Mapping[str, Any]


def describe(flavor: str, model: Mapping[str, Any], python: Mapping[str, Any], about: About) -> Package:
    """Returns the description of a package whose model MLflow loads by its module of the flavor's name.

    model   fields of the flavor itself
    python  more fields of `python_function`, such as where the model's file is
    """
    function = {
        "env": {"virtualenv": ENVIRONMENT},
        "loader_module": f"mlflow.{flavor}",
        "python_version": platform.python_version(),
        **python,
    }
    return Package(
        flavors={"python_function": function, flavor: {"code": None, **model}},
        signature=about["signature"],
        input_example=columns_of(about["input_example"], about["signature"]),
        feature_spec=about.get("feature_spec"),
        training_set=about.get("training_set", ""),
        statistics=about.get("statistics"),
        classes=tuple(about.get("classes", ())),
        positive=about.get("positive"),
        metadata=about.get("metadata", {}),
    )


def write(folder: Path, package: Package, requirements: Sequence[str] = ()) -> None:
    """Writes everything but the model itself into `folder`, which exists.

    requirements  names of distributions that the model needs; they are written with the versions installed here
    """
    signature = package.signature
    ours: dict[str, Any] = {"format": _FORMAT}
    if signature:
        ours["signature"] = signature.to_plain()
    if package.feature_spec:
        spec = package.feature_spec
        plain = Signature(spec.keys, spec.features).to_plain()
        ours["feature_spec"] = {"name": spec.name, "keys": plain["inputs"], "features": plain["outputs"]}
    if package.training_set:
        ours["training_set"] = package.training_set
    if package.classes:
        ours["classes"] = [_plain(label) for label in package.classes]
    if package.positive is not None:
        ours["positive"] = _plain(package.positive)
    described: dict[str, Any] = {
        "flavors": {name: dict(flavor) for name, flavor in package.flavors.items()},
        "metadata": {**package.metadata, "fivefold": ours},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    if signature:
        described["signature"] = signature.to_mlflow()
    if package.input_example is not None:
        described["saved_input_example_info"] = {
            "artifact_path": EXAMPLE,
            "pandas_orient": "split",
            "type": "dataframe",
        }
        _write_example(folder / EXAMPLE, package.input_example)
    if package.statistics is not None:
        ours["statistics"] = STATISTICS
        (folder / STATISTICS).write_text(json.dumps(package.statistics, indent=1), encoding="utf-8")
    pinned = [f"{name}=={version(name)}" for name in requirements if _installed(name)]
    (folder / REQUIREMENTS).write_text("".join(f"{line}\n" for line in pinned), encoding="utf-8")
    environment = {
        "python": platform.python_version(),
        "build_dependencies": [],
        "dependencies": [f"-r {REQUIREMENTS}"],
    }
    (folder / ENVIRONMENT).write_text(yaml.safe_dump(environment), encoding="utf-8")
    (folder / MLMODEL).write_text(yaml.safe_dump(described, allow_unicode=True), encoding="utf-8")


def read(folder: Path) -> Package:
    """Reads the description of a package, ours or one that MLflow wrote. Raises PackageInvalid."""
    try:
        described = yaml.load(_text(folder, MLMODEL), Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        raise PackageInvalid(f"{MLMODEL} is not YAML") from None
    described = _mapping(described, MLMODEL)
    flavors = {
        str(name): _mapping(flavor, f"{MLMODEL}: flavor {name}")
        for name, flavor in _mapping(described.get("flavors"), f"{MLMODEL}: flavors").items()
    }
    if not flavors:
        raise PackageInvalid(f"{MLMODEL}: flavors is empty")
    metadata = dict(_mapping(described.get("metadata") or {}, f"{MLMODEL}: metadata"))
    ours = _mapping(metadata.pop("fivefold", None) or {}, f"{MLMODEL}: metadata.fivefold")
    if ours.get("format", _FORMAT) != _FORMAT:
        raise PackageInvalid(f"{MLMODEL}: metadata.fivefold.format is {ours['format']!r}; this version reads {_FORMAT}")
    try:
        signature = _signature(described, ours)
        feature_spec = _feature_spec(ours.get("feature_spec"))
    except SignatureInvalid as error:
        raise PackageInvalid(f"{MLMODEL}: {error}") from None
    classes = ours.get("classes") or ()
    if not isinstance(classes, list | tuple) or not all(isinstance(label, str | int | bool) for label in classes):
        raise PackageInvalid(f"{MLMODEL}: metadata.fivefold.classes must be a list of labels")
    return Package(
        flavors=flavors,
        signature=signature,
        input_example=_read_example(folder, described, signature),
        feature_spec=feature_spec,
        training_set=str(ours.get("training_set", "")),
        statistics=_json(folder, STATISTICS) if ours.get("statistics") else None,
        classes=tuple(classes),
        positive=ours.get("positive"),
        metadata=metadata,
    )


def columns_of(table: Any, signature: Signature) -> dict[str, list[Any]]:
    """Returns the values of the signature's inputs in a table: a mapping of sequences, or a pandas frame.

    NaN, NaT and pandas.NA become None, numpy scalars Python values. Raises PackageInvalid for a missing column.
    """
    taken = {}
    for column in signature.inputs:
        try:
            taken[column.name] = [_value(value) for value in table[column.name]]
        except (KeyError, IndexError):
            raise PackageInvalid(f"the input example lacks column {column.name!r} of the signature") from None
    if len({len(values) for values in taken.values()}) > 1:
        raise PackageInvalid("the columns of the input example differ in length")
    return taken


class _Loader(yaml.SafeLoader):
    """YAML's safe subset without dates: MLflow writes texts that look like times.

    In Python, because libyaml's loader takes the process down where a file is nested deeply.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _signature(described: Mapping[str, Any], ours: Mapping[str, Any]) -> Signature | None:
    if "signature" in ours:
        return Signature.from_plain(_mapping(ours["signature"], f"{MLMODEL}: metadata.fivefold.signature"))
    if described.get("signature"):
        return Signature.from_mlflow(_mapping(described["signature"], f"{MLMODEL}: signature"))
    return None


def _feature_spec(described: object) -> FeatureSpec | None:
    if described is None:
        return None
    plain = _mapping(described, f"{MLMODEL}: metadata.fivefold.feature_spec")
    if not isinstance(plain.get("name"), str):
        raise PackageInvalid(f"{MLMODEL}: metadata.fivefold.feature_spec lacks its name")
    sides = Signature.from_plain({"inputs": plain.get("keys") or (), "outputs": plain.get("features") or ()})
    return FeatureSpec(plain["name"], sides.inputs, sides.outputs)


def _write_example(path: Path, columns: Columns) -> None:
    rows = [[_to_json(value) for value in row] for row in zip(*columns.values(), strict=True)]
    path.write_text(json.dumps({"columns": list(columns), "data": rows}, allow_nan=False), encoding="utf-8")


def _read_example(folder: Path, described: Mapping[str, Any], signature: Signature | None) -> Columns | None:
    """Returns the example's columns where it is a table that fits the signature, else None: it is a help, not a
    promise.
    """
    info = described.get("saved_input_example_info")
    if signature is None or not isinstance(info, dict) or info.get("artifact_path") != EXAMPLE:
        return None
    if not (folder / EXAMPLE).is_file():
        return None
    stored = _json(folder, EXAMPLE)
    names, rows = (stored.get("columns"), stored.get("data")) if isinstance(stored, dict) else (None, stored)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    names = names if isinstance(names, list) else [column.name for column in signature.inputs]
    if any(len(row) != len(names) for row in rows):
        return None
    table = {str(name): [row[place] for row in rows] for place, name in enumerate(names)}
    if not all(column.name in table for column in signature.inputs):
        return None
    return {c.name: [_from_json(value, c.type) for value in table[c.name]] for c in signature.inputs}


def _to_json(value: Any) -> Any:
    value = _value(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _from_json(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    try:
        if kind == "timestamp":
            moment = datetime.fromisoformat(value) if isinstance(value, str) else _EPOCH + timedelta(milliseconds=value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if kind == "date":
            return date.fromisoformat(value[:10])
    except (ValueError, TypeError, OverflowError):
        raise PackageInvalid(f"{EXAMPLE} holds {str(value)[:40]!r} where a {kind} is expected") from None
    return value


def _value(value: Any) -> Any:
    """Returns a plain Python value; None for every kind of missing."""
    if value is None:
        return None
    try:
        if value != value:
            return None
    except (TypeError, ValueError):  # pandas.NA compares to nothing
        return None
    return value.item() if hasattr(value, "item") and not isinstance(value, datetime) else value


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _text(folder: Path, name: str) -> str:
    try:
        with open(folder / name, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError:
        raise PackageInvalid(f"{name} is missing: the files are no model package") from None
    except (OSError, UnicodeDecodeError):
        raise PackageInvalid(f"{name} is not a UTF-8 text file") from None
    if len(raw) > _MOST_BYTES:
        raise PackageInvalid(f"{name} is larger than {_MOST_BYTES} bytes")
    return text


def _json(folder: Path, name: str) -> Any:
    try:
        return json.loads(_text(folder, name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, PackageInvalid):
            raise
        raise PackageInvalid(f"{name} is not JSON") from None


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PackageInvalid(f"{what} must be a mapping")
    return value
