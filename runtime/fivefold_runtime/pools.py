"""Thread pools that refuse instead of queueing without end.

Unary calls, streams and health run on pools of their own, so that hundreds of open streams never starve a unary call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def run_on(pool: ThreadPoolExecutor, behaviour: Any) -> None:
    """Makes grpcio run a handler's behaviour on this pool instead of the server's."""
    behaviour.experimental_thread_pool = pool


class BoundedPool(ThreadPoolExecutor):
    """A pool that knows how much it has taken on.

    taken  pieces of work that run or wait
    `full` says whether `most` pieces of work run or wait. grpcio asks for a handler and then submits to the handler's
    pool on one thread, so whoever asks `full` while giving out handlers keeps the bound.
    """

    def __init__(self, threads: int, most: int, name: str) -> None:
        super().__init__(max_workers=threads, thread_name_prefix=name)
        self._most = most
        self.taken = 0
        self._counting = threading.Lock()

    @property
    def full(self) -> bool:
        return self.taken >= self._most

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._counting:
            self.taken += 1
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: Future[Any]) -> None:
        with self._counting:
            self.taken -= 1
