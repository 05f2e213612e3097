"""Contents that versions share by digest, and when one may be removed.

The row of a content is the lock: whoever is about to need it inserts or locks its row, whoever removes it deletes the
row and the bytes in one transaction. So a removal either sees the new version's claim, or is over before the copy looks
for the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from sqlalchemy import Connection, delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.store.tables import blobs, files
from fivefold_runtime.sql import Database

_UNUSED = ~exists().where(files.c.sha256 == blobs.c.sha256)


def claim(tx: Connection, is_sqlite: bool, digests: Collection[str]) -> None:
    """Makes and locks the rows of contents that the running transaction's version refers to."""
    insert = sqlite.insert if is_sqlite else postgresql.insert
    statement = insert(blobs)
    # In one order, so that two copies never wait for each other in a circle. The update locks a row that is there.
    for digest in sorted(digests):
        tx.execute(
            statement.values(sha256=digest).on_conflict_do_update(
                index_elements=[blobs.c.sha256], set_={"sha256": statement.excluded.sha256}
            )
        )


class SqlBlobs:
    """Keeps the promises of BlobStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unused(self) -> list[str]:
        with self._database.read() as tx:
            return list(tx.execute(select(blobs.c.sha256).where(_UNUSED)).scalars())

    def remove(self, digests: Iterable[str], erase: Callable[[str], None]) -> None:
        for digest in digests:
            with self._database.write() as tx:
                # Locked by a statement of its own: only the next one sees what a claim, waited for here, committed.
                row = tx.execute(select(blobs.c.sha256).where(blobs.c.sha256 == digest).with_for_update()).first()
                # Without a row nothing was waited for, and what a claim makes meanwhile is not to be removed.
                if row is not None and tx.execute(delete(blobs).where(blobs.c.sha256 == digest, _UNUSED)).rowcount:
                    erase(digest)
