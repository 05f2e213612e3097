"""What tests of the stores do in few words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag
from mlflow.exceptions import MlflowException

NOBODY = "f" * 32  # a run that is not there


def start(store: Any, experiment: str, run_name: str | None = None, **tags: str) -> str:
    """Starts a run; returns its id. `__` in a tag's key stands for a dot."""
    pairs = [RunTag(key.replace("__", "."), value) for key, value in tags.items()]
    made: str = store.create_run(experiment, "ada", now(), pairs, run_name).info.run_id
    return made


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def refused(call: Callable[[], Any], message: str, code: str) -> None:
    """Asserts that a call raises MLflow's exception with a message that matches and an error code."""
    with pytest.raises(MlflowException, match=message) as raised:
        call()
    assert raised.value.error_code == code


def dataset(name: str = "train", digest: str = "d1", **tags: str) -> DatasetInput:
    what = Dataset(name, digest, "local", '{"uri": "a.csv"}', schema='{"x": "long"}', profile='{"rows": 3}')
    return DatasetInput(what, [InputTag(key.replace("__", "."), value) for key, value in tags.items()])
