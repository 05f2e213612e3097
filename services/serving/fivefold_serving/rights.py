"""Who may use which model: the registry decides, this server remembers its answer for a while.

Grants on registered models are kept by the registry. Asking it with every prediction would put it on the hot path, so
a yes counts for a minute, and for ten while the registry does not answer. A no counts for two seconds: a model that is
made, or granted, after someone asked for it is there at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from fivefold_runtime.calls import caller
from fivefold_runtime.errors import Unavailable
from fivefold_runtime.grants import Level
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.principal import Principal
from fivefold_runtime.settings import ServerConfig

T = TypeVar("T")

_FRESH_SECONDS = {True: 60.0, False: 2.0}
_STALE_SECONDS = 600.0
_MOST = 100_000  # answers remembered


@dataclass(frozen=True, slots=True)
class _Answer:
    may_read: bool
    asked: float  # monotonic seconds


class RegistryRights(Authorizer):
    """An Authorizer that knows CAN_READ or nothing of a model, by asking the registry in the caller's name."""

    def __init__(self, config: ServerConfig, may_read: Callable[[str], bool]) -> None:
        """may_read  asks for the running call's caller; raises Unavailable"""
        super().__init__(config, None)
        self._may_read = may_read
        self._answers: dict[tuple[str, frozenset[str], str], _Answer] = {}
        self._lock = threading.Lock()

    def level(self, name: str, principal: Principal | None = None) -> Level:
        """Returns the caller's level on `models/{model}`. Raises Unavailable when nobody can say."""
        known = super().level(name, principal)
        if known >= Level.CAN_READ:
            return known
        return Level.CAN_READ if self._asked(name) else Level.NONE

    def visible(self, items: Iterable[T], resource: Callable[[T], str]) -> list[T]:
        """Returns the items whose model the caller may read."""
        return [item for item in items if self.level(resource(item)) >= Level.CAN_READ]

    def _asked(self, name: str) -> bool:
        who = caller()
        key = (who.subject, who.groups, name)
        now = time.monotonic()
        known = self._answers.get(key)
        if known is not None and now - known.asked < _FRESH_SECONDS[known.may_read]:
            return known.may_read
        try:
            answer = _Answer(self._may_read(name), now)
        except Unavailable:
            if known is not None and now - known.asked < _STALE_SECONDS:
                return known.may_read
            raise
        with self._lock:
            if len(self._answers) >= _MOST:
                self._answers.clear()
            self._answers[key] = answer
        return answer.may_read
