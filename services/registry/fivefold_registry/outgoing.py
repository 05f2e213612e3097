"""Puts together what leaves the registry: webhooks, mail, and the courier that brings both; with their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fivefold_registry.courier import Courier
from fivefold_registry.mail import servicer as mail_servicer
from fivefold_registry.mail.channel import MailChannel
from fivefold_registry.mail.letters import is_address
from fivefold_registry.mail.meeting import MeetingOutbox
from fivefold_registry.mail.sending import Smtp
from fivefold_registry.mail.servicer import SubscriptionServicer
from fivefold_registry.rights import Rights
from fivefold_registry.store.deliveries import SqlDeliveries
from fivefold_registry.store.details import SqlDetails
from fivefold_registry.store.outgoing import MAIL
from fivefold_registry.store.protocol import ModelStore
from fivefold_registry.store.subscriptions import SqlSubscriptions
from fivefold_registry.store.webhooks import SqlWebhooks
from fivefold_registry.webhooks import servicer as webhook_servicer
from fivefold_registry.webhooks.addresses import Rules
from fivefold_registry.webhooks.channel import WebhookChannel
from fivefold_registry.webhooks.names import WEBHOOKS
from fivefold_registry.webhooks.sealing import Seal
from fivefold_registry.webhooks.sending import Resolve, Sender, system, trust
from fivefold_registry.webhooks.servicer import WebhookServicer
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig, StartError, flag, listed, setting
from fivefold_runtime.sql import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingConfig(ServerConfig):
    """Settings of webhooks and mail."""

    webhook_allow: str = setting(
        "",
        "where webhooks may go beyond public addresses, by http and on any port too: networks such as 10.1.0.0/16 and"
        " names of hosts, separated by commas",
    )
    webhook_ca: str = setting(
        "", "PEM authorities that webhooks' receivers are checked against, besides the public ones", unit="path"
    )
    webhook_key_file: str = setting(
        "",
        "keys that webhooks' secrets are sealed with in the database, 32 bytes in base64 each, one a line: the first"
        " seals, all open; the same for all replicas; empty: secrets are stored as they are",
        unit="path",
    )
    webhook_timeout_seconds: float = setting(10.0, "what one attempt to send to a webhook may take", unit="seconds")
    webhook_retry_seconds: float = setting(
        1.0, "wait between the first attempt and the second; it doubles up to a quarter of an hour", unit="seconds"
    )
    delivery_workers: int = setting(
        16, "webhooks and mails sent to at once; one webhook, and all mail together, gets a quarter", unit="threads"
    )
    delivery_days: float = setting(14.0, "how long finished deliveries are listed", unit="days")
    event_days: float = setting(
        90.0, "how long watchers can resume from a past position; older events are deleted", unit="days"
    )
    smtp_host: str = setting("", "SMTP server that mail is handed to; empty: no mail is sent")
    smtp_port: int = setting(587, "port of smtp_host")
    smtp_tls: str = setting("starttls", "how smtp_host is talked to", choices=("starttls", "tls", "off"))
    smtp_ca: str = setting(
        "", "PEM authorities that smtp_host is checked against, besides the public ones", unit="path"
    )
    smtp_user: str = setting("", "who logs in at smtp_host; empty: nobody")
    smtp_password: str = setting("", "password of smtp_user", secret=True)
    mail_from: str = setting("", "address that mail comes from")
    mail_domains: str = setting(
        "", "domains of the addresses that people may set in their subscriptions, separated by commas; empty: any"
    )
    mail_cap: int = setting(20, "mails about one type of activity that a person gets a day", unit="mails")

    def check_outgoing(self) -> None:
        """Raises StartError when settings of webhooks and mail cannot be."""
        Rules(self.webhook_allow)
        for name in ("webhook_timeout_seconds", "webhook_retry_seconds", "delivery_days", "event_days"):
            if getattr(self, name) <= 0:
                raise StartError(f"{flag(name)} is {getattr(self, name)}; it must be more than 0.")
        for name in ("delivery_workers", "mail_cap"):
            if getattr(self, name) < 1:
                raise StartError(f"{flag(name)} is {getattr(self, name)}; it must be at least 1.")
        if not 1 <= self.smtp_port <= 65535:
            raise StartError(f"--smtp-port is {self.smtp_port}; it must be from 1 to 65535.")
        if self.smtp_host and not is_address(self.mail_from):
            raise StartError("--smtp-host needs --mail-from, an address such as fivefold@example.com.")
        if self.smtp_user and self.smtp_tls == "off":
            raise StartError("--smtp-user would send its password in the clear; set --smtp-tls to starttls or tls.")


class Outgoing:
    """The stores at once; the services and the courier once there is an authorizer."""

    def __init__(self, config: OutgoingConfig, database: Database, resolve: Resolve = system) -> None:
        """resolve  finds the addresses of webhooks' hosts. Raises StartError for settings that cannot be used."""
        self._config = config
        self._database = database
        self._sender = Sender(
            Rules(config.webhook_allow), config.webhook_timeout_seconds, trust(config.webhook_ca), resolve
        )
        self._seal = Seal.of(config.webhook_key_file)
        self.webhooks = SqlWebhooks(database)
        self.deliveries = SqlDeliveries(database)
        self.subscriptions = SqlSubscriptions(database)
        self._details = SqlDetails(database)
        self.outbox = MeetingOutbox(database, self.subscriptions)

    def owner_of(self, models: ModelStore) -> Callable[[str], str]:
        """Returns what finds the resource that carries the grants of a name, of models and of webhooks."""

        def owner_of(name: str) -> str:
            ours = name.partition("/")[0] == WEBHOOKS
            return self.webhooks.owner_of(name) if ours else models.owner_of(name)

        return owner_of

    def over(self, authorizer: Authorizer) -> tuple[dict[str | tuple[str, str], object], Courier]:
        """Returns the servicers by their services' names, and the background work."""
        config, clock, rights = self._config, self._database.clock, Rights(authorizer, self._details)
        hooks = WebhookChannel(
            self.webhooks, self._details, rights, self._sender, self._seal, clock, config.webhook_retry_seconds
        )
        mail = MailChannel(
            self.subscriptions,
            self.deliveries,
            self._details,
            rights,
            clock,
            smtp=_smtp(config),
            sender=config.mail_from,
            cap=config.mail_cap,
            retry_seconds=config.webhook_retry_seconds,
        )
        courier = Courier(
            self._database,
            self.outbox,
            self.deliveries,
            {WEBHOOKS: hooks, MAIL: mail},
            workers=config.delivery_workers,
            log_kept=timedelta(days=config.delivery_days),
            events_kept=timedelta(days=config.event_days),
        )
        webhooks = WebhookServicer(
            self._database,
            self.webhooks,
            self.deliveries,
            hooks,
            self._sender,
            self._seal,
            authorizer,
            courier.wake,
        )
        domains = frozenset(domain.lower() for domain in listed(config.mail_domains))
        subscriptions = SubscriptionServicer(self._database, self.subscriptions, authorizer, domains)
        return {webhook_servicer.SERVICE: webhooks, mail_servicer.SERVICE: subscriptions}, courier


def _smtp(config: OutgoingConfig) -> Smtp | None:
    if not config.smtp_host:
        return None
    return Smtp(
        host=config.smtp_host,
        port=config.smtp_port,
        tls=config.smtp_tls,
        user=config.smtp_user,
        password=config.smtp_password,
        timeout_seconds=10.0,
        ca_file=config.smtp_ca,
    )
