"""Grants: who has which level on a resource, in the service's own database.

Levels include those below them. Stores call `own` in the transaction that creates a resource, `forget` in the one that
deletes it for good. Administrators and the principals of the setting `standing_levels` have theirs on every resource.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from fivefold_runtime.calls import caller
from fivefold_runtime.levels import Level
from fivefold_runtime.principal import Principal
from fivefold_runtime.tables import grants


def own(tx: Connection, resource: str, subject: str | None = None) -> None:
    """Lets the creator of a resource manage it. `subject` is the caller unless said otherwise."""
    tx.execute(insert(grants).values(resource=resource, principal=subject or caller().subject, level=Level.CAN_MANAGE))


def forget(tx: Connection, resource: str) -> None:
    """Takes away all grants of a resource that is gone, so that the next one of that name begins anew."""
    tx.execute(delete(grants).where(grants.c.resource == resource))


def level_of(tx: Connection, resource: str, principal: Principal) -> Level:
    """Returns the highest level that the principal or one of its groups was granted."""
    found = tx.execute(
        select(func.max(grants.c.level)).where(grants.c.resource == resource, grants.c.principal.in_(principal.names()))
    ).scalar()
    return Level(found or 0)


def among(tx: Connection, resources: Sequence[str], principal: Principal) -> set[str]:
    """Returns those of the resources that the principal was granted CAN_READ or more on."""
    if not resources:
        return set()
    query = select(grants.c.resource).where(grants.c.resource.in_(resources), grants.c.principal.in_(principal.names()))
    return set(tx.execute(query).scalars())


def of(tx: Connection, resource: str, *, for_update: bool = False) -> dict[str, Level]:
    """Returns all grants of a resource, by principal. `for_update` keeps others from changing them until the commit."""
    query = select(grants.c.principal, grants.c.level).where(grants.c.resource == resource).order_by(grants.c.principal)
    if for_update:
        query = query.with_for_update()
    return {principal: Level(level) for principal, level in tx.execute(query)}


def replace(tx: Connection, resource: str, levels: dict[str, Level]) -> None:
    """Sets all grants of a resource."""
    forget(tx, resource)
    if levels:
        tx.execute(
            insert(grants), [{"resource": resource, "principal": p, "level": int(level)} for p, level in levels.items()]
        )
