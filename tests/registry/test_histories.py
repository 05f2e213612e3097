"""Histories of concurrent stage changes are linearizable, and nothing that was acknowledged is lost: kills, timeouts,
terminated connections."""

from __future__ import annotations

import math
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from sqlalchemy import text

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_runtime import errors
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import serve
from tests.registry.client import ARCHIVED, NONE, PRODUCTION, STAGING, Registry
from tests.registry.conftest import url_of
from tests.registry.linearizability import Operation, linearizable
from tests.registry.sources import SOURCE, Faulty
from tests.registry.test_process import Process

VERSIONS = 3
CLIENTS = 4
STAGES = [NONE, STAGING, PRODUCTION, ARCHIVED]

State = tuple[int, ...]  # the stage of each version


def step(state: State, asked: Any) -> tuple[State, Any]:
    """What a registry with one Production version answers."""
    if asked == "read":
        return state, state
    number, target, archive = asked
    others = [other for other, stage in enumerate(state) if stage == target and other != number]
    if target == PRODUCTION and state[number] != target and others and not archive:
        return state, "STAGE_NOT_ALLOWED"
    leaving = others if archive else []
    after = tuple(target if v == number else ARCHIVED if v in leaving else stage for v, stage in enumerate(state))
    return after, tuple(leaving)


def at(begin: float, end: float, asked: Any, answer: Any = None) -> Operation:
    return Operation(begin, end, asked, answer)


def test_the_checker_knows_good_histories_from_bad_ones() -> None:
    first = (NONE, NONE)
    promote = (0, PRODUCTION, True)
    inside = at(2, 3, "read", (PRODUCTION, NONE))
    after = at(5, 6, "read", first)
    assert linearizable([at(0, 4, promote, ()), inside], first, step)
    assert not linearizable([at(0, 4, promote, ()), inside, after], first, step), "a read went back in time"
    assert not linearizable([at(0, 1, promote, ()), after], first, step), "an acknowledged write was lost"
    assert linearizable([at(0, math.inf, promote), after], first, step), "who was killed may not have been heard"
    assert linearizable([at(0, math.inf, promote), at(5, 6, "read", (PRODUCTION, NONE))], first, step)
    twice = [at(0, 4, promote, ()), at(0, 4, (1, PRODUCTION, True), ())]
    assert not linearizable(twice, first, step), "two promotions, and nobody archived the other"


class World(Protocol):
    def registry(self) -> Registry:
        """Returns a service that may be gone the next moment."""
        ...


class Recorder:
    """Clients that move and read at random, and what they saw."""

    def __init__(self, world: World, names: list[str], seed: int) -> None:
        self.world = world
        self.names = names
        self.seed = seed
        self.history: list[Operation] = []
        self.stop = threading.Event()

    def run(self, client: int, most: int) -> None:
        chance = random.Random(f"{self.seed}/{client}")
        for _ in range(most):
            if self.stop.is_set():
                return
            asked = "read"
            if chance.random() < 0.6:
                target = chance.choice(STAGES)
                asked = (  # type: ignore[assignment]
                    chance.randrange(VERSIONS),
                    target,
                    target in (STAGING, PRODUCTION) and chance.random() < 0.5,
                )
            patience = 0.005 if chance.random() < 0.1 else 20
            begin = time.monotonic()
            answer, seen = self._ask(asked, uuid.uuid4().hex, patience, again=chance.random() < 0.5)
            self.history.append(at(begin, time.monotonic() if seen else math.inf, asked, answer))

    def _ask(self, asked: Any, request_id: str, patience: float, again: bool) -> tuple[Any, bool]:
        """Returns (answer, whether it came). Who asks `again` sends the same request until it is answered."""
        while True:
            try:
                return self._send(asked, request_id, patience), True
            except grpc.RpcError as error:
                reason, _ = errors.parse(error)
                if reason == "STAGE_NOT_ALLOWED":
                    return reason, True
                assert error.code() in RETRIED, error
            if not again:
                return None, False
            patience = 20
            time.sleep(0.02)

    def _send(self, asked: Any, request_id: str, patience: float) -> Any:
        stub = self.world.registry().stub
        if asked == "read":
            request = pb.ListModelVersionsRequest(parent="models/churn", order_by="version")
            found = stub.ListModelVersions(request, timeout=patience).model_versions
            return tuple(version.stage for version in found)
        number, target, archive = asked
        move = pb.TransitionStageRequest(
            name=self.names[number], stage=target, archive_existing=archive, request_id=request_id
        )
        archived = stub.TransitionStage(move, timeout=patience).archived
        return tuple(self.names.index(name) for name in archived)


RETRIED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,  # REQUEST_RUNNING
}


