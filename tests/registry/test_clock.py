"""A clock that is set back turns no story around: what a model's activities tell stays in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fivefold_registry.lifecycle import Stage
from fivefold_registry.names import ModelName
from fivefold_registry.store.sql import MIGRATIONS
from fivefold_runtime.sql import Database, sqlite_in
from fivefold_runtime.testing import SettableClock
from tests.registry.drivers import StoreDriver


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def registry(data: Path, clock: SettableClock) -> Iterator[StoreDriver]:
    database = Database.open(sqlite_in(data), migrations=MIGRATIONS, clock=clock)
    yield StoreDriver(database)
    database.close()


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)])
def test_what_was_in_production_is_known_though_the_clock_jumped(
    registry: StoreDriver, clock: SettableClock, jump: timedelta
) -> None:
    registry.model()
    first, second = registry.version(), registry.version()
    clock.advance(timedelta(seconds=1))
    registry.move(first, Stage.PRODUCTION)
    before = clock.now()
    clock.advance(jump)
    registry.move(second, Stage.PRODUCTION, archive_existing=True)
    clock.advance(timedelta(seconds=1))
    registry.move(second, Stage.ARCHIVED)

    times = [one.created for one in registry.store.journal.activities("churn", None, 0, 100)]
    assert times == sorted(times)
    assert registry.lookup(Stage.PRODUCTION, before - timedelta(microseconds=1)) == []
    assert registry.lookup(Stage.PRODUCTION) == []
    assert registry.lookup(Stage.ARCHIVED) == ["v1 by local", "v2 by local"]
    if jump > timedelta():
        assert registry.lookup(Stage.PRODUCTION, before) == ["v1 by local"]
    (tenure, _) = registry.store.stages.tenures(ModelName("churn"), Stage.ARCHIVED, None)
    assert tenure.sequence == 3
    assert registry.verify().fault is None
