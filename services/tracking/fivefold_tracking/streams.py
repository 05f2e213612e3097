"""Streams of points: what arrives while one write is under way is written together by the next.

A thread of the stream's own reads ahead, within bounds: beyond them it stops reading, and the client has to wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from fivefold_runtime import calls
from fivefold_tracking.store.protocol import MetricStore
from fivefold_tracking.store.records import Part

_PARTS = 64  # messages of one stream that wait to be written
_WRITE = 20_000  # points of one write, or its only message's, so that other calls' writes get in between
_WAITING = 1_000_000  # points' worth of memory that waits to be written, of all streams, besides one message of each
_WAIT = 1.0  # seconds between two looks whether the stream should end


class Room:
    """What the streams of a server may hold in memory together."""

    def __init__(self, most: int = _WAITING) -> None:
        """most  points' worth of memory"""
        self._left = most
        self._changed = threading.Condition()

    def take(self, points: int, seconds: float, must: Callable[[], bool]) -> bool:
        """Waits until there is room, or who asks `must` have it all the same; says whether it has been taken."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= points or must(), seconds):
                return False
            self._left -= points
            return True

    def give(self, points: int) -> None:
        with self._changed:
            self._left += points
            self._changed.notify_all()


class Inbox:
    """The messages of one stream that are not on disk. One thread puts them in, another takes them out."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._changed = threading.Condition()
        self._waiting: deque[Part] = deque()
        self._taken = 0  # points' worth of memory that is being written
        self._over = self._closed = False
        self._error: BaseException | None = None

    def fill(self, parts: Iterator[Part]) -> None:
        """Puts in everything that comes, and how it ended, until the inbox is closed."""
        try:
            for part in parts:
                if not self._put(part):
                    return
        except BaseException as error:  # Whatever it was: it is raised where the stream is answered.
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def take(self) -> list[Part] | None:
        """Returns what one write may hold; nothing where nothing came for a second, None where nothing follows.

        What was taken before is done with. Raises what ended the stream, after everything that came before it.
        """
        self._release()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over, _WAIT)
            taken: list[Part] = []
            points = 0
            while self._waiting and (not taken or points + self._waiting[0].size <= _WRITE):
                taken.append(self._waiting.popleft())
                points += taken[-1].size
                self._taken += taken[-1].weight
            self._changed.notify_all()
            if taken or not self._over:
                return taken
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Gives up what waits, and tells who fills it to stop."""
        self._release()
        with self._changed:
            self._closed = True
            self._room.give(sum(part.weight for part in self._waiting))
            self._waiting.clear()
            self._changed.notify_all()

    def _put(self, part: Part) -> bool:
        # A stream that holds nothing always gets room for a message: those that never end cannot stop the others.
        while not self._room.take(part.weight, _WAIT, must=lambda: not self._waiting and not self._taken):
            if self._closed:
                return False
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < _PARTS)
            if self._closed:
                self._room.give(part.weight)
                return False
            self._waiting.append(part)
            self._changed.notify_all()
            return True

    def _release(self) -> None:
        done, self._taken = self._taken, 0
        self._room.give(done)


def receive(
    store: MetricStore, room: Room, parts: Iterator[Part], run: str, stream: str, check: Callable[[], None]
) -> Iterator[int]:
    """Writes a stream to its end; yields up to which sequence number it is on disk, at once and after each write.

    check  raises where the caller may not write any more; asked before each write

    Raises what the store, the parts or the check raise, ShuttingDown, DeadlineExceeded.
    """
    yield store.acknowledged(run, stream)
    inbox = Inbox(room)
    threading.Thread(target=inbox.fill, args=[parts], name="stream-reader", daemon=True).start()
    try:
        while (taken := inbox.take()) is not None:
            calls.check()
            if taken:
                check()
                yield store.append(run, stream, taken)
    finally:
        inbox.close()
