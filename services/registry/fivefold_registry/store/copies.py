"""New versions in SQL: how a number is given out, and how a version is made from another one."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from fivefold_registry.lifecycle import Stage, VersionNotReady
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.blobs import claim
from fivefold_registry.store.change import Change, Ledger, changing
from fivefold_registry.store.records import EventType, VersionRecord, VersionStatus
from fivefold_registry.store.tables import files, models, versions
from fivefold_runtime.errors import NotFound
from fivefold_runtime.ids import new_id
from fivefold_runtime.sql import Database

#: What a copy has from its source.
_COPIED = (
    "description", "tags", "source", "external_uri", "run", "experiment", "training_set", "table_versions", "job",
    "feature_spec", "logged_model", "inputs", "outputs", "flavors", "digest",
)  # fmt: skip


def new_version(change: Change, **values: object) -> int:
    """Gives out the model's next number to a new version, in stage None; returns the number."""
    number = int(change.row.versions) + 1
    change.tx.execute(update(models).where(models.c.id == change.row.id).values(versions=number))
    row: dict[str, object] = {
        "model_id": change.row.id,
        "number": number,
        "stage": Stage.NONE,
        "sole": False,
        "status_message": "",
        "attempt": "",
        "beats": 0,
        "inputs": [],
        "outputs": [],
        "flavors": [],
        "digest": "",
        "external_uri": "",
        "copied_from": "",
        "creator": change.user,
        "created": change.now,
        "updated": change.now,
        "revision": 1,
    }
    change.tx.execute(insert(versions).values(row | values))
    return number


def copied(database: Database, ledger: Ledger, source: VersionName, destination: ModelName, user: str) -> VersionRecord:
    """Makes a version from another one; see VersionStore."""
    with changing(database, ledger, destination, user) as change:
        found = change.tx.execute(
            select(versions)
            .join(models, models.c.id == versions.c.model_id)
            .where(models.c.name == source.model, versions.c.number == source.number)
            # Held until the commit: the source is not deleted, and its contents not removed, while they get a new owner.
            .with_for_update(read=True, of=versions)
        ).one_or_none()
        if found is None:
            raise NotFound.of(str(source))
        if found.status != VersionStatus.READY:
            status = found.status.upper()
            raise VersionNotReady(f"{source} is {status}, not READY", name=source, status=status)
        kept = {name: getattr(found, name) for name in _COPIED}
        number = new_version(change, status=VersionStatus.READY, copier=new_id(), copied_from=str(source), **kept)
        owned = change.tx.execute(
            select(files.c.path, files.c.size, files.c.sha256).where(
                files.c.model_id == found.model_id, files.c.number == found.number
            )
        ).all()
        if owned:
            claim(change.tx, database.is_sqlite, {file.sha256 for file in owned})
            change.tx.execute(
                insert(files),
                [
                    {
                        "model_id": change.row.id,
                        "number": number,
                        "path": file.path,
                        "size": file.size,
                        "sha256": file.sha256,
                    }
                    for file in owned
                ],
            )
        change.event(EventType.MODEL_VERSION_CREATED, number, status=VersionStatus.READY)
        return change.record(number)
