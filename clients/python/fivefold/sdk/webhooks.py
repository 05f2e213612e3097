"""For receivers of the registry's webhooks: tells a delivery of ours from anything else. Needs nothing but Python.

    verifier = Verifier(secret)
    delivery = verifier.verify(request.headers, request.body)  # the bytes as they came, before any parsing
    if delivery.id not in done: ...

A delivery comes at least once: one that was answered too late, or not with 2xx, comes again with the same `id` and a new
time stamp. So remember the ids that have been dealt with.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DELIVERY, TIMESTAMP, SIGNATURE = "Fivefold-Delivery", "Fivefold-Timestamp", "Fivefold-Signature"

_LARGEST_TIMESTAMP = 20  # digits
_SIGNATURES = 8  # that one header may have


class WebhookRefused(ValueError):
    """The request is no delivery of the registry, or not a fresh one. Answer it with 400."""


class SignatureInvalid(WebhookRefused):
    """The signature is missing or not of this delivery, time stamp and body under any of the secrets."""


class TooOld(WebhookRefused):
    """The time stamp is further from now than is tolerated."""


class Replayed(WebhookRefused):
    """The very same request came before."""


@dataclass(frozen=True)
class Delivery:
    """A verified delivery.

    id      the same however often the delivery is sent
    event   such as "MODEL_VERSION_TRANSITIONED_STAGE"
    fields  the whole body; protos/fivefold/registry/v1/webhooks.proto describes it
    """

    id: str
    event: str
    fields: Mapping[str, Any]

    @property
    def is_test(self) -> bool:
        """Says whether it tells of nothing: TestWebhook sent it."""
        return bool(self.fields.get("test"))


class Verifier:
    """Verifies the deliveries of one webhook. Safe for use by many threads; processes do not know what others saw."""

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        tolerance_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """secret             the webhook's; several while one replaces the other
        tolerance_seconds  how far a time stamp may be from now, either way
        """
        self._secrets = [one.encode() for one in ([secret] if isinstance(secret, str) else secret)]
        if not self._secrets or not all(self._secrets):
            raise ValueError("a webhook without a secret cannot be verified")
        self._tolerance = tolerance_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], float] = {}  # delivery and time stamp -> until when they are remembered

    def verify(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Returns the delivery that a request is.

        headers  names in any case
        body     the bytes as they came

        Raises SignatureInvalid, TooOld, Replayed. Remembers the request, so that it is accepted once.
        """
        given = {name.lower(): value for name, value in headers.items()}
        delivery, timestamp = given.get(DELIVERY.lower(), ""), given.get(TIMESTAMP.lower(), "")
        if not self._is_signed(delivery, timestamp, given.get(SIGNATURE.lower(), ""), body):
            raise SignatureInvalid("the signature is not of this request")
        now = self._clock()
        if abs(now - int(timestamp)) > self._tolerance:
            raise TooOld(f"the time stamp is {now - int(timestamp):.0f} seconds from now")
        self._remember(delivery, timestamp, now)
        fields = json.loads(body)
        return Delivery(delivery, fields["event"], fields)

    def _is_signed(self, delivery: str, timestamp: str, signatures: str, body: bytes) -> bool:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LARGEST_TIMESTAMP):
            return False
        signed = b".".join((delivery.encode("utf-8", "replace"), timestamp.encode(), body))
        found = False
        for given in signatures.split(",")[:_SIGNATURES]:
            version, _, digits = given.strip().partition("=")
            for secret in self._secrets:  # All of them, whichever fits: the time tells nothing.
                expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
                same = hmac.compare_digest(expected.encode(), digits.encode("utf-8", "replace"))
                found |= version == "v1" and same
        return found

    def _remember(self, delivery: str, timestamp: str, now: float) -> None:
        with self._lock:
            for old in [key for key, until in self._seen.items() if until < now]:
                del self._seen[old]
            if (delivery, timestamp) in self._seen:
                raise Replayed(f"the delivery {delivery} of this time stamp came before")
            self._seen[delivery, timestamp] = int(timestamp) + self._tolerance
