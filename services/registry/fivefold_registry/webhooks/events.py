"""Which of the registry's events a webhook is told of, by which name, and in which words. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from fivefold_registry.lifecycle import Stage
from fivefold_registry.store.records import EventRecord, EventType


class WebhookEvent(StrEnum):
    """What a webhook may be told of; the value is stored, the name is sent."""

    REGISTERED_MODEL_CREATED = "registered_model_created"
    MODEL_VERSION_CREATED = "model_version_created"
    MODEL_VERSION_TRANSITIONED_STAGE = "model_version_transitioned_stage"
    MODEL_VERSION_TRANSITIONED_TO_STAGING = "model_version_transitioned_to_staging"
    MODEL_VERSION_TRANSITIONED_TO_PRODUCTION = "model_version_transitioned_to_production"
    MODEL_VERSION_TRANSITIONED_TO_ARCHIVED = "model_version_transitioned_to_archived"
    TRANSITION_REQUEST_CREATED = "transition_request_created"
    TRANSITION_REQUEST_TO_STAGING_CREATED = "transition_request_to_staging_created"
    TRANSITION_REQUEST_TO_PRODUCTION_CREATED = "transition_request_to_production_created"
    TRANSITION_REQUEST_TO_ARCHIVED_CREATED = "transition_request_to_archived_created"
    COMMENT_CREATED = "comment_created"
    MODEL_VERSION_TAG_SET = "model_version_tag_set"


#: In general: what an event of the outbox is called, whatever its stage.
GENERAL: Mapping[EventType, WebhookEvent] = {
    EventType.REGISTERED_MODEL_CREATED: WebhookEvent.REGISTERED_MODEL_CREATED,
    EventType.MODEL_VERSION_CREATED: WebhookEvent.MODEL_VERSION_CREATED,
    EventType.MODEL_VERSION_TRANSITIONED_STAGE: WebhookEvent.MODEL_VERSION_TRANSITIONED_STAGE,
    EventType.TRANSITION_REQUEST_CREATED: WebhookEvent.TRANSITION_REQUEST_CREATED,
    EventType.COMMENT_CREATED: WebhookEvent.COMMENT_CREATED,
    EventType.MODEL_VERSION_TAG_SET: WebhookEvent.MODEL_VERSION_TAG_SET,
}
#: By the stage that it goes to.
BY_STAGE: Mapping[tuple[EventType, Stage], WebhookEvent] = {
    (EventType.MODEL_VERSION_TRANSITIONED_STAGE, Stage.STAGING): WebhookEvent.MODEL_VERSION_TRANSITIONED_TO_STAGING,
    (
        EventType.MODEL_VERSION_TRANSITIONED_STAGE,
        Stage.PRODUCTION,
    ): WebhookEvent.MODEL_VERSION_TRANSITIONED_TO_PRODUCTION,
    (EventType.MODEL_VERSION_TRANSITIONED_STAGE, Stage.ARCHIVED): WebhookEvent.MODEL_VERSION_TRANSITIONED_TO_ARCHIVED,
    (EventType.TRANSITION_REQUEST_CREATED, Stage.STAGING): WebhookEvent.TRANSITION_REQUEST_TO_STAGING_CREATED,
    (EventType.TRANSITION_REQUEST_CREATED, Stage.PRODUCTION): WebhookEvent.TRANSITION_REQUEST_TO_PRODUCTION_CREATED,
    (EventType.TRANSITION_REQUEST_CREATED, Stage.ARCHIVED): WebhookEvent.TRANSITION_REQUEST_TO_ARCHIVED_CREATED,
}


def told_as(event: EventRecord, wanted: Collection[WebhookEvent]) -> WebhookEvent | None:
    """Returns the name that says most of those that a webhook wants; None when it wants none of them."""
    by_stage = BY_STAGE.get((event.type, event.to_stage)) if event.to_stage is not None else None
    if by_stage in wanted:
        return by_stage
    general = GENERAL.get(event.type)
    return general if general in wanted else None


def sentence(event: EventRecord) -> str:
    """Returns an event as one sentence for people."""
    model, user = event.model, event.user
    version = f"version {event.number} of {model}"
    match event.type:
        case EventType.REGISTERED_MODEL_CREATED:
            return f"{user} registered the model {model}."
        case EventType.MODEL_VERSION_CREATED:
            return f"{user} made {version}."
        case EventType.MODEL_VERSION_TRANSITIONED_STAGE:
            return f"{user} moved {version} from {event.from_stage} to {event.to_stage}."
        case EventType.TRANSITION_REQUEST_CREATED:
            return f"{user} asks to move {version} from {event.from_stage} to {event.to_stage}."
        case EventType.TRANSITION_REQUEST_SETTLED:
            return f"{user} settled a request to move {version} to {event.to_stage}."
        case EventType.COMMENT_CREATED:
            return f"{user} commented on {version}."
        case EventType.MODEL_VERSION_TAG_SET:
            return f"{user} set tags of {version}."
    return f"{user} changed {version}." if event.number else f"{user} changed the model {model}."


def body(webhook: str, name: WebhookEvent, event: EventRecord, *, comment: str, status: str) -> str:
    """Returns the JSON that is sent, as the contract describes it.

    webhook  the webhook's id; comment, status  "" where they do not apply
    """
    return _json(
        {
            "id": f"{webhook}-{event.position}",
            "webhook_id": webhook,
            "event": name.name,
            "timestamp": instant(event.time),
            "model_name": event.model,
            "version": str(event.number) if event.number else "",
            "from_stage": event.from_stage or "",
            "to_stage": event.to_stage or "",
            "status": status,
            "user": event.user,
            "comment": comment,
            "text": sentence(event),
        }
    )


def trial(webhook: str, attempt: str, name: WebhookEvent, model: str, user: str, now: datetime) -> tuple[str, str]:
    """Returns (delivery id, JSON) of a made-up event.

    attempt  what makes the id differ from every other one
    """
    delivery = f"{webhook}-test-{attempt}"
    moved = next((stage for (_, stage), by_stage in BY_STAGE.items() if by_stage is name), None)
    return delivery, _json(
        {
            "id": delivery,
            "webhook_id": webhook,
            "event": name.name,
            "timestamp": instant(now),
            "model_name": model or "example",
            "version": "" if name is WebhookEvent.REGISTERED_MODEL_CREATED else "1",
            "from_stage": Stage.NONE if moved else "",
            "to_stage": moved or "",
            "user": user,
            "text": "This is a test: nothing happened.",
            "test": True,
        }
    )


def instant(moment: datetime) -> str:
    """Returns a time as RFC 3339 in UTC, with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps({name: value for name, value in fields.items() if value != ""}, ensure_ascii=False)
