"""When a delivery that failed is tried again, and when it is given up. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from fivefold_registry.store.outgoing import DeliveryRecord, DeliveryState, Result

LONGEST_SECONDS = 900.0  # between two attempts
GIVE_UP = timedelta(days=1)


def wait(attempts: int, first_seconds: float, chance: float) -> timedelta:
    """Returns how long to wait after so many attempts: doubling from the first wait on, up to a quarter of an hour.

    chance  from 0 to 1; spreads those that failed together over a quarter more of their time
    """
    doubled = first_seconds * 2.0 ** min(attempts - 1, 30)
    return timedelta(seconds=min(doubled, LONGEST_SECONDS) * (1 + chance / 4))


def is_over(delivery: DeliveryRecord, now: datetime) -> bool:
    """Says whether a delivery has been tried for as long as it may."""
    return now - delivery.begun >= GIVE_UP


def later(
    delivery: DeliveryRecord,
    now: datetime,
    first_seconds: float,
    chance: float,
    *,
    status_code: int,
    reason: str,
    final: bool = False,
) -> Result:
    """Returns what becomes of a delivery that was not taken: it is tried again, or given up.

    first_seconds, chance  as of `wait`
    final                  there is no hope in another attempt
    """
    if final or is_over(delivery, now):
        return Result(state=DeliveryState.FAILED, status_code=status_code, reason=reason)
    retry_at = now + wait(delivery.attempts + 1, first_seconds, chance)
    return Result(state=DeliveryState.PENDING, status_code=status_code, reason=reason, retry_at=retry_at)
