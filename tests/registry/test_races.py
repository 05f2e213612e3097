"""G1 and its neighbours: what holds whatever the concurrency, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.lifecycle import Stage
from fivefold_registry.store.tables import versions
from fivefold_runtime import errors
from fivefold_runtime.sql import Database
from tests.registry.client import PRODUCTION, STAGING, Registry
from tests.registry.drivers import StoreDriver

WRITERS = 8
ROUNDS = 40


def at_once(calls: list[Callable[[], object]]) -> list[str]:
    """Starts all calls at the same moment; returns how each ended: "" for an answer, else its reason."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> str:
        gate.wait()
        try:
            call()
        except grpc.RpcError as error:
            return errors.parse(error)[0] or f"no reason: {error}"
        return ""

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.parametrize("one_production", [False, True])
def test_eight_writers_leave_exactly_one_in_production(on_both: Registry, one_production: bool) -> None:
    on_both.model(policy={"one_production": one_production})
    names = [on_both.make().name for _ in range(WRITERS)]
    for _ in range(ROUNDS):
        ended = at_once([lambda name=name: on_both.move(name, PRODUCTION, archive_existing=True) for name in names])

        (winner,) = on_both.numbers(PRODUCTION)
        assert set(ended) == {""}  # All get through, one after the other.
        last = [one for one in on_both.told("models/churn") if one.startswith("APPLIED")][-1]
        assert last.startswith(f"APPLIED_TRANSITION v{winner} ")


def test_without_archiving_the_policy_lets_one_of_eight_in(on_both: Registry) -> None:
    on_both.model(policy={"one_production": True})
    names = [on_both.make().name for _ in range(WRITERS)]
    for _ in range(ROUNDS):
        ended = at_once([lambda name=name: on_both.move(name, PRODUCTION) for name in names])
        assert Counter(ended) == {"": 1, "STAGE_NOT_ALLOWED": WRITERS - 1}
        (winner,) = on_both.numbers(PRODUCTION)
        on_both.move(names[winner - 1], STAGING)


def test_the_database_itself_refuses_a_second_production_version_under_the_policy(database: Database) -> None:
    registry = StoreDriver(database)
    registry.model(one_production=True)
    first, second = registry.version(), registry.version()
    registry.move(first, Stage.PRODUCTION)
    with pytest.raises(IntegrityError), database.write() as tx:
        tx.execute(update(versions).values(stage=Stage.PRODUCTION, sole=True))
    assert registry.stage(second) is Stage.NONE


def test_versions_made_at_once_are_numbered_without_gaps_or_duplicates(on_both: Registry) -> None:
    on_both.model()
    made: list[int] = []
    ended = at_once([lambda: made.append(on_both.make().version) for _ in range(12)])
    assert ended == [""] * 12
    assert sorted(made) == list(range(1, 13))


def test_of_ten_who_settle_a_request_one_does(on_both: Registry) -> None:
    on_both.model()
    name = on_both.make().name
    request = on_both.ask(name, STAGING).name
    settlers = [on_both.approve, on_both.reject, on_both.cancel, on_both.approve, on_both.reject]
    ended = at_once([lambda settle=settle: settle(request) for settle in settlers * 2])
    assert Counter(ended) == {"": 1, "REQUEST_SETTLED": 9}
    assert len(on_both.told(name)) == 2


def test_one_request_id_sent_ten_times_at_once_has_one_effect(on_both: Registry) -> None:
    on_both.model()
    first, second = on_both.make().name, on_both.make().name
    on_both.move(first, PRODUCTION)
    answers: list[bytes] = []

    def promote() -> None:
        answer = on_both.move(second, PRODUCTION, archive_existing=True, request_id="promote")
        answers.append(answer.SerializeToString(deterministic=True))

    assert at_once([promote] * 10) == [""] * 10
    assert len(set(answers)) == 1
    assert len(on_both.told("models/churn")) == 3


@pytest.mark.parametrize("wanted", ["first", "second", "third"])
def test_of_all_who_want_a_name_one_gets_it(on_both: Registry, wanted: str) -> None:
    names = [f"m{number}" for number in range(7)]
    for name in names:
        on_both.model(name)
    renames = [lambda name=name: on_both.rename(name, wanted) for name in names]
    ended = at_once([*renames, lambda: on_both.model(wanted)])
    assert Counter(ended) == {"": 1, "RESOURCE_EXISTS": 7}


def test_an_alias_that_many_set_at_once_means_what_the_last_event_says(on_both: Registry) -> None:
    on_both.model()
    for _ in range(4):
        on_both.make()
    at_once([lambda number=number: on_both.alias("champion", number) for number in (1, 2, 3, 4) * 2])
    with on_both.watch(only_new=True) as latest, on_both.watch() as watch:
        last = [event for event in watch.until(latest.position) if event.subject == "champion"][-1]
    assert on_both.version("models/churn/aliases/champion").name == last.model_version


def test_a_version_that_is_deleted_while_it_moves_is_gone_or_in_use(on_both: Registry) -> None:
    on_both.model()
    for _ in range(8):
        name = on_both.make().name
        moved, deleted = at_once(
            [lambda name=name: on_both.move(name, STAGING), lambda name=name: on_both.delete_version(name)]
        )
        assert (moved, deleted) in {("", "VERSION_IN_USE"), ("RESOURCE_NOT_FOUND", "")}
    assert on_both.verify().valid


def test_sequences_of_a_model_count_all_its_activities(on_both: Registry) -> None:
    on_both.model()
    names = [on_both.make().name for _ in range(4)]
    at_once([lambda name=name: on_both.comment(name, "hello") for name in names * 3])
    found = on_both.stub.ListActivities(pb.ListActivitiesRequest(parent="models/churn")).activities
    assert [activity.name.rpartition("/")[2] for activity in found] == [str(number) for number in range(1, 13)]
