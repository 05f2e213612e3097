"""Online values in Redis (6.2 or newer): one hash per table, its fields packed keys, its values packed rows.

A field of the empty name, which no key has, says that the table is online and of which base. Rows are compared and
set by a script, so that the newest wins whichever server writes first. What comes online or takes the place of
something is built beside and renamed over, so that a server that dies halfway leaves no table with half of its keys.
One Redis, or a replicated one behind one address; this client follows no cluster's redirections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from fivefold_features.online import Published, Rows
from fivefold_runtime.faults import StorageFull, StoreUnavailable
from fivefold_runtime.ids import new_id
from fivefold_runtime.settings import StartError

_BATCH = 1000  # rows of one script
_SECONDS = 5.0  # longest wait for an answer
_DRAFT_SECONDS = 3600  # after which a draft that was never finished is gone

# ARGV: base, then key, row, ... Returns how many were written, or -1 when the table has another base or is not online.
_MERGE = """
if redis.call('HGET', KEYS[1], '') ~= ARGV[1] then return -1 end
local function newer(a, b)
  for i = 1, 24 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return true
end
local written = 0
for i = 2, #ARGV, 2 do
  local present = redis.call('HGET', KEYS[1], ARGV[i])
  if not present or newer(ARGV[i + 1], present) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    written = written + 1
  end
end
return written
"""
# KEYS: draft, table. ARGV: base, whether to replace the same base (1 or 0). Returns 1 when the draft took the table's
# place, 0 when the draft is gone, or what is there must stay: it has a newer base, or came with the same one meanwhile.
_SWAP = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local base = redis.call('HGET', KEYS[2], '')
if base and (tonumber(base) > tonumber(ARGV[1]) or (base == ARGV[1] and ARGV[2] == '0')) then
  redis.call('UNLINK', KEYS[1])
  return 0
end
redis.call('PERSIST', KEYS[1])
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
"""


class RedisOnline:
    """An `OnlineStore` in one Redis, shared by all servers that name it."""

    def __init__(self, url: str) -> None:
        """Connects when first used. Raises StartError for a URL that is none."""
        try:
            self._redis = redis.Redis.from_url(
                url,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                health_check_interval=30,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
                retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            )
        except ValueError:
            raise StartError("--online is no Redis URL; it must have the form redis://HOST:PORT/DB.") from None
        self._merge = self._redis.register_script(_MERGE)
        self._swap = self._redis.register_script(_SWAP)

    def read(self, table: str, keys: Sequence[bytes | None]) -> list[bytes | None] | None:
        with _mapped():
            asked = [b"", *(key for key in keys if key is not None)]
            answer: Any = self._redis.hmget(_name(table), asked)
        base, *rows = answer
        if base is None:
            return None
        if len(rows) == len(keys):
            return rows
        found = iter(rows)
        return [None if key is None else next(found) for key in keys]

    def write(self, table: str, base: int, rows: Rows, *, replace: bool) -> Published:
        name = _name(table)
        with _mapped():
            while True:
                online: Any = self._redis.hget(name, "")
                if online is not None and int(online) > base:
                    return Published(0, self._total(name))
                if replace or online is None or int(online) < base:
                    written = self._replaced(name, base, rows, replace)
                else:
                    written = self._merged(name, base, rows)
                if written is not None:  # Otherwise what is online changed meanwhile: look again.
                    return Published(written, self._total(name))

    def _merged(self, name: str, base: int, rows: Rows) -> int | None:
        """Merges and returns how many rows were written; None when that base is not online any more."""
        written = 0
        for batch in _batches(rows):
            done = self._merge(keys=[name], args=[base, *batch])
            if done < 0:
                return None
            written += done
        return written

    def _replaced(self, name: str, base: int, rows: Rows, same_base: bool) -> int | None:
        """Puts these rows alone online and returns how many; None when the table has to be looked at again."""
        draft = f"{name}:draft:{new_id()}"
        self._redis.hset(draft, "", base)
        self._redis.expire(draft, _DRAFT_SECONDS)
        written = self._merged(draft, base, rows)
        if written is None or not self._swap(keys=[draft, name], args=[base, int(same_base)]):
            return None
        return written

    def drop(self, table: str) -> None:
        with _mapped():
            self._redis.unlink(_name(table))

    def close(self) -> None:
        self._redis.close()

    def _total(self, name: str) -> int:
        total: Any = self._redis.hlen(name)
        return max(0, total - 1)


def _name(table: str) -> str:
    return f"fivefold:online:{{{table}}}"


def _batches(rows: Rows) -> Iterator[list[bytes]]:
    for start in range(0, len(rows), _BATCH):
        yield [part for row in rows[start : start + _BATCH] for part in row]


@contextmanager
def _mapped() -> Iterator[None]:
    """Turns what Redis raises into StorageFull and StoreUnavailable."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        raise StorageFull("the online store is full; reads go on") from error
    except redis.ResponseError as error:
        if "OOM" in str(error):
            raise StorageFull("the online store is full; reads go on") from error
        raise
    except redis.RedisError as error:
        raise StoreUnavailable("the online store does not answer at the moment", retry_after=1.0) from error
