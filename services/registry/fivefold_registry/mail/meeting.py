"""An outbox that also notes who causes events: their address and groups, as their token says, in the same transaction.

So that one who acts hears of the version from then on, without having to tell anything else.
"""

from __future__ import annotations

from sqlalchemy import Connection

from fivefold_registry.store.outgoing_protocol import SubscriptionStore
from fivefold_runtime.calls import caller
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.principal import Principal
from fivefold_runtime.sql import Database

_MOST = 10_000  # people in memory


class MeetingOutbox(Outbox):
    """An Outbox. Costs a write only when a token says something new."""

    def __init__(self, database: Database, subscriptions: SubscriptionStore) -> None:
        super().__init__(database)
        self._meeting_in = database
        self._subscriptions = subscriptions
        self._met: dict[str, Principal] = {}

    def append(self, tx: Connection, topic: str, key: str, payload: bytes) -> None:
        super().append(tx, topic, key, payload)
        who = caller()
        if not who.token or self._same(self._met.get(who.subject), who):
            return  # Without a token nothing is known, or nothing new.
        self._subscriptions.met(who)
        self._meeting_in.after_commit(lambda: self._remember(who))

    def _remember(self, who: Principal) -> None:
        if len(self._met) >= _MOST:
            self._met.clear()
        self._met[who.subject] = Principal(who.subject, who.groups, email=who.email)

    @staticmethod
    def _same(known: Principal | None, who: Principal) -> bool:
        return known is not None and (known.groups, known.email) == (who.groups, who.email)
