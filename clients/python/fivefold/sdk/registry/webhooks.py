"""Webhooks: which there are, what they are sent, and what became of it. `fivefold.sdk.webhooks` is for receivers.

A webhook is named by its id or "webhooks/{id}". Events and states are named as in the contract, in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fivefold.registry.v1 import webhooks_pb2 as pb
from fivefold.registry.v1.webhooks_pb2_grpc import WebhookServiceStub
from fivefold.sdk import names
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.transport import Transport, request_id


@dataclass(frozen=True, repr=False)
class Webhook(Record):
    """Where events are sent."""

    name: str
    model: str
    events: tuple[str, ...]
    status: str
    url: str
    has_secret: bool
    description: str
    owner: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, repr=False)
class WebhookDelivery(Record):
    """One event on its way to one webhook."""

    name: str
    event: str
    model: str
    state: str
    attempts: int
    event_time: datetime | None
    attempt_time: datetime | None
    next_attempt_time: datetime | None
    status_code: int
    reason: str


@dataclass(frozen=True, repr=False)
class WebhookTest(Record):
    """What the receiver answered to a test; `reason` is "" when it would have taken a delivery."""

    status_code: int
    body: str
    reason: str


class Webhooks:
    """The webhook service of the registry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(WebhookServiceStub)

    def create(
        self,
        url: str,
        events: Sequence[str],
        *,
        model: str = "",
        secret: str = "",
        status: str = "ACTIVE",
        description: str = "",
    ) -> Webhook:
        """Makes a webhook that is sent events from now on.

        url     https, at a public address unless the server allows others
        events  such as "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION"
        model   only events of this one; "": of the whole registry, which needs an administrator
        secret  signs deliveries, 16 to 256 bytes; "": no signature
        status  "ACTIVE", "DISABLED" or "TEST_MODE"

        Raises InvalidArgument (ADDRESS_REFUSED), PermissionDenied, NotFound.
        """
        webhook = pb.Webhook(
            url=url,
            events=_events(events),
            model=names.full("models", model) if model else "",
            secret=secret,
            status=_status(status),
            description=description,
        )
        request = pb.CreateWebhookRequest(webhook=webhook, request_id=request_id())
        return Webhook.of(self._transport.call(self._stub.CreateWebhook, request))

    def get(self, name: str) -> Webhook:
        """Returns one webhook. Raises NotFound."""
        return Webhook.of(self._transport.call(self._stub.GetWebhook, pb.GetWebhookRequest(name=_full(name))))

    def list(self, model: str = "", *, limit: int | None = None) -> Listing[Webhook]:
        """Lists the webhooks that the caller manages, those of one model where it is named; oldest first."""
        request = pb.ListWebhooksRequest(model=names.full("models", model) if model else "")
        return listing(Webhook, self._transport.pages(self._stub.ListWebhooks, request, "webhooks", limit))

    def update(
        self,
        name: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        secret: str | None = None,
        status: str | None = None,
        description: str | None = None,
        etag: str = "",
    ) -> Webhook:
        """Changes what is not None; the caller owns the webhook from then on. secret "" takes the secret away."""
        webhook = pb.Webhook(
            name=_full(name),
            url=url or "",
            events=_events(events or ()),
            secret=secret or "",
            status=_status(status or ""),
            description=description or "",
            etag=etag,
        )
        given = {"url": url, "events": events, "secret": secret, "status": status, "description": description}
        request = pb.UpdateWebhookRequest(webhook=webhook, request_id=request_id())
        request.update_mask.paths.extend(field for field, value in given.items() if value is not None)
        return Webhook.of(self._transport.call(self._stub.UpdateWebhook, request))

    def delete(self, name: str, *, etag: str = "") -> None:
        """Deletes a webhook with its deliveries, those that wait too."""
        request = pb.DeleteWebhookRequest(name=_full(name), etag=etag, request_id=request_id())
        self._transport.call(self._stub.DeleteWebhook, request)

    def test(self, name: str, event: str = "") -> WebhookTest:
        """Sends a made-up event now and returns what the receiver answered. event "": the first of the webhook's."""
        (number,) = _events([event])
        request = pb.TestWebhookRequest(name=_full(name), event=number, request_id=request_id())
        return WebhookTest.of(self._transport.call(self._stub.TestWebhook, request))

    def deliveries(
        self, name: str, *, states: Sequence[str] = (), limit: int | None = None
    ) -> Listing[WebhookDelivery]:
        """Lists deliveries, newest first; only "PENDING", "DELIVERED", "FAILED" or "DROPPED" ones where named."""
        numbers: Any = [enum_number(pb.DeliveryState, state, "states") for state in states]
        request = pb.ListDeliveriesRequest(parent=_full(name), states=numbers)
        pages = self._transport.pages(self._stub.ListDeliveries, request, "deliveries", limit)
        return listing(WebhookDelivery, pages)

    def redeliver(self, name: str) -> WebhookDelivery:
        """Sends a delivery once more, whatever became of it. Named "webhooks/{id}/deliveries/{number}" or "{id}/{number}"."""
        webhook, _, number = name.removeprefix("webhooks/").replace("/deliveries/", "/").partition("/")
        request = pb.RedeliverEventRequest(name=f"webhooks/{webhook}/deliveries/{number}", request_id=request_id())
        return WebhookDelivery.of(self._transport.call(self._stub.RedeliverEvent, request).delivery)


def _full(name: str) -> str:
    return names.full("webhooks", name)


def _events(events: Sequence[str]) -> Any:
    return [enum_number(pb.WebhookEvent, event, "events") for event in events]


def _status(text: str) -> Any:
    return enum_number(pb.WebhookStatus, text, "status")
