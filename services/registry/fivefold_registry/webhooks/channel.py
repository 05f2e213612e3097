"""Webhooks as a channel of the courier: which events each is told of, and one attempt to tell it."""

from __future__ import annotations

import random
from datetime import timedelta

from fivefold_registry.rights import Rights
from fivefold_registry.store.outgoing import DeliveryRecord, DeliveryState, Draft, Result, WebhookRecord, WebhookStatus
from fivefold_registry.store.outgoing_protocol import DetailStore, WebhookStore
from fivefold_registry.store.records import EventRecord
from fivefold_registry.webhooks.addresses import AddressRefused, target_of
from fivefold_registry.webhooks.events import GENERAL, body, told_as
from fivefold_registry.webhooks.names import WEBHOOKS
from fivefold_registry.webhooks.pace import is_over, later
from fivefold_registry.webhooks.sealing import Seal, SealBroken
from fivefold_registry.webhooks.sending import Answer, Sender, SendFailed
from fivefold_registry.webhooks.signing import headers
from fivefold_runtime.clock import Clock
from fivefold_runtime.errors import NotFound

_ASLEEP = timedelta(minutes=1)  # between two looks whether a webhook is ACTIVE again


class WebhookChannel:
    """A Channel. Safe for use by many threads."""

    def __init__(
        self,
        webhooks: WebhookStore,
        details: DetailStore,
        rights: Rights,
        sender: Sender,
        seal: Seal,
        clock: Clock,
        retry_seconds: float,
    ) -> None:
        """retry_seconds  between the first attempt and the second"""
        self._webhooks = webhooks
        self._details = details
        self._rights = rights
        self._sender = sender
        self._seal = seal
        self._clock = clock
        self._retry_seconds = retry_seconds

    def drafts(self, event: EventRecord) -> list[Draft]:
        if event.type not in GENERAL:
            return []
        made = []
        for webhook in self._webhooks.active(event.model_id):
            name = told_as(event, webhook.events)
            if name is None or not self._concerns(webhook, event):
                continue
            text = body(
                webhook.id,
                name,
                event,
                comment=self._details.comment(event),
                status=self._details.status(event),
            )
            made.append(Draft(sink=webhook.name, event=name, body=text))
        return made

    def send(self, delivery: DeliveryRecord) -> Result:
        try:
            webhook = self._webhooks.get(delivery.sink.removeprefix(f"{WEBHOOKS}/"))
        except NotFound:
            return Result(state=DeliveryState.DROPPED, reason="the webhook is gone", tried=False)
        if not self._rights.may_read(delivery.model_id, webhook.owner):
            why = "the webhook's owner may not read the model, or it is gone"
            return Result(state=DeliveryState.DROPPED, reason=why, tried=False)
        if webhook.status is not WebhookStatus.ACTIVE:
            return self._asleep(delivery)
        try:
            answer = self.post(webhook, delivery.id, delivery.body.encode())
        except (SendFailed, AddressRefused, SealBroken) as error:
            return self._later(delivery, 0, str(error))
        if answer.taken:
            return Result(state=DeliveryState.DELIVERED, status_code=answer.status_code)
        return self._later(delivery, answer.status_code, refusal(answer))

    def post(self, webhook: WebhookRecord, delivery: str, content: bytes) -> Answer:
        """Sends one body now. Raises SendFailed, AddressRefused, SealBroken."""
        secret = self._seal.open(webhook.id, webhook.secret)
        signed = headers(secret, delivery, int(self._clock.now().timestamp()), content)
        return self._sender.post(target_of(webhook.url), signed, content)

    def close(self) -> None:
        self._sender.close()

    def _concerns(self, webhook: WebhookRecord, event: EventRecord) -> bool:
        return event.position > webhook.begin and self._rights.may_read(event.model_id, webhook.owner)

    def _asleep(self, delivery: DeliveryRecord) -> Result:
        """Says when to look again whether the webhook is ACTIVE."""
        why = "the webhook is not ACTIVE"
        now = self._clock.now()
        if is_over(delivery, now):
            return Result(state=DeliveryState.FAILED, reason=why, tried=False)
        return Result(state=DeliveryState.PENDING, reason=why, retry_at=now + _ASLEEP, tried=False)

    def _later(self, delivery: DeliveryRecord, status_code: int, reason: str) -> Result:
        now = self._clock.now()
        return later(delivery, now, self._retry_seconds, random.random(), status_code=status_code, reason=reason)


def refusal(answer: Answer) -> str:
    """Returns why an answer does not count as taking the delivery."""
    if 300 <= answer.status_code < 400:
        return f"answered {answer.status_code}: redirects are not followed"
    return f"answered {answer.status_code}"
