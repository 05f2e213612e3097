"""What the stores of what leaves the registry promise. One contract test proves every adapter.

Every method is one transaction, or joins the one that is running. What raises changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.outgoing import (
    Activity,
    DeliveryRecord,
    DeliveryState,
    Draft,
    Listener,
    Result,
    SubscriptionRecord,
    WebhookChange,
    WebhookRecord,
)
from fivefold_registry.store.records import EventRecord
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.principal import Principal


class WebhookStore(Protocol):
    """Webhooks. All raise NotFound for one that is not there."""

    def create(self, webhook: str, model: ModelName | None, first: WebhookChange, owner: Principal) -> WebhookRecord:
        """Makes one with a new id, for which its secret is sealed.

        Raises NotFound for a model that is not there, TooManyItems for one that has `MOST` of them.
        """
        ...

    def get(self, webhook: str) -> WebhookRecord: ...

    def list(self, model: ModelName | None, after: str, limit: int, authorizer: Authorizer) -> list[WebhookRecord]:
        """Returns webhooks that the caller manages, by id, from the first after `after`; with `model` only its own."""
        ...

    def active(self, model_id: str) -> Sequence[WebhookRecord]:
        """Returns the model's own and the registry-wide ones that are ACTIVE."""
        ...

    def update(self, webhook: str, change: WebhookChange, etag: str, owner: Principal) -> WebhookRecord:
        """Raises Aborted for a stale etag."""
        ...

    def delete(self, webhook: str, etag: str) -> None:
        """Deletes it with its deliveries. Raises Aborted."""
        ...

    def owner_of(self, name: str) -> str:
        """Returns what carries the grants of a webhook's or delivery's name: its model, or `webhooks`."""
        ...


class DeliveryStore(Protocol):
    """Deliveries: made of events in their order, once per sink and event, and of one lane settled in their order."""

    def take(self, owner: str, seen: tuple[str, int] | None) -> bool:
        """Makes this server the one that delivers, unless another does.

        seen  (owner, beats) that were seen long enough ago for that owner to count as dead
        """
        ...

    def beat(self, owner: str) -> bool:
        """Gives a sign of life; says whether the owner still is the one that delivers."""
        ...

    def leave(self, owner: str) -> None:
        """Lets another server deliver, at once."""
        ...

    def holder(self) -> tuple[str, int]:
        """Returns (owner, beats)."""
        ...

    def position(self) -> int:
        """Returns the position up to which events have become deliveries."""
        ...

    def add(self, owner: str, event: EventRecord, drafts: Iterable[Draft]) -> int:
        """Writes the deliveries of an event, and that all events up to it are done; returns the number of new ones.

        Raises LeaseLost.
        """
        ...

    def reach(self, owner: str, position: int) -> None:
        """Writes that all events up to a position are done. Raises LeaseLost."""
        ...

    def due(self, limit: int, without: Collection[str]) -> list[DeliveryRecord]:
        """Returns deliveries whose time has come, the longest overdue first.

        without  sinks to leave out; "mail" stands for all mail
        """
        ...

    def next_due(self) -> datetime | None:
        """Returns when the time of the next delivery comes that is not due yet."""
        ...

    def settle(self, owner: str, delivery: DeliveryRecord, result: Result) -> None:
        """Writes what became of a delivery; when it is over, the next of its lane is due. Raises LeaseLost."""
        ...

    def list(
        self, sink: str, states: Collection[DeliveryState], before: int | None, limit: int
    ) -> list[DeliveryRecord]:
        """Returns the deliveries of a sink in these states (none: all), newest first, from the first below `before`."""
        ...

    def again(self, sink: str, position: int) -> DeliveryRecord:
        """Makes a delivery begin again. Raises NotFound."""
        ...

    def sent_today(self, sink: str, event: str, since: datetime) -> int:
        """Returns how many deliveries of a kind of event the sink has had since then."""
        ...

    def trim(self, log: timedelta, events: timedelta) -> int:
        """Deletes deliveries that have been over for longer than `log`, and events that became deliveries and are older
        than `events`, but never the newest; a bounded number at a time. Returns how many it deleted."""
        ...

    def trimmed(self) -> int:
        """Returns the position up to which events may be gone."""
        ...


class SubscriptionStore(Protocol):
    """Who hears of what. All raise NotFound for a model or version that is not there."""

    def get(self, name: ModelName, subject: str) -> SubscriptionRecord: ...

    def list(self, subject: str, after: str, limit: int, authorizer: Authorizer) -> list[SubscriptionRecord]:
        """Returns what the caller subscribed to and may read, by the models' names, from the first after `after`."""
        ...

    def update(self, name: ModelName, subject: str, activity: Activity | None, email: str | None) -> SubscriptionRecord:
        """Changes what is not None."""
        ...

    def follow(self, name: VersionName, subject: str) -> None: ...

    def unfollow(self, name: VersionName, subject: str) -> None: ...

    def acted(self, event: EventRecord) -> None:
        """Makes who caused an event follow its version, if it is still there. Costs a write only when they do not yet."""
        ...

    def listeners(self, event: EventRecord) -> Sequence[Listener]:
        """Returns who wants to hear of an event and has an address, without who caused it, by subject."""
        ...

    def known(self, subject: str) -> Principal:
        """Returns somebody with the groups of their last token."""
        ...

    def met(self, principal: Principal) -> None:
        """Keeps what a caller's token says of them."""
        ...


class DetailStore(Protocol):
    """What an event does not carry itself."""

    def comment(self, event: EventRecord) -> str:
        """Returns what the person wrote: the text of a comment or of a request; "" where there is none any more."""
        ...

    def status(self, event: EventRecord) -> str:
        """Returns whether a version is READY or FAILED, of the event of its making; else ""."""
        ...

    def model_now(self, model_id: str) -> str | None:
        """Returns a model's present id in names, None when it is gone."""
        ...
