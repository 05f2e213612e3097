"""Events in the outbox: JSON that a later version of this service, a webhook or a Watch stream can read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from fivefold_registry.lifecycle import Stage
from fivefold_registry.store.records import EventRecord, EventType
from fivefold_runtime.outbox import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What goes into the outbox with a change; see EventRecord."""

    type: EventType
    model_id: str
    model: str
    user: str
    number: int = 0
    from_stage: Stage | None = None
    to_stage: Stage | None = None
    subject: str = ""
    old: str = ""
    status: str = ""
    readers: Iterable[str] = ()

    @property
    def key(self) -> str:
        """Whose order matters."""
        return f"models/{self.model}"

    def payload(self) -> bytes:
        body = {
            "id": self.model_id,
            "model": self.model,
            "number": self.number,
            "from": self.from_stage,
            "to": self.to_stage,
            "user": self.user,
            "subject": self.subject,
            "old": self.old,
            "status": self.status,
            "readers": sorted(self.readers),
        }
        return json.dumps({name: value for name, value in body.items() if value}, ensure_ascii=False).encode()


def event_of(event: Event) -> EventRecord:
    """Returns the record of an event that `Written` made."""
    body = json.loads(event.payload)
    return EventRecord(
        position=event.position,
        type=EventType(event.topic),
        model_id=body["id"],
        model=body["model"],
        number=body.get("number", 0),
        from_stage=Stage(body["from"]) if "from" in body else None,
        to_stage=Stage(body["to"]) if "to" in body else None,
        user=body["user"],
        subject=body.get("subject", ""),
        old=body.get("old", ""),
        status=body.get("status", ""),
        readers=frozenset(body.get("readers", ())),
        time=event.time,
    )
