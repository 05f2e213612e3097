"""Finds the model, and where one is named the version, that a list belongs to."""

from __future__ import annotations

from sqlalchemy import Connection, select

from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.rows import Row
from fivefold_registry.store.tables import models, versions
from fivefold_runtime.errors import NotFound


def model_and_version(tx: Connection, model: str, number: int | None) -> Row:
    """Returns the model's row. Raises NotFound of the model, or of the version when `number` is not None."""
    row = tx.execute(select(models).where(models.c.name == model)).one_or_none()
    if number is None:
        if row is None:
            raise NotFound.of(str(ModelName(model)))
        return row
    known = (
        row is not None
        and tx.execute(
            select(versions.c.number).where(versions.c.model_id == row.id, versions.c.number == number)
        ).one_or_none()
    )
    if not known:
        raise NotFound.of(str(VersionName(model, number)))
    return row
