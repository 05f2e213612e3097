"""Serves fivefold.registry.v1.WebhookService: translates, calls, translates.

A URL is checked before the transaction begins, since its host has to be resolved for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.registry.v1 import webhooks_pb2 as pb
from fivefold_registry.names import ModelName
from fivefold_registry.store.outgoing import WebhookChange, WebhookRecord, WebhookStatus
from fivefold_registry.store.outgoing_protocol import DeliveryStore, WebhookStore
from fivefold_registry.webhooks import wire
from fivefold_registry.webhooks.addresses import AddressRefused, target_of
from fivefold_registry.webhooks.channel import WebhookChannel, refusal
from fivefold_registry.webhooks.events import trial
from fivefold_registry.webhooks.names import DeliveryName, WebhookName
from fivefold_registry.webhooks.sealing import Seal, SealBroken
from fivefold_registry.webhooks.sending import Sender, SendFailed
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from fivefold_runtime.ids import new_id
from fivefold_runtime.levels import Level
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import answered, mutation, once
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

SERVICE = "fivefold.registry.v1.WebhookService"
_PAGE, _LARGEST_PAGE = 100, 1_000
_SHORTEST_SECRET = 16  # bytes
_PLACES = 4  # calls that wait for other machines at once, so that slow ones do not take all threads of other calls
_PATIENCE_SECONDS = 0.2  # that a call waits for such a place

Context = grpc.ServicerContext


class WebhookDisabled(FailedPrecondition):
    """The webhook's status lets nothing be sent."""

    reason = "WEBHOOK_DISABLED"


