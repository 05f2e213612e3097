"""Watching: resumable from anywhere, in order, never past an event that commits late, and never at others' cost."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from sqlalchemy import text

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_registry.store.events import Written
from fivefold_registry.store.records import EventType
from fivefold_registry.watch import Feed
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import Running, serve
from tests.registry.client import ARCHIVED, PRODUCTION, STAGING, Registry
from tests.registry.conftest import url_of
from tests.registry.sources import Sources
from tests.runtime.asserting import refused

CREATED, MOVED = pb.EVENT_TYPE_MODEL_VERSION_CREATED, pb.EVENT_TYPE_MODEL_VERSION_TRANSITIONED_STAGE


def test_events_tell_what_happened_in_order(on_both: Registry) -> None:
    on_both.model()
    first, second = on_both.make().name, on_both.make().name
    on_both.move(first, PRODUCTION)
    on_both.move(second, PRODUCTION, archive_existing=True)
    request = on_both.ask(first, STAGING).name
    comment = on_both.comment(first, "why?").name
    with on_both.watch() as watch:
        events = watch.take(8)
    assert [event.position for event in events] == sorted(event.position for event in events)
    assert [(event.type, event.model_version, event.from_stage, event.to_stage) for event in events[1:6]] == [
        (CREATED, first, 0, 0),
        (CREATED, second, 0, 0),
        (MOVED, first, pb.STAGE_NONE, PRODUCTION),
        (MOVED, second, pb.STAGE_NONE, PRODUCTION),
        (MOVED, first, PRODUCTION, ARCHIVED),
    ]
    assert [event.subject for event in events[6:]] == [request, comment]
    assert {event.model for event in events} == {"models/churn"}
    assert {event.user for event in events} == {"local"}


def test_a_watcher_resumes_from_any_position(on_both: Registry) -> None:
    on_both.model()
    name = on_both.make().name
    for stage in (STAGING, PRODUCTION, ARCHIVED) * 4:
        on_both.move(name, stage)
    with on_both.watch() as watch:
        events = watch.take(14)
    for index in range(len(events) - 1):
        with on_both.watch(events[index].position) as watch:
            assert watch.position == events[index].position
            assert watch.take(len(events) - index - 1) == events[index + 1 :]


def test_a_live_watcher_hears_of_changes_and_of_nothing_else(on_both: Registry) -> None:
    on_both.model("a")
    on_both.model("b")
    version = on_both.make("a").name
    with on_both.watch(only_new=True, models=["models/b"]) as watch:
        on_both.move(version, STAGING)
        on_both.make("b")
        (event,) = watch.take(1)
    assert (event.type, event.model) == (CREATED, "models/b")


def test_a_position_beyond_the_last_event_is_refused(on_both: Registry) -> None:
    on_both.model()
    with refused("FIELD_INVALID") as refusal:
        on_both.watch(99)
    assert refusal.code == grpc.StatusCode.OUT_OF_RANGE
    assert refusal.facts["latest"] == "1"


def test_an_event_that_commits_late_is_not_stepped_over(empty_postgres: Database, data: Path, sources: Sources) -> None:
    """A slow transaction writes its event first and commits last; a fast one overtakes it."""
    config = Config(data=str(data), store_url=url_of(empty_postgres), tracking=sources.address)
    with serve(build, config) as running:
        registry = Registry(running.channel, sources.model)
        registry.model("slow")
        registry.model("fast")
        written, go_on = threading.Event(), threading.Event()

        def slow() -> None:
            outbox = Outbox(empty_postgres)
            with empty_postgres.write() as tx:
                event = Written(type=EventType.COMMENT_CREATED, model_id="0", model="slow", user="x")
                outbox.append(tx, event.type, event.key, event.payload())
                tx.execute(text("UPDATE models SET description = 'busy' WHERE name = 'slow'"))
                written.set()
                go_on.wait()

        with registry.watch(only_new=True) as watch:
            thread = threading.Thread(target=slow)
            thread.start()
            written.wait()
            version = registry.make("fast").name
            seen = watch.take(1)
            go_on.set()
            thread.join()
            registry.move(version, STAGING)
            seen += watch.take(2)
        assert [event.model for event in seen] == ["models/fast", "models/slow", "models/fast"]
        with registry.watch(seen[0].position) as watch:
            assert watch.take(2) == seen[1:]


def test_two_replicas_show_one_order(empty_postgres: Database, data: Path, tmp_path: Path, sources: Sources) -> None:
    url = url_of(empty_postgres)
    key = "the same for all replicas, and secret"
    one = Config(data=str(data), store_url=url, tracking=sources.address, activity_key=key)
    two = Config(data=str(tmp_path / "two"), store_url=url, tracking=sources.address, activity_key=key)
    with serve(build, one) as first, serve(build, two) as second:
        left, right = Registry(first.channel, sources.model), Registry(second.channel, sources.model)
        left.model()
        with left.watch() as here, right.watch() as there:
            right.comment(left.make().name, "from the other side")
            assert here.take(3) == there.take(3)


def test_two_hundred_watchers_do_not_keep_a_unary_call_waiting(registry: Registry) -> None:
    registry.model()
    with ExitStack() as stack:
        watchers = [stack.enter_context(registry.watch(only_new=True)) for _ in range(200)]
        version = registry.make().name
        registry.move(version, PRODUCTION)
        for watch in watchers:
            assert [event.type for event in watch.take(2)] == [CREATED, MOVED]
        assert registry.version(version).stage == PRODUCTION


def test_more_streams_than_threads_are_refused_and_unary_calls_go_on(data: Path, sources: Sources) -> None:
    with serve(build, Config(data=str(data), tracking=sources.address, stream_threads=3)) as running:
        registry = Registry(running.channel, sources.model)
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(registry.watch())
            with refused("TOO_MANY_CALLS"):
                registry.watch()
            registry.model()


def test_watchers_are_told_that_the_server_stops(service: Running, registry: Registry) -> None:
    with registry.watch() as watch:
        threading.Thread(target=service.server.drain).start()
        with refused("SHUTTING_DOWN"):
            watch.take(1)


@pytest.mark.parametrize("name", ["churn", "models/", "models/a/b", "models/..", "models/a:b"])
def test_a_watcher_of_what_is_no_model_is_refused(registry: Registry, name: str) -> None:
    with refused("NAME_INVALID"):
        registry.watch(models=[name])


def test_the_feed_gives_every_event_once_whatever_is_still_in_memory(database: Database) -> None:
    outbox = Outbox(database)
    feed = Feed(outbox, kept=10)

    def write(count: int) -> None:
        with database.write() as tx:
            for _ in range(count):
                event = Written(type=EventType.COMMENT_CREATED, model_id="0", model="m", user="x")
                outbox.append(tx, event.type, event.key, event.payload())

    for count in (3, 9, 25, 1):
        write(count)
        feed.after(outbox.latest() - 1)
    for start in range(39):
        position, seen = start, []
        while found := feed.after(position):
            seen += [event.position for event in found]
            position = seen[-1]
        assert seen == list(range(start + 1, 39))


def test_who_watches_either_name_hears_that_a_model_was_renamed(on_both: Registry) -> None:
    on_both.model()
    with (
        on_both.watch(models=["models/churn"], only_new=True) as old,
        on_both.watch(models=["models/attrition"], only_new=True) as new,
    ):
        on_both.rename("churn", "attrition")
        version = on_both.make("attrition").name
        (heard,) = old.take(1)
        assert (heard.model, heard.old_model) == ("models/attrition", "models/churn")
        assert new.take(2)[0] == heard
    with on_both.watch() as everything:
        assert [event.model_version for event in everything.take(3)] == ["", "", version]


def test_events_tell_which_tag_and_which_alias(on_both: Registry) -> None:
    on_both.model()
    version = on_both.make().name
    with on_both.watch(only_new=True) as watch:
        asked = pb.ModelVersion(name=version, tags={"b": "1", "a": "2"})
        on_both.stub.UpdateModelVersion(pb.UpdateModelVersionRequest(model_version=asked))
        on_both.alias("champion", 1)
        on_both.unalias("champion")
        on_both.delete_version(version)
        told = [(pb.EventType.Name(event.type)[11:], event.subject) for event in watch.take(6)]
    assert told == [
        ("MODEL_VERSION_UPDATED", ""),
        ("MODEL_VERSION_TAG_SET", "a"),
        ("MODEL_VERSION_TAG_SET", "b"),
        ("MODEL_ALIAS_SET", "champion"),
        ("MODEL_ALIAS_DELETED", "champion"),
        ("MODEL_VERSION_DELETED", ""),
    ]
