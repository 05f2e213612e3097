"""Signs deliveries: HMAC-SHA256 over delivery, time stamp and body, so that a receiver can tell ours from others'. Pure."""

from __future__ import annotations

import hashlib
import hmac

DELIVERY, TIMESTAMP, SIGNATURE = "Fivefold-Delivery", "Fivefold-Timestamp", "Fivefold-Signature"


def headers(secret: str, delivery: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Returns the headers of one attempt.

    secret     "": there is no signature then
    timestamp  seconds since 1970
    """
    made = {
        "Content-Type": "application/json",
        "User-Agent": "fivefold-registry",
        DELIVERY: delivery,
        TIMESTAMP: str(timestamp),
    }
    if secret:
        made[SIGNATURE] = f"v1={signature(secret, delivery, timestamp, body)}"
    return made


def signature(secret: str, delivery: str, timestamp: int, body: bytes) -> str:
    """Returns 64 hexadecimal digits."""
    signed = b"%s.%d.%s" % (delivery.encode(), timestamp, body)
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
