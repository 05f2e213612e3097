"""What searches need: indexes along which filters and orders are read."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
