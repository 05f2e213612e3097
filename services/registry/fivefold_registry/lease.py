"""Which of several servers delivers: the one whose signs of life go on.

On SQLite this server is the only one and takes the place at once. On PostgreSQL it takes it when it is free, or when its
owner has given no sign of life for a while by this server's own clock: no two machines' clocks are compared.
"""

from __future__ import annotations

from fivefold_registry.store.outgoing_protocol import DeliveryStore
from fivefold_runtime.ids import new_id

BEAT_SECONDS = 3.0  # between two signs of life
DEAD_SECONDS = 15.0  # without one


class Lease:
    """One server's wish to be the one. Used by one thread; `held` may be read by any."""

    def __init__(self, store: DeliveryStore, *, alone: bool) -> None:
        """alone  no other server uses this database"""
        self.owner = new_id()
        self.held = False
        self._store = store
        self._alone = alone
        self._said = 0.0  # when this server last gave a sign of life
        self._seen = ("", 0)
        self._since = 0.0  # when the owner's last sign of life was seen first

    def keep(self, now: float) -> bool:
        """Gives a sign of life, or tries to become the one, when it is time to; says whether it is. `now` is monotonic."""
        if self.held and (self._alone or now - self._said < BEAT_SECONDS):
            return True
        if self.held:
            self.held = self._store.beat(self.owner)
        if not self.held:
            self.held = self._store.take(self.owner, self._dead(now))
        self._said = now
        return self.held

    def leave(self) -> None:
        """Lets another server have the place at once."""
        if self.held:
            self.held = False
            self._store.leave(self.owner)

    def _dead(self, now: float) -> tuple[str, int] | None:
        """Returns the owner and its last sign of life if it counts as dead."""
        seen = self._store.holder()
        if self._alone:
            return seen
        if seen != self._seen:
            self._seen, self._since = seen, now
            return None
        return seen if now - self._since >= DEAD_SECONDS else None
