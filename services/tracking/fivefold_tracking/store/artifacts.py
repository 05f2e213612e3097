"""The entries of artifacts in SQL: files and the folders that they lie in, one row each."""

from __future__ import annotations

from sqlalchemy import Connection, and_, select, true

from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database
from fivefold_tracking import paths
from fivefold_tracking.names import run_name
from fivefold_tracking.store.records import ArtifactRecord, Key, Page
from fivefold_tracking.store.runs import find
from fivefold_tracking.store.tables import artifacts, blobs, runs
from fivefold_tracking.store.upsert import insert

_AFTER_SLASH = chr(ord("/") + 1)


class SqlArtifactStore:
    """Keeps the promises of ArtifactStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, run: str, path: str, size: int, sha256: str, now: int) -> ArtifactRecord:
        def work(tx: Connection) -> ArtifactRecord:
            find(tx, run, lock=True).check_active()
            tx.execute(insert(tx, blobs).values(sha256=sha256, size=size, created=now).on_conflict_do_nothing())
            for folder in paths.folders(path):
                _enter(tx, run, folder, None, now)
            _enter(tx, run, path, sha256, now)
            return ArtifactRecord(path, size, sha256)

        return self._database.run(work)

    def check_writable(self, run: str) -> None:
        with self._database.read() as tx:
            find(tx, run, lock=False).check_active()

    def is_stored(self, sha256: str) -> bool:
        with self._database.read() as tx:
            return tx.execute(select(blobs.c.sha256).where(blobs.c.sha256 == sha256)).first() is not None

    def get(self, run: str, path: str) -> ArtifactRecord:
        query = select(artifacts.c.path, artifacts.c.sha256, blobs.c.size).join(
            blobs, artifacts.c.sha256 == blobs.c.sha256
        )
        with self._database.read() as tx:
            row = tx.execute(query.where(artifacts.c.run == run, artifacts.c.path == path)).first()
        if row is None:
            raise NotFound.of(f"{run_name(run)}/{path}")
        return _record(*row)

    def list(self, run: str, folder: str, *, recursive: bool, after: Key | None, limit: int) -> Page[ArtifactRecord]:
        query = select(artifacts.c.path, artifacts.c.sha256, blobs.c.size).join_from(
            artifacts, blobs, artifacts.c.sha256 == blobs.c.sha256, isouter=True
        )
        query = query.where(artifacts.c.run == run)
        if not recursive:
            query = query.where(artifacts.c.folder == folder)
        else:
            below = and_(artifacts.c.path > f"{folder}/", artifacts.c.path < f"{folder}{_AFTER_SLASH}")
            query = query.where(artifacts.c.sha256.is_not(None), true() if folder == paths.TOP else below)
        if after is not None:
            query = query.where(artifacts.c.path > after[0])
        with self._database.read() as tx:
            if tx.execute(select(runs.c.id).where(runs.c.id == run)).first() is None:
                raise NotFound.of(run_name(run))
            rows = tx.execute(query.order_by(artifacts.c.path).limit(limit + 1)).all()
        page = tuple(_record(*row) for row in rows[:limit])
        return Page(page, (page[-1].path,) if len(rows) > limit else None)


def _enter(tx: Connection, run: str, path: str, sha256: str | None, now: int) -> None:
    """Enters a file, or a folder without a digest. Raises PathTaken where the other kind is."""
    there = tx.execute(select(artifacts.c.sha256).where(artifacts.c.run == run, artifacts.c.path == path)).first()
    if there is not None and (there.sha256 is None) != (sha256 is None):
        kind = "folder" if there.sha256 is None else "file"
        raise paths.PathTaken(f"{path!r} is a {kind} of {run_name(run)}", run=run_name(run), path=path, kind=kind)
    if there is not None and sha256 is None:
        return
    statement = insert(tx, artifacts).values(run=run, path=path, folder=paths.parent(path), sha256=sha256, created=now)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[artifacts.c.run, artifacts.c.path],
            set_={"sha256": statement.excluded.sha256, "created": statement.excluded.created},
        )
    )


def _record(path: str, sha256: str | None, size: int | None) -> ArtifactRecord:
    return ArtifactRecord(path, size or 0, sha256 or "")
