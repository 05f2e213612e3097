"""Whether somebody who is not calling just now may read a model: the owner of a webhook, a subscriber."""

from __future__ import annotations

from fivefold_registry.names import MODELS
from fivefold_registry.store.outgoing_protocol import DetailStore
from fivefold_runtime.errors import NotFound
from fivefold_runtime.levels import Level
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.principal import Principal


class Rights:
    """Asks by a model's own id, since its name may have changed or belong to another one by now."""

    def __init__(self, authorizer: Authorizer, details: DetailStore) -> None:
        self._authorizer = authorizer
        self._details = details

    def may_read(self, model_id: str, principal: Principal) -> bool:
        """A model that is gone is read by those who may read every model."""
        model = self._details.model_now(model_id)
        try:
            level = self._authorizer.level(MODELS if model is None else f"{MODELS}/{model}", principal)
        except NotFound:
            return False
        return level >= Level.CAN_READ
