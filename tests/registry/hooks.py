"""The stubs of webhooks and subscriptions, with the shortest calls that tests need."""

from __future__ import annotations

from typing import Any

import grpc

from fivefold.registry.v1 import registry_pb2, subscriptions_pb2, webhooks_pb2
from fivefold.registry.v1.subscriptions_pb2_grpc import SubscriptionServiceStub
from fivefold.registry.v1.webhooks_pb2_grpc import WebhookServiceStub
from tests.registry.client import Bearer, Registry

ALL_EVENTS = [number for number in webhooks_pb2.WebhookEvent.values() if number]
NOWHERE = "https://93.184.216.34/hook"  # a public address that no test sends to
S = "SUBSCRIBED_ACTIVITY_"


class Hooks:
    """Calls a registry, as one caller."""

    def __init__(self, channel: grpc.Channel, token: str = "") -> None:
        self.registry = Registry(channel, "", token)
        if token:
            channel = grpc.intercept_channel(channel, Bearer(token))
        self.stub = WebhookServiceStub(channel)
        self.people = SubscriptionServiceStub(channel)

    def version(self, id: str = "churn") -> str:
        """Makes a version that is READY at once; returns its name."""
        asked = registry_pb2.ModelVersion(external_uri="s3://elsewhere/model")
        request = registry_pb2.CreateModelVersionRequest(parent=f"models/{id}", model_version=asked)
        return self.registry.stub.CreateModelVersion(request).name

    def create(self, url: str = NOWHERE, *, events: Any = None, request_id: str = "", **fields: Any):  # type: ignore[no-untyped-def]
        webhook = webhooks_pb2.Webhook(url=url, events=ALL_EVENTS if events is None else numbers(events), **fields)
        return self.stub.CreateWebhook(webhooks_pb2.CreateWebhookRequest(webhook=webhook, request_id=request_id))

    def get(self, name: str) -> webhooks_pb2.Webhook:
        return self.stub.GetWebhook(webhooks_pb2.GetWebhookRequest(name=name))

    def list(self, model: str = "", **page: Any) -> webhooks_pb2.ListWebhooksResponse:
        return self.stub.ListWebhooks(webhooks_pb2.ListWebhooksRequest(model=model, **page))

    def update(self, name: str, *mask: str, events: Any = (), etag: str = "", **fields: Any) -> webhooks_pb2.Webhook:
        webhook = webhooks_pb2.Webhook(name=name, etag=etag, events=numbers(events), **fields)
        request = webhooks_pb2.UpdateWebhookRequest(webhook=webhook, update_mask={"paths": list(mask)})
        return self.stub.UpdateWebhook(request)

    def delete(self, name: str, etag: str = "") -> None:
        self.stub.DeleteWebhook(webhooks_pb2.DeleteWebhookRequest(name=name, etag=etag))

    def test(self, name: str, event: int = 0, request_id: str = "") -> webhooks_pb2.TestWebhookResponse:
        return self.stub.TestWebhook(webhooks_pb2.TestWebhookRequest(name=name, event=event, request_id=request_id))  # type: ignore[arg-type]

    def deliveries(self, parent: str, **page: Any) -> list[webhooks_pb2.Delivery]:
        return list(self.stub.ListDeliveries(webhooks_pb2.ListDeliveriesRequest(parent=parent, **page)).deliveries)

    def redeliver(self, name: str) -> webhooks_pb2.Delivery:
        return self.stub.RedeliverEvent(webhooks_pb2.RedeliverEventRequest(name=name)).delivery

    def subscription(self, id: str = "churn") -> subscriptions_pb2.Subscription:
        request = subscriptions_pb2.GetSubscriptionRequest(name=f"models/{id}/subscription")
        return self.people.GetSubscription(request)

    def subscribe(self, id: str = "churn", activity: str = "", email: str = "", **more: Any):  # type: ignore[no-untyped-def]
        number = subscriptions_pb2.SubscribedActivity.Value(S + activity) if activity else 0
        asked = subscriptions_pb2.Subscription(name=f"models/{id}/subscription", activity=number, email=email)
        return self.people.UpdateSubscription(subscriptions_pb2.UpdateSubscriptionRequest(subscription=asked, **more))

    def follow(self, version: str) -> None:
        self.people.FollowVersion(subscriptions_pb2.FollowVersionRequest(name=version))

    def unfollow(self, version: str) -> None:
        self.people.UnfollowVersion(subscriptions_pb2.UnfollowVersionRequest(name=version))


def numbers(events: Any) -> list[Any]:
    """Returns events by name without prefix as their numbers; numbers stay."""
    return [
        event if isinstance(event, int) else webhooks_pb2.WebhookEvent.Value(f"WEBHOOK_EVENT_{event}")
        for event in events
    ]


def states(deliveries: list[webhooks_pb2.Delivery]) -> list[str]:
    return [webhooks_pb2.DeliveryState.Name(one.state).removeprefix("DELIVERY_STATE_") for one in deliveries]
