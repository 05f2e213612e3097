"""Registered models, their versions and stages, transition requests, and what happened when.

A model is named "churn" or "models/churn", a version "churn/3", "churn@champion", "churn/Production" or
"models/churn/versions/3". Stages are "None", "Staging", "Production" and "Archived", or the model's own names for
them, in any case.
"""

from __future__ import annotations

from fivefold.sdk.registry.activities import Activities
from fivefold.sdk.registry.models import RegisteredModels
from fivefold.sdk.registry.records import (
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
from fivefold.sdk.registry.stages import Stages
from fivefold.sdk.registry.versions import Versions

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
