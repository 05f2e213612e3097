"""Names of jobs and trials, and the names of other services' resources that a job refers to."""

from __future__ import annotations

import re
from typing import NamedTuple

from fivefold_runtime.names import NameInvalid, Pattern

JOB = Pattern("jobs/{job}")
TRIAL = Pattern("jobs/{job}/trials/{trial}")
TRAINING_SET = Pattern("trainingSets/{training_set}")
MODEL = Pattern("models/{model}")

_HEX = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class TrialName(NamedTuple):
    """A trial: the job's id and the trial's number, from 1."""

    job: str
    number: int

    def __str__(self) -> str:
        return TRIAL.format(job=self.job, trial=self.number)


def job_id(name: str, field: str = "name") -> str:
    """Returns the id in `jobs/{job}`. Raises NameInvalid unless it has 32 hexadecimal digits."""
    found = JOB.parse(name, field)["job"]
    if not _HEX.fullmatch(found):
        raise NameInvalid.at(field, f"is {name!r}; a job has 32 hexadecimal digits", value=name)
    return found


def job_name(job: str) -> str:
    """Returns `jobs/{job}`."""
    return JOB.format(job=job)


def trial_of(name: str, field: str = "trial") -> TrialName:
    """Parses `jobs/{job}/trials/{trial}`. Raises NameInvalid."""
    ids = TRIAL.parse(name, field)
    if not _HEX.fullmatch(ids["job"]) or not _NUMBER.fullmatch(ids["trial"]):
        raise NameInvalid.at(field, f"is {name!r}; a trial is named by its job and a number from 1", value=name)
    return TrialName(ids["job"], int(ids["trial"]))
