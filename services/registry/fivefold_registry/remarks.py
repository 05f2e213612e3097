"""Who may do what with a comment. Pure."""

from __future__ import annotations

from fivefold_registry.lifecycle import Actor
from fivefold_runtime.errors import PermissionDenied
from fivefold_runtime.levels import Level


def check_editing(author: str, user: str) -> None:
    """Raises PermissionDenied for all but the author: nobody puts words into another's mouth."""
    if user != author:
        raise PermissionDenied("only its author may change a comment", action="edit")


def check_deleting(author: str, actor: Actor) -> None:
    """Raises PermissionDenied for all but the author and those who manage the model."""
    if actor.subject != author and actor.level < Level.CAN_MANAGE:
        raise PermissionDenied(
            f"only its author and who has CAN_MANAGE may delete a comment; you have {actor.level.name}",
            action="delete",
            needed=Level.CAN_MANAGE.name,
            has=actor.level.name,
        )
