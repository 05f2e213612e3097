"""What one promotion costs as versions, activities and watchers grow, and how soon 200 watchers know of it.

The limit of the second is the same with one watcher.
Run: python -m benchmarks.registry.promotion [--database sqlite|postgresql] [--promotions 200]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks import rounds, servers
from benchmarks.registry import sides
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub

FEW, MANY = 20, 5_000  # versions of a model
WATCHERS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--promotions", type=int, default=200)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = stack.enter_context(servers.postgres("ours")) if asked.database == "postgresql" else [""]
        mine = stack.enter_context(servers.fivefold("registry", folder / "registry", "--store-url", urls[0]))
        client = sides.client_of(sides.SDK, mine.address)
        rounds.say(f"making a model of {FEW} versions and one of {MANY} versions and {2 * MANY} activities")
        small, large = _model(client, "small", FEW, 0), _model(client, "large", MANY, 2 * MANY)
        alone = _promotions(client, {"few": small, "many": large}, asked.promotions)
        channels = [stack.enter_context(grpc.insecure_channel(mine.address)) for _ in range(8)]
        with watching(channels, 1) as one:
            first = _delays(client, small, one, asked.promotions)
        with watching(channels, WATCHERS):
            crowded = _promotions(client, {"few": small, "many": large}, asked.promotions)
        with watching(channels, WATCHERS) as crowd:
            all_of_them = _delays(client, small, crowd, asked.promotions)
        memory = round(mine.memory_mb())
    rounds.report(
        {
            "claim": "promotions",
            "database": asked.database,
            **servers.versions(),
            "promotion_p50_ms": {
                "few versions": _ms(alone["few"]),
                "many versions": _ms(alone["many"]),
                f"few versions, {WATCHERS} watchers": _ms(crowded["few"]),
                f"many versions, {WATCHERS} watchers": _ms(crowded["many"]),
            },
            "ratio_many_to_few_versions": round(rounds.p50(alone["many"]) / rounds.p50(alone["few"]), 2),
            "ratio_watched_to_unwatched": round(rounds.p50(crowded["few"]) / rounds.p50(alone["few"]), 2),
            "until_seen_ms": {
                "1 watcher p50": _ms(first),
                "1 watcher p99": round(rounds.p99(first) * 1000, 1),
                f"{WATCHERS} watchers p50": _ms(all_of_them),
                f"{WATCHERS} watchers p99": round(rounds.p99(all_of_them) * 1000, 1),
            },
            "memory_mb": memory,
        }
    )


def _ms(seconds: list[float]) -> float:
    return round(rounds.p50(seconds) * 1000, 2)


def _model(client: Any, name: str, versions: int, activities: int) -> str:
    """Makes a model with some versions, and comments as activities."""
    client.create_model(name)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.create_version(name, external_uri=sides.SOURCE), range(versions)))
        list(
            pool.map(lambda number: client.comment(f"models/{name}/versions/1", f"remark {number}"), range(activities))
        )
    return name


def _promotions(client: Any, models: dict[str, str], count: int) -> dict[str, list[float]]:
    """Promotes versions 1 to 10 of each model in turn; returns the seconds of each call."""

    def promote(name: str, number: int) -> None:
        client.transition(f"models/{name}/versions/{number % 10 + 1}", "Production", archive_existing=True)

    found: dict[str, list[float]] = {side: [] for side in models}
    for number in range(count):
        for side, name in models.items():
            began = time.perf_counter()
            promote(name, number)
            found[side].append(time.perf_counter() - began)
    return found


class Watchers:
    """Streams of events; notes when each saw a version come to Production."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Condition()
        self._seen: list[float] = []

    def saw(self) -> None:
        with self._lock:
            self._seen.append(time.perf_counter())
            self._lock.notify_all()

    def all_saw(self) -> list[float]:
        """Waits until every stream saw the promotion; returns when each did."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self._seen) >= self.count, servers.PATIENCE_SECONDS):
                raise SystemExit(f"only {len(self._seen)} of {self.count} watchers saw a promotion")
            seen, self._seen = self._seen, []
            return seen


@contextmanager
def watching(channels: list[grpc.Channel], count: int) -> Iterator[Watchers]:
    """Opens `count` streams over the channels and waits until each has had its first message."""
    watchers, ready = Watchers(count), threading.Semaphore(0)
    streams = [
        RegistryServiceStub(channels[number % len(channels)]).WatchEvents(pb.WatchEventsRequest(only_new=True))
        for number in range(count)
    ]

    def follow(stream: Any) -> None:
        try:
            next(stream)
            ready.release()
            for message in stream:
                for event in message.events:
                    if event.to_stage == pb.STAGE_PRODUCTION:
                        watchers.saw()
        except grpc.RpcError:
            return

    threads = [threading.Thread(target=follow, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire(timeout=servers.PATIENCE_SECONDS)
    try:
        yield watchers
    finally:
        for stream in streams:
            stream.cancel()
        for thread in threads:
            thread.join(10)


def _delays(client: Any, name: str, watchers: Watchers, count: int) -> list[float]:
    """Promotes some versions; returns for each stream how long after the call began it saw the event."""
    delays = []
    for number in range(count // 4):
        began = time.perf_counter()
        client.transition(f"models/{name}/versions/{number % 10 + 11}", "Production", archive_existing=True)
        delays += [seen - began for seen in watchers.all_saw()]
    return delays


if __name__ == "__main__":
    main()
