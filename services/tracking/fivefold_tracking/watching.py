"""Streams of points to those who watch a run: each sees every point once, in the order of logging.

Writes of this process wake their watchers; writes of other replicas are found by looking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from fivefold_runtime import calls
from fivefold_tracking.bell import Bell
from fivefold_tracking.store.protocol import MetricStore
from fivefold_tracking.store.records import Fresh

_MOST = 20_000  # points in one message
_SIGN_OF_LIFE = 5.0  # seconds between two messages at the most, well below the promised 10
_LOOK = 0.5  # seconds between two looks for writes of other replicas, and whether the stream should end
_LOOKS = 100.0  # that all watchers together take in a second of steady writes


def follow(
    store: MetricStore,
    bell: Bell,
    run: str,
    keys: Sequence[str],
    seen: Mapping[str, int],
    only_new: bool,
    check: Callable[[], None],
) -> Iterator[Fresh]:
    """Yields what a watcher has not seen, at once and then whenever there is something to say.

    keys  only these metrics; empty: all
    seen  how many points of each metric it has received; with `only_new` it counts as having received all there are,
          which the first answer's `seen` then tells
    check raises where the caller may not read any more; asked before each message

    Ends only by what it raises, NotFound when the run is gone, ShuttingDown, or DeadlineExceeded, also for a watcher that went away.
    """
    with bell.listening(run) as rung:
        known = dict(seen)
        if only_new:
            known = {key: count for key, count in store.counts(run).items() if not keys or key in keys}
            yield Fresh((), dict(known), store.since(run, keys, known, 0).status)
        said, status = 0.0, None
        while True:
            calls.check()
            rung.clear()
            fresh = store.since(run, keys, known, _MOST)
            known.update(fresh.seen)
            now = time.monotonic()
            if fresh.series or fresh.status is not status or now - said >= _SIGN_OF_LIFE:
                check()
                yield fresh
                said, status = now, fresh.status
            if sum(map(len, fresh.series)) < _MOST and rung.wait(_LOOK):
                # A pause after each wake, longer the more there are that watch: a thousand writes in a second are no
                # thousand looks of each.
                time.sleep(min(_LOOK, bell.listeners / _LOOKS))