def recorded(world: World, disturb: Callable[[], None], disturbances: int, most: int, seed: int) -> list[Operation]:
    """Runs the clients while the world is disturbed; returns what they saw."""
    registry = world.registry()
    registry.model(policy={"one_production": True})
    recorder = Recorder(world, [registry.make().name for _ in range(VERSIONS)], seed)
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(recorder.run, client, most) for client in range(CLIENTS)]
        for share in range(1, disturbances + 1):
            goal = share * most * CLIENTS // (disturbances + 1)
            while len(recorder.history) < goal and not all(one.done() for one in running):
                time.sleep(0.01)
            disturb()
        for one in running:
            one.result()
    recorder.run(0, 1)
    return recorder.history


class Killed:
    """A process on SQLite that is killed now and then."""

    def __init__(self, data: Path, tracking: str) -> None:
        self._start = lambda: Process(data, "--tracking", tracking)
        self.process = self._start()

    def registry(self) -> Registry:
        return self.process.registry

    def kill(self) -> None:
        self.process.popen.kill()
        self.process.popen.wait()
        killed, self.process = self.process, self._start()
        killed.channel.close()

    @classmethod
    @contextmanager
    def opened(cls, data: Path) -> Iterator[Killed]:
        with Faulty().served() as tracking:
            world = cls(data, tracking)
            try:
                yield world
            finally:
                with world.process:
                    pass


class Replicas:
    """Two services on one PostgreSQL, whose connections are cut now and then."""

    def __init__(self, database: Database, registries: list[Registry]) -> None:
        self._database = database
        self._registries = registries

    def registry(self) -> Registry:
        return random.choice(self._registries)

    def cut(self) -> None:
        with self._database.engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )


def check(history: list[Operation]) -> None:
    assert len(history) <= 1_000
    assert sum(operation.seen for operation in history) > len(history) / 3
    assert linearizable(history, (NONE,) * VERSIONS, step)


def test_with_kills_and_timeouts_histories_on_sqlite_are_linearizable(data: Path) -> None:
    with Killed.opened(data) as world:
        check(recorded(world, world.kill, disturbances=3, most=60, seed=7))
        registry = world.registry()
        assert len(registry.numbers(PRODUCTION)) <= 1
        assert registry.verify().valid
    assert sqlite3.connect(data / "store.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_with_cut_connections_and_timeouts_histories_of_two_replicas_are_linearizable(
    empty_postgres: Database, tmp_path: Path
) -> None:
    shared = {"store_url": url_of(empty_postgres), "activity_key": "k" * 32}
    with Faulty().served() as tracking:
        configs = [Config(data=str(tmp_path / name), tracking=tracking, **shared) for name in ("one", "two")]  # type: ignore[arg-type]
        with serve(build, configs[0]) as one, serve(build, configs[1]) as two:
            world = Replicas(empty_postgres, [Registry(running.channel, SOURCE) for running in (one, two)])
            check(recorded(world, world.cut, disturbances=5, most=60, seed=8))
            assert len(world.registry().numbers(PRODUCTION)) <= 1
            assert world.registry().verify().valid


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_under_load_loses_nothing_that_was_acknowledged(data: Path, seed: int) -> None:
    """Each client comments until the kill, then sends its last comment again under the same request_id."""
    with Killed.opened(data) as world:
        world.registry().model()
        version = world.registry().make().name
        acknowledged: list[tuple[str, str]] = []
        unanswered: list[pb.CreateCommentRequest] = []

        def comment(client: int) -> None:
            for number in range(10_000):
                request = pb.CreateCommentRequest(
                    parent=version, text=f"{client}/{number}", request_id=f"{client}/{number}"
                )
                try:
                    made = world.registry().stub.CreateComment(request)
                except grpc.RpcError:
                    unanswered.append(request)
                    return
                acknowledged.append((made.name, made.text))

        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(comment, client) for client in range(CLIENTS)]
            while len(acknowledged) < 20 + 10 * seed:
                time.sleep(0.001)
            world.process.popen.kill()
            for one in running:
                one.result()
        world.kill()
        registry = world.registry()
        for request in unanswered:
            made = [registry.stub.CreateComment(request) for _ in range(2)]
            assert made[0] == made[1]
            acknowledged.append((made[0].name, made[0].text))
        listed = registry.stub.ListComments(pb.ListCommentsRequest(parent=version, page_size=1000)).comments
        kept = {(one.name, one.text) for one in listed}
        assert kept == set(acknowledged)
        assert len(listed) == len({one.text for one in listed})
        found = registry.verify()
        assert (found.valid, found.count) == (True, len(listed))
        assert registry.make().version == 2
    assert sqlite3.connect(data / "store.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