class WebhookServicer:
    """All methods of the service."""

    def __init__(
        self,
        database: Database,
        webhooks: WebhookStore,
        deliveries: DeliveryStore,
        channel: WebhookChannel,
        sender: Sender,
        seal: Seal,
        authorizer: Authorizer,
        wake: Callable[[], None],
    ) -> None:
        """wake  tells the courier that something is due"""
        self.database = database  # `mutation` looks for it here
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._channel = channel
        self._sender = sender
        self._seal = seal
        self._authorizer = authorizer
        self._wake = wake
        self._places = threading.BoundedSemaphore(_PLACES)

    def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.Webhook:
        if answered(self.database, request) is None:
            self._may_create(request.webhook.model)
            self._check_url(request.webhook.url)
        return self._create(request, context)

    @mutation
    def _create(self, request: pb.CreateWebhookRequest, context: Context) -> pb.Webhook:
        asked = request.webhook
        webhook = new_id()
        first = WebhookChange(
            events=wire.events_of(asked.events, "webhook.events"),
            status=wire.status_of(asked.status),
            url=asked.url,
            secret=self._sealed(webhook, asked.secret),
            description=asked.description,
        )
        model = ModelName.parse(asked.model, "webhook.model") if asked.model else None
        return wire.webhook(self._webhooks.create(webhook, model, first, caller()))

    def GetWebhook(self, request: pb.GetWebhookRequest, context: Context) -> pb.Webhook:
        return wire.webhook(self._webhooks.get(WebhookName.parse(request.name).webhook))

    def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        model = ModelName.parse(request.model, "model") if request.model else None
        found = self._webhooks.list(model, after, size + 1, self._authorizer)
        more = paging.token_of(request, [found[size - 1].id] if len(found) > size else None)
        return pb.ListWebhooksResponse(webhooks=[wire.webhook(record) for record in found[:size]], next_page_token=more)

    def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Context) -> pb.Webhook:
        if "url" in self._fields(request) and answered(self.database, request) is None:
            self._check_url(request.webhook.url)
        updated = self._update(request, context)
        self._wake()
        return updated

    @mutation
    def _update(self, request: pb.UpdateWebhookRequest, context: Context) -> pb.Webhook:
        asked, fields = request.webhook, self._fields(request)
        webhook = WebhookName.parse(asked.name, "webhook.name").webhook
        change = WebhookChange(
            events=wire.events_of(asked.events, "webhook.events") if "events" in fields else None,
            status=wire.status_of(asked.status) if "status" in fields else None,
            url=asked.url if "url" in fields else None,
            secret=self._sealed(webhook, asked.secret) if "secret" in fields else None,
            description=asked.description if "description" in fields else None,
        )
        return wire.webhook(self._webhooks.update(webhook, change, asked.etag, caller()))

    @mutation
    def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> Empty:
        self._webhooks.delete(WebhookName.parse(request.name).webhook, request.etag)
        return Empty()

    def TestWebhook(self, request: pb.TestWebhookRequest, context: Context) -> pb.TestWebhookResponse:
        return once(self.database, request, lambda: self._test(request))

    def _test(self, request: pb.TestWebhookRequest) -> pb.TestWebhookResponse:
        webhook = self._webhooks.get(WebhookName.parse(request.name).webhook)
        _require(webhook, WebhookStatus.ACTIVE, WebhookStatus.TEST_MODE)
        event = wire.event_of(request.event, "event") if request.event else min(webhook.events)
        now = self.database.clock.now()
        delivery, body = trial(webhook.id, new_id(), event, webhook.model, caller().subject, now)
        try:
            with self._place():
                answer = self._channel.post(webhook, delivery, body.encode())
        except (SendFailed, AddressRefused, SealBroken) as error:
            return pb.TestWebhookResponse(reason=str(error))
        reason = "" if answer.taken else refusal(answer)
        return pb.TestWebhookResponse(status_code=answer.status_code, body=answer.body, reason=reason)

    def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (before,) = paging.key_of(request, paging.NUMBER) or (None,)
        states = {wire.state_of(state, f"states[{index}]") for index, state in enumerate(request.states)}
        webhook = WebhookName.parse(request.parent, "parent")
        found = self._deliveries.list(str(webhook), states, before, size + 1)
        more = paging.token_of(request, [found[size - 1].position] if len(found) > size else None)
        return pb.ListDeliveriesResponse(
            deliveries=[wire.delivery(record) for record in found[:size]], next_page_token=more
        )

    def RedeliverEvent(self, request: pb.RedeliverEventRequest, context: Context) -> pb.RedeliverEventResponse:
        answer = self._redeliver(request, context)
        self._wake()
        return answer

    @mutation
    def _redeliver(self, request: pb.RedeliverEventRequest, context: Context) -> pb.RedeliverEventResponse:
        name = DeliveryName.parse(request.name)
        _require(self._webhooks.get(name.webhook), WebhookStatus.ACTIVE)
        again = self._deliveries.again(str(WebhookName(name.webhook)), name.position)
        return pb.RedeliverEventResponse(delivery=wire.delivery(again))

    def _may_create(self, model: str) -> None:
        if model:
            self._authorizer.require(str(ModelName.parse(model, "webhook.model")), Level.CAN_MANAGE)
        else:
            self._authorizer.require_admin()

    def _check_url(self, url: str) -> None:
        target = target_of(url)
        with nullcontext() if target.literal else self._place():  # A name server may take its time.
            self._sender.check(target)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Takes one of the few places of calls that wait for other machines. Raises ResourceExhausted."""
        if not self._places.acquire(timeout=_PATIENCE_SECONDS):
            raise ResourceExhausted("several webhooks are being tested or made; try again", retry_after=2.0)
        try:
            yield
        finally:
            self._places.release()

    def _sealed(self, webhook: str, secret: str) -> str:
        if secret and len(secret.encode()) < _SHORTEST_SECRET:
            raise InvalidArgument.at("webhook.secret", f"is shorter than {_SHORTEST_SECRET} bytes")
        return self._seal.close(webhook, secret)

    @staticmethod
    def _fields(request: pb.UpdateWebhookRequest) -> frozenset[str]:
        return chosen(request.update_mask, request.webhook, ("events", "status", "url", "secret", "description"))


def _require(webhook: WebhookRecord, *allowed: WebhookStatus) -> None:
    if webhook.status not in allowed:
        raise WebhookDisabled(
            f"{webhook.name} is {webhook.status.name}, so nothing is sent",
            name=webhook.name,
            status=webhook.status.name,
        )
