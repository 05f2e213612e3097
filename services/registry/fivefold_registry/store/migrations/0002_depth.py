"""Aliases, own names of stages, versions whose files are elsewhere, deleted versions, and a chain of activities."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
