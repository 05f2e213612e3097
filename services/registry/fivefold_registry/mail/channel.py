"""Mail as a channel of the courier: who gets a letter about an event, and one attempt to send it."""

from __future__ import annotations

import random

from fivefold_registry.mail.letters import TOLD, Letter, is_address, message, write
from fivefold_registry.mail.sending import MailFailed, Smtp
from fivefold_registry.rights import Rights
from fivefold_registry.store.outgoing import MAIL, DeliveryRecord, DeliveryState, Draft, Listener, Result
from fivefold_registry.store.outgoing_protocol import DeliveryStore, DetailStore, SubscriptionStore
from fivefold_registry.store.records import EventRecord
from fivefold_registry.webhooks.pace import later
from fivefold_runtime.clock import Clock


class MailChannel:
    """A Channel. While there is no server it only makes people follow what they act on."""

    def __init__(
        self,
        subscriptions: SubscriptionStore,
        deliveries: DeliveryStore,
        details: DetailStore,
        rights: Rights,
        clock: Clock,
        *,
        smtp: Smtp | None,
        sender: str,
        cap: int,
        retry_seconds: float,
    ) -> None:
        """sender  the address that letters come from; cap  letters of one kind that a person gets a day; retry_seconds  between
        the first attempt and the second"""
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._details = details
        self._rights = rights
        self._clock = clock
        self._smtp = smtp
        self._sender = sender
        self._cap = cap
        self._retry_seconds = retry_seconds

    def drafts(self, event: EventRecord) -> list[Draft]:
        if event.type not in TOLD:
            return []
        self._subscriptions.acted(event)
        if self._smtp is None:
            return []
        comment = self._details.comment(event)
        return [
            draft
            for listener in self._subscriptions.listeners(event)
            if is_address(listener.email) and self._rights.may_read(event.model_id, listener.principal)
            for draft in self._drafts(event, listener, comment)
        ]

    def send(self, delivery: DeliveryRecord) -> Result:
        subject = delivery.sink.removeprefix(f"{MAIL}/")
        if self._smtp is None:
            return self._later(delivery, MailFailed("there is no SMTP server"))
        if not self._rights.may_read(delivery.model_id, self._subscriptions.known(subject)):
            return Result(state=DeliveryState.DROPPED, reason="may not read the model", tried=False)
        letter = Letter.parse(delivery.body)
        try:
            self._smtp.send(message(letter, self._sender, delivery.id), self._sender, letter.to)
        except MailFailed as error:
            return self._later(delivery, error)
        return Result(state=DeliveryState.DELIVERED)

    def close(self) -> None:
        """Lets letters that are being handed over go: each has its time-out."""

    def _drafts(self, event: EventRecord, listener: Listener, comment: str) -> list[Draft]:
        """Returns the letter to one person, unless they have had as many of its kind today as they may."""
        sink = f"{MAIL}/{listener.principal.subject}"
        midnight = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        sent = self._deliveries.sent_today(sink, event.type, midnight)
        if sent >= self._cap:
            return []
        letter = write(event, listener.email, comment, last=self._cap if sent + 1 == self._cap else 0)
        return [Draft(sink=sink, event=event.type, body=letter.dump())]

    def _later(self, delivery: DeliveryRecord, error: MailFailed) -> Result:
        return later(
            delivery,
            self._clock.now(),
            self._retry_seconds,
            random.random(),
            status_code=error.code,
            reason=str(error),
            final=error.final,
        )
