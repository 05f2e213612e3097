"""Webhooks in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, literal, or_, select, true, update

from fivefold_registry.names import MODELS, ModelName
from fivefold_registry.store.deliveries import lock
from fivefold_registry.store.outgoing import MOST, WebhookChange, WebhookRecord, WebhookStatus
from fivefold_registry.store.outgoing_tables import deliveries, webhooks
from fivefold_registry.store.rows import Row, moment
from fivefold_registry.store.tables import models
from fivefold_registry.webhooks.events import WebhookEvent
from fivefold_registry.webhooks.names import WEBHOOKS, webhook_of
from fivefold_runtime.calls import caller
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import Aborted, NotFound
from fivefold_runtime.levels import Level
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.principal import Principal
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import grants, outbox
from fivefold_runtime.validation import TooManyItems


class SqlWebhooks:
    """Keeps the promises of WebhookStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, webhook: str, model: ModelName | None, first: WebhookChange, owner: Principal) -> WebhookRecord:
        now = micros(self._database.clock.now())
        with self._database.write() as tx:
            model_id = None if model is None else _room(tx, model)
            row: dict[str, object] = {
                "id": webhook,
                "model_id": model_id,
                "events": [],
                "status": WebhookStatus.ACTIVE,
                "url": "",
                "secret": "",
                "description": "",
                "begin": _latest(tx),
                "created": now,
                "updated": now,
                "revision": 1,
            }
            tx.execute(insert(webhooks).values(row | _values(first) | _owned(owner)))
            return _record(_row(tx, webhook))

    def get(self, webhook: str) -> WebhookRecord:
        with self._database.read() as tx:
            return _record(_row(tx, webhook))

    def list(self, model: ModelName | None, after: str, limit: int, authorizer: Authorizer) -> list[WebhookRecord]:
        query = _all().where(webhooks.c.id > after, _manages(authorizer)).order_by(webhooks.c.id).limit(limit)
        if model is not None:
            query = query.where(models.c.name == model.model)
        with self._database.read() as tx:
            return [_record(row) for row in tx.execute(query)]

    def active(self, model_id: str) -> Sequence[WebhookRecord]:
        concerned = or_(webhooks.c.model_id == model_id, webhooks.c.model_id.is_(None))
        query = _all().where(concerned, webhooks.c.status == WebhookStatus.ACTIVE).order_by(webhooks.c.id)
        with self._database.read() as tx:
            return [_record(row) for row in tx.execute(query)]

    def update(self, webhook: str, change: WebhookChange, etag: str, owner: Principal) -> WebhookRecord:
        now = micros(self._database.clock.now())
        with self._database.write() as tx:
            present = _checked(tx, webhook, etag)
            values = _values(change) | _owned(owner) | {"updated": now, "revision": webhooks.c.revision + 1}
            if change.status is WebhookStatus.ACTIVE and present.status is not WebhookStatus.ACTIVE:
                lock(tx)
                values["begin"] = _latest(tx)  # What happened while it was not is not sent later.
                waiting = (deliveries.c.sink == present.name) & deliveries.c.due.is_not(None)
                tx.execute(update(deliveries).where(waiting).values(due=now))
            tx.execute(update(webhooks).where(webhooks.c.id == webhook).values(values))
            return _record(_row(tx, webhook))

    def delete(self, webhook: str, etag: str) -> None:
        with self._database.write() as tx:
            _checked(tx, webhook, etag)
            lock(tx)
            tx.execute(delete(webhooks).where(webhooks.c.id == webhook))
            tx.execute(delete(deliveries).where(deliveries.c.sink == f"{WEBHOOKS}/{webhook}"))

    def owner_of(self, name: str) -> str:
        if name == WEBHOOKS:
            return name
        webhook = webhook_of(name).webhook
        with self._database.read() as tx:
            row = tx.execute(_all().where(webhooks.c.id == webhook)).one_or_none()
        if row is None:
            raise NotFound.of(name)
        return WEBHOOKS if row.model_id is None else f"{MODELS}/{row.model}"


def _all() -> Select[tuple[object, ...]]:
    return select(webhooks, models.c.name.label("model")).join(models, models.c.id == webhooks.c.model_id, isouter=True)


def _row(tx: Connection, webhook: str, *, lock: bool = False) -> Row:
    query = _all().where(webhooks.c.id == webhook)
    row = tx.execute(query.with_for_update(of=webhooks) if lock else query).one_or_none()
    if row is None:
        raise NotFound.of(f"{WEBHOOKS}/{webhook}")
    return row


def _room(tx: Connection, model: ModelName) -> str:
    """Returns the id of a model that may have one webhook more, locked. Raises NotFound, TooManyItems."""
    row = tx.execute(select(models.c.id).where(models.c.name == model.model).with_for_update()).one_or_none()
    if row is None:
        raise NotFound.of(str(model))
    count = tx.execute(select(func.count()).where(webhooks.c.model_id == row.id)).scalar_one()
    if count >= MOST:
        why = f"is {model}, which has {count} webhooks; at most {MOST} are allowed"
        raise TooManyItems.at("webhook.model", why, limit=MOST, count=count)
    return row.id


def _latest(tx: Connection) -> int:
    """Returns the position of the last event."""
    return tx.execute(select(func.max(outbox.c.position))).scalar() or 0


def _checked(tx: Connection, webhook: str, etag: str) -> WebhookRecord:
    """Returns the webhook, locked. Raises Aborted for a stale etag."""
    present = _record(_row(tx, webhook, lock=True))
    if etag and etag != present.etag:
        raise Aborted(
            f"{present.name} was changed since its etag was read; read it again",
            name=present.name,
            given=etag,
            present=present.etag,
        )
    return present


def _manages(authorizer: Authorizer) -> ColumnElement[bool]:
    """Returns the condition that the caller manages a webhook: through its model, or as an administrator."""
    everywhere = authorizer.level(WEBHOOKS) >= Level.CAN_MANAGE
    if everywhere:
        return true()
    if authorizer.level(MODELS) >= Level.CAN_MANAGE:
        return webhooks.c.model_id.is_not(None)
    granted = (
        select(grants.c.level)
        .where(
            grants.c.resource == literal(f"{MODELS}/").concat(models.c.name),
            grants.c.principal.in_(caller().names()),
            grants.c.level >= Level.CAN_MANAGE,
        )
        .exists()
    )
    return and_(webhooks.c.model_id.is_not(None), granted)


def _values(change: WebhookChange) -> dict[str, object]:
    values: dict[str, object] = {
        name: value
        for name in ("status", "url", "secret", "description")
        if (value := getattr(change, name)) is not None
    }
    if change.events is not None:
        values["events"] = sorted(change.events)
    return values


def _owned(owner: Principal) -> dict[str, object]:
    return {"owner": owner.subject, "owner_groups": sorted(owner.groups)}


def _record(row: Row) -> WebhookRecord:
    return WebhookRecord(
        id=row.id,
        model_id=row.model_id,
        model=row.model or "",
        events=frozenset(WebhookEvent(event) for event in row.events),
        status=WebhookStatus(row.status),
        url=row.url,
        secret=row.secret,
        description=row.description,
        owner=Principal(row.owner, frozenset(row.owner_groups)),
        begin=row.begin,
        created=moment(row.created),
        updated=moment(row.updated),
        revision=row.revision,
    )
