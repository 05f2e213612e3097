"""The entries of artifacts in SQL: files and the folders that they lie in, one row each.

A content's row in `blobs` is the lock between who enters a file with it and who removes its bytes: an entry is made
only where the bytes are there while that row is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, true

from fivefold_runtime.errors import NotFound
from fivefold_runtime.sql import Database
from fivefold_tracking import paths
from fivefold_tracking.names import is_model_id, parent_name
from fivefold_tracking.store.finding import Found, find
from fivefold_tracking.store.logged_models import FoundModel, find_model
from fivefold_tracking.store.records import ArtifactRecord, Key, Page
from fivefold_tracking.store.tables import artifacts, blobs
from fivefold_tracking.store.upsert import insert

_AFTER_SLASH = chr(ord("/") + 1)
_UNUSED = ~exists().where(artifacts.c.sha256 == blobs.c.sha256)


class SqlArtifactStore:
    """Keeps the promises of ArtifactStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, parent: str, path: str, size: int, sha256: str, now: int, is_stored: Callable[[], bool]
    ) -> ArtifactRecord | None:
        def work(tx: Connection) -> ArtifactRecord | None:
            find_parent(tx, parent, lock=True).check_active()
            content = insert(tx, blobs).values(sha256=sha256, size=size, created=now)
            # The update changes nothing; it takes the lock of a row that is there, after whoever is removing it.
            tx.execute(content.on_conflict_do_update(index_elements=[blobs.c.sha256], set_={"size": size}))
            if not is_stored():
                return None
            for folder in paths.folders(path):
                _enter(tx, parent, folder, None, now)
            _enter(tx, parent, path, sha256, now)
            return ArtifactRecord(path, size, sha256)

        return self._database.run(work)

    def check_writable(self, parent: str) -> None:
        with self._database.read() as tx:
            find_parent(tx, parent, lock=False).check_active()

    def get(self, parent: str, path: str) -> ArtifactRecord:
        query = select(artifacts.c.path, artifacts.c.sha256, blobs.c.size).join(
            blobs, artifacts.c.sha256 == blobs.c.sha256
        )
        with self._database.read() as tx:
            find_parent(tx, parent, lock=False)
            row = tx.execute(query.where(artifacts.c.parent == parent, artifacts.c.path == path)).first()
        if row is None:
            raise NotFound.of(f"{parent_name(parent)}/{path}")
        return _record(*row)

    def list(self, parent: str, folder: str, *, recursive: bool, after: Key | None, limit: int) -> Page[ArtifactRecord]:
        query = select(artifacts.c.path, artifacts.c.sha256, blobs.c.size).join_from(
            artifacts, blobs, artifacts.c.sha256 == blobs.c.sha256, isouter=True
        )
        query = query.where(artifacts.c.parent == parent)
        if not recursive:
            query = query.where(artifacts.c.folder == folder)
        else:
            query = query.where(artifacts.c.sha256.is_not(None), true() if folder == paths.TOP else _below(folder))
        if after is not None:
            query = query.where(artifacts.c.path > after[0])
        with self._database.read() as tx:
            find_parent(tx, parent, lock=False)
            rows = tx.execute(query.order_by(artifacts.c.path).limit(limit + 1)).all()
        page = tuple(_record(*row) for row in rows[:limit])
        return Page(page, (page[-1].path,) if len(rows) > limit else None)

    def delete(self, parent: str, path: str) -> None:
        with self._database.write() as tx:
            find_parent(tx, parent, lock=True).check_active()
            gone = delete(artifacts).where(artifacts.c.parent == parent, or_(artifacts.c.path == path, _below(path)))
            if not tx.execute(gone).rowcount:
                raise NotFound.of(f"{parent_name(parent)}/{path}")
            for folder in reversed(paths.folders(path)):
                inside = select(artifacts.c.path).where(artifacts.c.parent == parent, artifacts.c.folder == folder)
                if tx.execute(inside.limit(1)).first() is not None:
                    break
                tx.execute(delete(artifacts).where(artifacts.c.parent == parent, artifacts.c.path == folder))

    def unused(self, after: str, limit: int) -> Sequence[str]:
        query = select(blobs.c.sha256).where(blobs.c.sha256 > after, _UNUSED).order_by(blobs.c.sha256).limit(limit)
        with self._database.read() as tx:
            return tx.execute(query).scalars().all()

    def know(self, contents: Mapping[str, int], now: int) -> None:
        rows = [{"sha256": sha256, "size": size, "created": now} for sha256, size in sorted(contents.items())]
        if rows:
            self._database.run(lambda tx: tx.execute(insert(tx, blobs).on_conflict_do_nothing(), rows))

    def unknown(self, digests: Sequence[str]) -> set[str]:
        with self._database.read() as tx:
            return set(digests) - set(tx.execute(select(blobs.c.sha256).where(blobs.c.sha256.in_(digests))).scalars())

    def remove(self, sha256: str, erase: Callable[[], None]) -> bool:
        def work(tx: Connection) -> bool:
            # Locked by a statement of its own: only the next one sees what an entry, waited for here, committed.
            held = tx.execute(select(blobs.c.sha256).where(blobs.c.sha256 == sha256).with_for_update()).first()
            if held is None or not tx.execute(delete(blobs).where(blobs.c.sha256 == sha256, _UNUSED)).rowcount:
                return False
            erase()
            return True

        return self._database.run(work)


def find_parent(tx: Connection, parent: str, *, lock: bool) -> Found | FoundModel:
    """Returns the run or logged model that artifacts belong to; with `lock` nobody else changes it. Raises NotFound."""
    return find_model(tx, parent, lock=lock) if is_model_id(parent) else find(tx, parent, lock=lock)


def _below(folder: str) -> ColumnElement[bool]:
    """Returns the condition that a path lies below a folder."""
    return and_(artifacts.c.path > f"{folder}/", artifacts.c.path < f"{folder}{_AFTER_SLASH}")


def _enter(tx: Connection, parent: str, path: str, sha256: str | None, now: int) -> None:
    """Enters a file, or a folder without a digest. Raises PathTaken where the other kind is."""
    there = tx.execute(select(artifacts.c.sha256).where(artifacts.c.parent == parent, artifacts.c.path == path)).first()
    if there is not None and (there.sha256 is None) != (sha256 is None):
        kind, name = "folder" if there.sha256 is None else "file", parent_name(parent)
        raise paths.PathTaken(f"{path!r} is a {kind} of {name}", parent=name, path=path, kind=kind)
    if there is not None and sha256 is None:
        return
    row = {"parent": parent, "path": path, "folder": paths.parent(path), "sha256": sha256, "created": now}
    statement = insert(tx, artifacts).values(row)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[artifacts.c.parent, artifacts.c.path],
            set_={"sha256": statement.excluded.sha256, "created": statement.excluded.created},
        )
    )


def _record(path: str, sha256: str | None, size: int | None) -> ArtifactRecord:
    return ArtifactRecord(path, size or 0, sha256 or "")
