"""Registered models, their versions and stages, transition requests, and what happened when.

A model is named "churn" or "models/churn", a version "churn/3", "churn@champion", "churn/Production" or
"models/churn/versions/3". Stages are "None", "Staging", "Production" and "Archived", or the model's own names for
them, in any case.
"""

from __future__ import annotations

from fivefold.sdk.activities import Activities
from fivefold.sdk.registeredmodels import RegisteredModels
from fivefold.sdk.registryrecords import (
    Activity,
    ActivityHead,
    Approval,
    ColumnSpec,
    Comment,
    Event,
    Lineage,
    Model,
    ModelFile,
    ModelVersion,
    Signature,
    StagePolicy,
    StageTenure,
    Transition,
    TransitionRequest,
    Verification,
)
from fivefold.sdk.stages import Stages
from fivefold.sdk.versions import Versions

__all__ = [
    "Activity",
    "ActivityHead",
    "Approval",
    "ColumnSpec",
    "Comment",
    "Event",
    "Lineage",
    "Model",
    "ModelFile",
    "ModelVersion",
    "Registry",
    "Signature",
    "StagePolicy",
    "StageTenure",
    "Transition",
    "TransitionRequest",
    "Verification",
]


class Registry(RegisteredModels, Versions, Stages, Activities):
    """The registry service: the calls of its parts in one place."""
