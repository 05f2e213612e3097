"""What leaves the registry, as its stores hand it out: frozen, so that nothing that left them can change under them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fivefold_registry.webhooks.events import WebhookEvent
from fivefold_runtime.principal import Principal

MAIL = "mail"
MOST = 100  # webhooks of one model


class WebhookStatus(StrEnum):
    """Whether a webhook is sent anything."""

    ACTIVE = "active"
    DISABLED = "disabled"
    TEST_MODE = "test_mode"


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


class Activity(StrEnum):
    """What somebody wants to hear of a model."""

    ALL = "all_activity"
    FOLLOWED = "followed_versions"
    MUTE = "mute"


class LeaseLost(Exception):
    """Another server delivers now: what this one found out about a delivery does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRecord:
    """Where events are sent. `secret` is sealed, and never shown."""

    id: str
    model_id: str | None
    model: str  # "" for the whole registry
    events: frozenset[WebhookEvent]
    status: WebhookStatus
    url: str
    secret: str
    description: str
    owner: Principal
    begin: int
    created: datetime
    updated: datetime
    revision: int

    @property
    def name(self) -> str:
        return f"webhooks/{self.id}"

    @property
    def etag(self) -> str:
        return f"{self.id[-12:]}-{self.revision}"

    def __repr__(self) -> str:
        return f"WebhookRecord({self.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """New values of a webhook; None leaves what is there."""

    events: frozenset[WebhookEvent] | None = None
    status: WebhookStatus | None = None
    url: str | None = None
    secret: str | None = None
    description: str | None = None

    def __repr__(self) -> str:
        return "WebhookChange(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A delivery that is to be made of an event. `body` is what the sink needs to send it."""

    sink: str
    event: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One event on its way to one sink."""

    sink: str
    position: int
    model_id: str
    model: str
    event: str
    body: str
    state: DeliveryState
    attempts: int
    due: datetime | None
    happened: datetime
    begun: datetime
    tried: datetime | None
    status_code: int
    reason: str

    @property
    def lane(self) -> tuple[str, str]:
        """Whose order matters."""
        return self.sink, self.model_id

    @property
    def id(self) -> str:
        """The same however often it is sent."""
        return f"{self.sink.partition('/')[2]}-{self.position}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an attempt, or of the wish to make one.

    retry_at  when to try again, of a delivery that stays PENDING
    tried     whether anything was sent
    """

    state: DeliveryState
    status_code: int = 0
    reason: str = ""
    retry_at: datetime | None = None
    tried: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecord:
    """What somebody wants to hear of a model, and where. `updated` is None when they never said."""

    model: str
    activity: Activity
    email: str
    followed: tuple[int, ...]
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who wants to hear of an event, and where."""

    principal: Principal
    email: str
