"""Registered models in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.lifecycle import ACTIVE, Policy, Stage, StageNotAllowed
from fivefold_registry.names import MODELS, ModelName, owner_of
from fivefold_registry.store.change import Change, changing, check_etag
from fivefold_registry.store.events import Written
from fivefold_registry.store.records import EventType, ModelChange, ModelRecord
from fivefold_registry.store.rows import Row, model_of
from fivefold_registry.store.tables import models, versions
from fivefold_runtime import grants
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import AlreadyExists, FailedPrecondition, NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database


class VersionInUse(FailedPrecondition):
    """A version in Staging or Production stands in the way."""

    reason = "VERSION_IN_USE"


class SqlModels:
    """Keeps the promises of ModelStore."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def create(self, model: str, first: ModelChange, user: str) -> ModelRecord:
        policy = first.policy or Policy()
        now = micros(self._database.clock.now())
        with self._database.write() as tx:
            model_id = new_id()
            row = {
                "id": model_id,
                "name": model,
                "description": first.description or "",
                "tags": dict(first.tags or {}),
                "one_production": policy.one_production,
                "stepwise": policy.stepwise,
                "no_self_approval": policy.no_self_approval,
                "creator": user,
                "created": now,
                "updated": now,
                "revision": 1,
                "versions": 0,
                "activities": 0,
            }
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            made = tx.execute(insert(models).values(row).on_conflict_do_nothing().returning(models.c.id)).first()
            if made is None:
                raise AlreadyExists(f"models/{model} exists already", name=f"models/{model}")
            grants.forget(tx, f"models/{model}")
            grants.own(tx, f"models/{model}", user)
            event = Written(type=EventType.REGISTERED_MODEL_CREATED, model_id=model_id, model=model, user=user)
            self._outbox.append(tx, event.type, event.key, event.payload())
        return self.get(ModelName(model))

    def get(self, name: ModelName) -> ModelRecord:
        with self._database.read() as tx:
            row = tx.execute(select(models).where(models.c.name == name.model)).one_or_none()
            if row is None:
                raise NotFound.of(str(name))
            return model_of(row, _latest(tx, [row.id]).get(row.id, ()))

    def list(self, after: str, limit: int, authorizer: Authorizer) -> list[ModelRecord]:
        query = select(models).where(models.c.name > after, _readable(authorizer)).order_by(models.c.name).limit(limit)
        with self._database.read() as tx:
            rows = tx.execute(query).all()
            latest = _latest(tx, [row.id for row in rows])
        return [model_of(row, latest.get(row.id, ())) for row in rows]

    def readable(self, model_ids: Sequence[str], authorizer: Authorizer) -> frozenset[str]:
        query = select(models.c.id).where(models.c.id.in_(model_ids), _readable(authorizer))
        with self._database.read() as tx:
            return frozenset(tx.execute(query).scalars())

    def owner_of(self, name: str) -> str:
        owner = owner_of(name)
        if owner == MODELS:
            return owner
        model = ModelName.parse(owner).model
        with self._database.read() as tx:
            if tx.execute(select(models.c.id).where(models.c.name == model)).one_or_none() is None:
                raise NotFound.of(name)
        return owner

    def update(self, name: ModelName, change: ModelChange, etag: str, user: str) -> ModelRecord:
        with changing(self._database, self._outbox, name, user) as under:
            check_etag(etag, model_of(under.row).etag, name)
            values: dict[str, object] = {}
            if change.description is not None:
                values["description"] = change.description
            if change.tags is not None:
                values["tags"] = dict(change.tags)
            if change.policy is not None:
                values |= _policy_values(under, change.policy)
            under.tx.execute(
                update(models).where(models.c.id == under.row.id).values(revision=models.c.revision + 1, **values)
            )
            under.event(EventType.REGISTERED_MODEL_UPDATED)
        return self.get(name)

    def delete(self, name: ModelName, etag: str, user: str) -> None:
        with changing(self._database, self._outbox, name, user) as under:
            check_etag(etag, model_of(under.row).etag, name)
            used = under.tx.execute(
                select(versions.c.number)
                .where(versions.c.model_id == under.row.id, versions.c.stage.in_(ACTIVE))
                .order_by(versions.c.number)
            ).scalars().all()  # fmt: skip
            if used:
                listed = ", ".join(str(number) for number in used[:10])
                raise VersionInUse(
                    f"{name} has versions in Staging or Production ({listed}); archive them first",
                    name=name,
                    versions=listed,
                )
            under.event(EventType.REGISTERED_MODEL_DELETED, readers=grants.of(under.tx, str(name)))
            under.tx.execute(delete(models).where(models.c.id == under.row.id))
            grants.forget(under.tx, str(name))


def _readable(authorizer: Authorizer) -> ColumnElement[bool]:
    return authorizer.may_read(literal(f"{MODELS}/").concat(models.c.name))


def _policy_values(under: Change, policy: Policy) -> dict[str, object]:
    """Returns the columns of a policy, having marked the Production version for the index that backs it.

    Raises StageNotAllowed when one Production version is asked for while there are several.
    """
    in_production = and_(versions.c.model_id == under.row.id, versions.c.stage == Stage.PRODUCTION)
    numbers = (
        under.tx.execute(select(versions.c.number).where(in_production).order_by(versions.c.number)).scalars().all()
    )
    if policy.one_production and len(numbers) > 1:
        listed = ", ".join(str(number) for number in numbers[:10])
        raise StageNotAllowed(
            f"versions {listed} are in Production; the policy allows one. Archive the others first",
            rule="one_production",
            versions=listed,
        )
    under.tx.execute(update(versions).where(in_production).values(sole=policy.one_production))
    return {
        "one_production": policy.one_production,
        "stepwise": policy.stepwise,
        "no_self_approval": policy.no_self_approval,
    }


def _latest(tx: Connection, model_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Returns the newest version of each stage, by model."""
    newest = (
        select(versions.c.model_id, func.max(versions.c.number).label("number"))
        .where(versions.c.model_id.in_(model_ids))
        .group_by(versions.c.model_id, versions.c.stage)
        .subquery()
    )
    query = (
        select(versions)
        .join(newest, and_(versions.c.model_id == newest.c.model_id, versions.c.number == newest.c.number))
        .order_by(versions.c.number)
    )
    found: dict[str, list[Row]] = {}
    for row in tx.execute(query):
        found.setdefault(row.model_id, []).append(row)
    return found
