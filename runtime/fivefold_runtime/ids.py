"""Identifiers: 32 lower-case hex digits of a UUIDv7 (RFC 9562), so newer ids sort after older ones.

Ids made in one process never repeat and never go backwards, even when the clock does.
"""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Returns 32 hex digits: 48 bits of milliseconds, then a counter seeded at random, then 62 random bits."""
    global _last
    with _lock:
        # The upper 60 bits (time and 12 random bits) only ever grow; a tie or a clock set back counts on by one.
        fresh = (time.time_ns() // 1_000_000) << 12 | int.from_bytes(os.urandom(2)) & 0x7FF
        _last = max(fresh, _last + 1)
        head = _last
    tail = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    number = (head >> 12) << 80 | 0x7 << 76 | (head & 0xFFF) << 64 | 0b10 << 62 | tail
    return f"{number:032x}"
