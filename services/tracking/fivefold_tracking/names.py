"""Resource names of tracking, and who carries the grants of each: an experiment those of its runs and logged models."""

from __future__ import annotations

import re

from fivefold_runtime.names import NameInvalid, Pattern

_EXPERIMENT = Pattern("experiments/{experiment}")
_RUN = Pattern("runs/{run}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")  # fits 64 bits
_ID = re.compile(r"[0-9a-f]{32}")
_LOGGED_MODEL = Pattern("logged_models/{logged_model}")
_MODEL = "m-"  # what the id of a logged model begins with, and that of a run never
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


def experiment_name(number: int) -> str:
    return f"experiments/{number}"


def run_name(run: str) -> str:
    return f"runs/{run}"


def experiment_number(name: str, field: str = "name") -> int:
    """Returns 3 of "experiments/3". Raises NameInvalid that names `field`."""
    number = _EXPERIMENT.parse(name, field)["experiment"]
    if not _NUMBER.fullmatch(number):
        raise NameInvalid.at(field, f"is {name!r}; an experiment is a number from 1, as in experiments/3", value=name)
    return int(number)


def run_id(name: str, field: str = "name") -> str:
    """Returns the 32 hexadecimal digits of "runs/{run}". Raises NameInvalid that names `field`."""
    run = _RUN.parse(name, field)["run"]
    if not _ID.fullmatch(run):
        raise NameInvalid.at(field, f"is {name!r}; a run is 32 lower-case hexadecimal digits", value=name)
    return run


def logged_model_name(model: str) -> str:
    return f"logged_models/{model}"


def logged_model_id(name: str, field: str = "name") -> str:
    """Returns the id, `m-` and 32 hexadecimal digits, of "logged_models/{id}". Raises NameInvalid that names `field`."""
    model = _LOGGED_MODEL.parse(name, field)["logged_model"]
    if not _MODEL_ID.fullmatch(model):
        raise NameInvalid.at(
            field, f"is {name!r}; a logged model is m- and 32 lower-case hexadecimal digits", value=name
        )
    return model


def new_logged_model(id: str) -> str:
    """Returns the id of a logged model made of 32 hexadecimal digits."""
    return f"{_MODEL}{id}"


def parent_id(name: str, field: str = "parent") -> str:
    """Returns the id of the run or logged model that has artifacts. Raises NameInvalid that names `field`."""
    return logged_model_id(name, field) if is_logged_model(name) else run_id(name, field)


def parent_name(id: str) -> str:
    """Returns the name of the run or logged model that has an id."""
    return logged_model_name(id) if is_model_id(id) else run_name(id)


def is_model_id(id: str) -> bool:
    """Says whether an id of a parent of artifacts is a logged model's, not a run's."""
    return id.startswith(_MODEL)


def is_logged_model(name: str) -> bool:
    """Says whether a name is meant to be a logged model's, well formed or not."""
    return name.startswith("logged_models/")


def is_run(name: str) -> bool:
    """Says whether a name is meant to be a run's, well formed or not."""
    return name.startswith("runs/")
