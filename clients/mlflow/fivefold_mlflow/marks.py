"""MLflow's own tags and the fields of a run that mean the same. Pure.

The tags stay tags as well, so that MLflow's filters find them; the fields show them to Fivefold's other clients. A run
that another client made has no such tags, and gets them from its fields when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow.utils import mlflow_tags as tag

from fivefold.tracking.v1 import tracking_pb2 as pb

_RUN = re.compile(r"[0-9a-f]{32}")
_TYPES = {
    "NOTEBOOK": pb.SOURCE_TYPE_NOTEBOOK,
    "JOB": pb.SOURCE_TYPE_JOB,
    "PROJECT": pb.SOURCE_TYPE_PROJECT,
    "LOCAL": pb.SOURCE_TYPE_LOCAL,
}
_TYPE_NAMES = {number: name for name, number in _TYPES.items()}
#: Field of Source, tag, and the bytes that the field takes.
_SOURCE = (
    ("name", tag.MLFLOW_SOURCE_NAME, 2048),
    ("entry_point", tag.MLFLOW_PROJECT_ENTRY_POINT, 250),
    ("git_commit", tag.MLFLOW_GIT_COMMIT, 64),
    ("git_repo", tag.MLFLOW_GIT_REPO_URL, 2048),
)


def fields_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """Returns the fields of a new run that its tags speak of: `source` and `parent_run`, where there are any."""
    found: dict[str, Any] = {}
    source = {field: tags[key] for field, key, most in _SOURCE if 0 < len(tags.get(key, "").encode()) <= most}
    kind = _TYPES.get(tags.get(tag.MLFLOW_SOURCE_TYPE, ""))
    if source or kind:
        found["source"] = pb.Source(type=kind or pb.SOURCE_TYPE_UNSPECIFIED, **source)
    if is_run(parent := tags.get(tag.MLFLOW_PARENT_RUN_ID, "")):
        found["parent_run"] = f"runs/{parent}"
    return found


def tags_of(run: pb.Run) -> dict[str, str]:
    """Returns all tags of a run that was read."""
    tags = dict(run.tags)
    ours = tag.MLFLOW_RUN_NAME not in tags  # which this plugin sets on every run that it makes
    tags[tag.MLFLOW_RUN_NAME] = run.display_name
    if ours:
        for field, key, _ in _SOURCE:
            if text := getattr(run.source, field):
                tags.setdefault(key, text)
        if run.source.type in _TYPE_NAMES:
            tags.setdefault(tag.MLFLOW_SOURCE_TYPE, _TYPE_NAMES[run.source.type])
        if run.user:
            tags.setdefault(tag.MLFLOW_USER, run.user)
        if run.parent_run:
            tags.setdefault(tag.MLFLOW_PARENT_RUN_ID, run.parent_run.removeprefix("runs/"))
    return tags


def is_run(text: str) -> bool:
    """Says whether a text is a run's id as Fivefold gives them."""
    return isinstance(text, str) and _RUN.fullmatch(text) is not None
