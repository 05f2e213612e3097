"""When a delivery that failed is tried again. Pure."""

from __future__ import annotations

from datetime import timedelta

LONGEST_SECONDS = 900.0  # between two attempts


def wait(attempts: int, first_seconds: float, chance: float) -> timedelta:
    """Returns how long to wait after so many attempts: doubling from the first wait on, up to a quarter of an hour.

    chance  from 0 to 1; spreads those that failed together over a quarter more of their time
    """
    doubled = first_seconds * 2.0 ** min(attempts - 1, 30)
    return timedelta(seconds=min(doubled, LONGEST_SECONDS) * (1 + chance / 4))
