"""Webhooks and deliveries as messages. No message ever holds a secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.registry.v1 import webhooks_pb2 as pb
from fivefold_registry.names import MODELS
from fivefold_registry.store.outgoing import DeliveryRecord, DeliveryState, WebhookRecord, WebhookStatus
from fivefold_registry.webhooks.events import WebhookEvent
from fivefold_registry.webhooks.names import WEBHOOKS, DeliveryName
from fivefold_runtime.errors import InvalidArgument

EVENT = {event: pb.WebhookEvent.Value(f"WEBHOOK_EVENT_{event.name}") for event in WebhookEvent}
STATUS = {status: pb.WebhookStatus.Value(f"WEBHOOK_STATUS_{status.name}") for status in WebhookStatus}
STATE = {state: pb.DeliveryState.Value(f"DELIVERY_STATE_{state.name}") for state in DeliveryState}

_EVENT_OF: dict[int, WebhookEvent] = {number: event for event, number in EVENT.items()}
_STATUS_OF: dict[int, WebhookStatus] = {number: status for status, number in STATUS.items()}
_STATE_OF: dict[int, DeliveryState] = {number: state for state, number in STATE.items()}


def events_of(numbers: Sequence[int], field: str) -> frozenset[WebhookEvent]:
    """Raises InvalidArgument for none, an unset one, or one that stands there twice."""
    if not numbers:
        raise InvalidArgument.at(field, "must name at least one event")
    found = [event_of(number, f"{field}[{index}]") for index, number in enumerate(numbers)]
    if len(set(found)) != len(found):
        raise InvalidArgument.at(field, "names an event for the second time")
    return frozenset(found)


def event_of(number: int, field: str) -> WebhookEvent:
    if number not in _EVENT_OF:
        raise InvalidArgument.at(field, "must be one of the events", value=number)
    return _EVENT_OF[number]


def status_of(number: int) -> WebhookStatus:
    """Returns ACTIVE for an unset one."""
    return _STATUS_OF.get(number, WebhookStatus.ACTIVE)


def state_of(number: int, field: str) -> DeliveryState:
    if number not in _STATE_OF:
        raise InvalidArgument.at(field, "must be one of the states", value=number)
    return _STATE_OF[number]


def webhook(record: WebhookRecord) -> pb.Webhook:
    return pb.Webhook(
        name=record.name,
        model=f"{MODELS}/{record.model}" if record.model_id else "",
        events=sorted(EVENT[event] for event in record.events),
        status=STATUS[record.status],
        url=record.url,
        has_secret=bool(record.secret),
        description=record.description,
        owner=record.owner.subject,
        create_time=_time(record.created),
        update_time=_time(record.updated),
        etag=record.etag,
    )


def delivery(record: DeliveryRecord) -> pb.Delivery:
    return pb.Delivery(
        name=str(DeliveryName(record.sink.removeprefix(f"{WEBHOOKS}/"), record.position)),
        event=EVENT[WebhookEvent(record.event)],
        model=f"{MODELS}/{record.model}",
        state=STATE[record.state],
        attempts=record.attempts,
        event_time=_time(record.happened),
        attempt_time=_time(record.tried),
        next_attempt_time=_time(record.due),
        status_code=record.status_code,
        reason=record.reason,
    )


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made
