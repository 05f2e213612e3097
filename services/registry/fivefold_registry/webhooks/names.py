"""Resource names of webhooks and their deliveries."""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_runtime.names import NameInvalid, Pattern

WEBHOOKS = "webhooks"  # the collection, which carries the grants of registry-wide webhooks

_WEBHOOK = Pattern("webhooks/{webhook}")
_DELIVERY = Pattern("webhooks/{webhook}/deliveries/{delivery}")
_MAX_DIGITS = 18  # so that a position fits 64 bits


@dataclass(frozen=True, slots=True)
class WebhookName:
    """`webhooks/{webhook}`."""

    webhook: str

    @classmethod
    def parse(cls, name: str, field: str = "name") -> WebhookName:
        """Raises NameInvalid that names `field`."""
        return cls(_WEBHOOK.parse(name, field)["webhook"])

    def __str__(self) -> str:
        return f"webhooks/{self.webhook}"


@dataclass(frozen=True, slots=True)
class DeliveryName:
    """`webhooks/{webhook}/deliveries/{position}`."""

    webhook: str
    position: int

    @classmethod
    def parse(cls, name: str, field: str = "name") -> DeliveryName:
        """Raises NameInvalid that names `field`."""
        ids = _DELIVERY.parse(name, field)
        number = ids["delivery"]
        if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS and number[0] != "0"):
            raise NameInvalid.at(field, "must end with a number from 1, without leading zeros")
        return cls(ids["webhook"], int(number))

    def __str__(self) -> str:
        return f"webhooks/{self.webhook}/deliveries/{self.position}"


def webhook_of(name: str) -> WebhookName:
    """Returns the webhook that a name belongs to: its own, or that of a delivery."""
    return WebhookName.parse(name) if name.count("/") <= 1 else WebhookName(DeliveryName.parse(name).webhook)
