"""Resource names of tracking, and who carries the grants of each: an experiment those of its runs."""

from __future__ import annotations

import re

from fivefold_runtime.names import NameInvalid, Pattern

_EXPERIMENT = Pattern("experiments/{experiment}")
_RUN = Pattern("runs/{run}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")  # fits 64 bits
_ID = re.compile(r"[0-9a-f]{32}")


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


def is_run(name: str) -> bool:
    """Says whether a name is meant to be a run's, well formed or not."""
    return name.startswith("runs/")
