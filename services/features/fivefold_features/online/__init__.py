"""The newest values by key: what an online store promises. `sqlite.py` and `redis.py` keep it.

A store knows tables by uid and keeps one packed row (packing.py) per packed key. Of two rows of one key the one with
the greater rank, the row's first RANK_BYTES, stays, whoever writes first: newest event, then last written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fivefold_runtime.settings import StartError

Rows = Sequence[tuple[bytes, bytes]]  # (packed key, packed row)


@dataclass(frozen=True, slots=True)
class Published:
    """What a write did: keys that it wrote, and keys that are online after it."""

    keys_written: int
    keys_total: int


class OnlineStore(Protocol):
    """Safe for use by many threads, and a shared one by many servers. Raises StoreUnavailable, StorageFull."""

    def read(self, table: str, keys: Sequence[bytes | None]) -> list[bytes | None] | None:
        """Returns the row of each key, None where there is none; None alone when the table is not online."""
        ...

    def write(self, table: str, base: int, rows: Rows, *, replace: bool) -> Published:
        """Puts rows online.

        base     number of the OVERWRITE that the rows stem from (TableRecord.base). Rows of an older base than what
                 is online change nothing; those of a newer one take the place of everything
        replace  also takes the place of everything, at the same base

        A key keeps a row of greater rank, unless everything is replaced. A table comes online, and is replaced, whole
        or not at all: readers see nothing between, and neither does a server that dies leave it.
        """
        ...

    def drop(self, table: str) -> None:
        """Takes a table offline."""
        ...

    def close(self) -> None: ...


def open_store(url: str, file: str) -> OnlineStore:
    """Opens redis://… or rediss://…, or for "" the SQLite `file`. Raises StartError."""
    if not url:
        from fivefold_features.online.sqlite import SqliteOnline

        return SqliteOnline(file)
    if url.startswith(("redis://", "rediss://")):
        try:
            from fivefold_features.online.redis import RedisOnline
        except ModuleNotFoundError:
            raise StartError(
                "online values in Redis need the package redis: pip install 'fivefold-features[redis]'."
            ) from None
        return RedisOnline(url)
    raise StartError("--online must be empty (SQLite in the data folder) or redis://HOST:PORT/DB.")
