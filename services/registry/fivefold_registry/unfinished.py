"""RPCs of the contract that have no implementation yet. The servicer's own methods win; this module ends with the last."""

from __future__ import annotations

from typing import Any


def _not_yet(self: object, request: Any, context: Any) -> Any:
    raise NotImplementedError


class Unfinished:
    """Answers UNIMPLEMENTED."""

    RenameModel = DeleteModelVersion = SetModelAlias = DeleteModelAlias = CopyModelVersion = LookupStage = _not_yet
    UpdateComment = DeleteComment = ListComments = VerifyActivities = _not_yet
