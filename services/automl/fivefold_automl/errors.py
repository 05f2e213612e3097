"""What this service refuses, and why a job can fail. Reasons are those of fivefold/errors/v1."""

from __future__ import annotations

from fivefold_runtime.errors import FailedPrecondition, InvalidArgument, Unavailable


class TargetInvalid(InvalidArgument):
    """The target is missing, constant, or does not fit the problem type."""

    reason = "TARGET_INVALID"


class DataInvalid(InvalidArgument):
    """The data has too few rows or no usable column."""

    reason = "DATA_INVALID"


class JobEnded(FailedPrecondition):
    """The job has ended, so there is nothing to stop."""

    reason = "JOB_ENDED"


class NoTrial(FailedPrecondition):
    """The job has no trial with a model."""

    reason = "NO_TRIAL"


class RayUnavailable(Unavailable):
    """The Ray cluster did not come, or loses every worker."""

    reason = "RAY_UNAVAILABLE"
