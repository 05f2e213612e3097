"""Registered models in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from fivefold_registry.lifecycle import ACTIVE, Policy, Stage, StageNotAllowed, VersionInUse
from fivefold_registry.names import MODELS, ModelName, owner_of
from fivefold_registry.searches import Search
from fivefold_registry.store import aliases, searching
from fivefold_registry.store.change import Change, Ledger, changing, check_etag
from fivefold_registry.store.events import Written
from fivefold_registry.store.records import EventType, ModelChange, ModelRecord
from fivefold_registry.store.rows import Row, model_etag, model_of
from fivefold_registry.store.tables import models, versions
from fivefold_runtime import grants
from fivefold_runtime.clock import micros
from fivefold_runtime.errors import AlreadyExists, NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.masks import merged
from fivefold_runtime.paging import Key
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database


class SqlModels:
    """Keeps the promises of ModelStore."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

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
                "head": "",
                "stage_names": dict(policy.names),
            }
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            made = tx.execute(insert(models).values(row).on_conflict_do_nothing().returning(models.c.id)).first()
            if made is None:
                raise AlreadyExists(f"models/{model} exists already", name=f"models/{model}")
            grants.forget(tx, f"models/{model}")
            grants.own(tx, f"models/{model}", user)
            event = Written(type=EventType.REGISTERED_MODEL_CREATED, model_id=model_id, model=model, user=user)
            self._ledger.outbox.append(tx, event.type, event.key, event.payload())
        return self.get(ModelName(model))

    def get(self, name: ModelName) -> ModelRecord:
        with self._database.read() as tx:
            row = tx.execute(select(models).where(models.c.name == name.model)).one_or_none()
            if row is None:
                raise NotFound.of(str(name))
            return _whole(tx, [row])[0]

    def list(self, search: Search, after: Key | None, limit: int, authorizer: Authorizer) -> list[ModelRecord]:
        query = searching.models_query(search, after, self._database.is_sqlite).where(_readable(authorizer))
        with self._database.read() as tx:
            return _whole(tx, tx.execute(query.limit(limit)).all())

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
        with changing(self._database, self._ledger, name, user) as under:
            check_etag(etag, model_etag(under.row), name)
            values: dict[str, object] = {}
            if change.description is not None:
                values["description"] = change.description
            if change.tags is not None or change.tag_entries:
                present = under.row.tags if change.tags is None else change.tags
                values["tags"] = merged(present, change.tag_entries, "model.tags")
            if change.policy is not None:
                values |= _policy_values(under, change.policy)
            under.tx.execute(
                update(models).where(models.c.id == under.row.id).values(revision=models.c.revision + 1, **values)
            )
            under.event(EventType.REGISTERED_MODEL_UPDATED)
        return self.get(name)

    def rename(self, name: ModelName, new: ModelName, etag: str, user: str) -> ModelRecord:
        with changing(self._database, self._ledger, name, user) as under:
            check_etag(etag, model_etag(under.row), name)
            _check_unused(under, name)
            if new == name:
                raise AlreadyExists(f"{new} exists already", name=new)
            under.event(EventType.REGISTERED_MODEL_RENAMED, renamed=new.model)
            try:
                with under.tx.begin_nested():
                    under.tx.execute(
                        update(models)
                        .where(models.c.id == under.row.id)
                        .values(name=new.model, revision=models.c.revision + 1)
                    )
            except IntegrityError:
                raise AlreadyExists(f"{new} exists already", name=new) from None
            held = grants.of(under.tx, str(name), for_update=True)
            grants.forget(under.tx, str(name))
            grants.replace(under.tx, str(new), held)
        return self.get(new)

    def delete(self, name: ModelName, etag: str, user: str) -> None:
        with changing(self._database, self._ledger, name, user) as under:
            check_etag(etag, model_etag(under.row), name)
            _check_unused(under, name)
            under.event(EventType.REGISTERED_MODEL_DELETED, readers=grants.of(under.tx, str(name)))
            under.tx.execute(delete(models).where(models.c.id == under.row.id))
            grants.forget(under.tx, str(name))


def _check_unused(under: Change, name: ModelName) -> None:
    """Raises VersionInUse when a version is in Staging or Production."""
    used = under.tx.execute(
        select(versions.c.number)
        .where(versions.c.model_id == under.row.id, versions.c.stage.in_(ACTIVE))
        .order_by(versions.c.number)
    ).scalars().all()  # fmt: skip
    if used:
        listed = ", ".join(str(number) for number in used[:10])
        raise VersionInUse(
            f"{name} has versions in Staging or Production ({listed}); archive them first", name=name, versions=listed
        )


def _whole(tx: Connection, rows: Sequence[Row]) -> list[ModelRecord]:
    """Returns models with their newest versions and their aliases."""
    ids = [row.id for row in rows]
    latest, meaning = _latest(tx, ids), aliases.of_models(tx, ids)
    return [model_of(row, latest.get(row.id, ()), meaning.get(row.id, {})) for row in rows]


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
        "stage_names": dict(policy.names),
    }


def _latest(tx: Connection, model_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Returns the newest version of each stage, by model."""
    # One seek in the index per model and stage, however many versions a model has.
    each = versions.alias()
    newest = union_all(
        *(
            select(
                models.c.id.label("model_id"),
                select(func.max(each.c.number))
                .where(each.c.model_id == models.c.id, each.c.stage == stage)
                .scalar_subquery()
                .label("number"),
            ).where(models.c.id.in_(model_ids))
            for stage in Stage
        )
    ).subquery()
    query = (
        select(versions)
        .join(newest, and_(versions.c.model_id == newest.c.model_id, versions.c.number == newest.c.number))
        .order_by(versions.c.number)
    )
    found: dict[str, list[Row]] = {}
    for row in tx.execute(query):
        found.setdefault(row.model_id, []).append(row)
    return found
