"""Logged models: statuses, display names, and what a deleted one refuses.

A logged model counts as deleted when it, or its experiment, is: as a run does.
"""

from __future__ import annotations

import re
from enum import StrEnum

from fivefold_runtime.errors import FailedPrecondition
from fivefold_runtime.filters.schema import Group, Kind, Schema
from fivefold_runtime.names import NameInvalid

_FORBIDDEN = re.compile(r"""[/:.%"']""")  # MLflow's clients put the name between such characters


# What SearchLoggedModels may compare and order by.
ATTRIBUTES, METRICS, PARAMS, TAGS = "attributes", "metrics", "params", "tags"
SEARCHED = Schema(
    Group(
        (ATTRIBUTES, "attribute", "attr"),
        fields={
            "name": Kind.TEXT,
            "model_id": Kind.TEXT,
            "model_type": Kind.TEXT,
            "status": Kind.TEXT,
            "source_run_id": Kind.TEXT,
            "creation_timestamp": Kind.TIME,
            "last_updated_timestamp": Kind.TIME,
        },
        others={"creation_time": "creation_timestamp", "last_updated_time": "last_updated_timestamp"},
    ),
    Group((METRICS, "metric"), Kind.NUMBER),
    Group((PARAMS, "param", "parameters", "parameter"), Kind.EITHER),
    Group((TAGS, "tag"), Kind.TEXT),
    bare=ATTRIBUTES,
    unordered=(PARAMS, TAGS),
)


class LoggedModelStatus(StrEnum):
    """Where a logged model stands. Any may follow any: a model that FAILED may be logged again."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class LoggedModelDeleted(FailedPrecondition):
    """The logged model, or its experiment, is deleted."""

    reason = "LOGGED_MODEL_DELETED"


def check_display_name(name: str, field: str) -> str:
    """Returns the display name of a logged model. Raises NameInvalid that names `field`."""
    found = _FORBIDDEN.search(name)
    if found is not None:
        raise NameInvalid.at(field, f"has {found.group()!r}; it must have none of / : . % \" '", value=name)
    return name


def check_active(name: str, deleted: int | None) -> None:
    """Raises LoggedModelDeleted."""
    if deleted is not None:
        raise LoggedModelDeleted(f"{name} is deleted", name=name)
