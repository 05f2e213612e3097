"""What every store of tracking promises; test_stores.py supplies `stores`: SQLite, PostgreSQL, and a gRPC client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.ids import new_id
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig
from fivefold_tracking.lifecycle import RunStatus, View
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.records import (
    Batch,
    ExperimentQuery,
    InputRecord,
    NewRun,
    Page,
    RunChange,
    RunRecord,
    SourceRecord,
)
from tests.tracking.client import sha256

NOW = 1_800_000_000_000_000  # microseconds
OPEN = Authorizer(ServerConfig(), None)  # lets everyone see everything
UNKNOWN = "0" * 32


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """The block must raise an error with this reason."""
    with pytest.raises(FivefoldError) as caught:
        yield
    assert caught.value.reason == reason, caught.value


def new_run(experiment: int, **more: Any) -> NewRun:
    fields = {"id": new_id(), "display_name": "one", "status": RunStatus.RUNNING, "user": "ada", "started": NOW}
    return NewRun(experiment=experiment, **(fields | more))  # type: ignore[arg-type]


def points(key: str, *values: float) -> tuple[Point, ...]:
    """Points of one metric at steps 0, 1, 2 …"""
    return tuple(Point(key, value, NOW, step) for step, value in enumerate(values))


def latest(run: RunRecord) -> dict[str, float]:
    return {point.key: point.value for point in run.metrics}


class Contract:
    """The fixtures that the stores' contracts share."""

    @pytest.fixture
    def experiment(self, stores: Any) -> int:
        return stores.experiments.create("flights", {}, NOW).number

    @pytest.fixture
    def run(self, stores: Any, experiment: int) -> str:
        return stores.runs.create(new_run(experiment), NOW).id

    def pages(self, read: Any, limit: int) -> tuple[list[Any], list[Page[Any]]]:
        """Reads a list to its end; returns its items and its pages."""
        items, seen, after = [], [], None
        while True:
            page = read(after, limit)
            items += page.items
            seen.append(page)
            after = page.more
            if after is None:
                return items, seen
            assert page.items, "a page without items has no next one"


class ExperimentContract(Contract):
    """What every ExperimentStore promises."""

    def test_numbers_count_from_one(self, stores):
        assert [stores.experiments.create(name, {}, NOW).number for name in "abc"] == [1, 2, 3]

    def test_what_is_created_is_read_back(self, stores):
        made = stores.experiments.create("Flüge ✈", {"team": "ops", "a/b": "ä" * 100}, NOW)

        assert stores.experiments.get(made.number) == made
        assert (made.display_name, made.tags["a/b"], made.deleted) == ("Flüge ✈", "ä" * 100, None)

    def test_a_display_name_is_taken_while_its_experiment_is_active(self, stores, experiment):
        with refused("RESOURCE_EXISTS"):
            stores.experiments.create("flights", {}, NOW)

        stores.experiments.delete(experiment, "", NOW)

        assert stores.experiments.create("flights", {}, NOW).number != experiment

    def test_ensure_returns_the_one_that_is_there_unchanged(self, stores):
        made = stores.experiments.ensure("flights", {"a": "1"}, NOW)

        assert stores.experiments.ensure("flights", {"b": "2"}, NOW + 1) == made

    def test_ensure_takes_no_number_for_one_that_is_there(self, stores):
        for _ in range(3):
            stores.experiments.ensure("flights", {}, NOW)

        assert stores.experiments.create("next", {}, NOW).number == 2

    def test_lookup_finds_only_the_active_one(self, stores, experiment):
        assert stores.experiments.lookup("flights").number == experiment

        stores.experiments.delete(experiment, "", NOW)

        with refused("RESOURCE_NOT_FOUND"):
            stores.experiments.lookup("flights")

    @pytest.mark.parametrize("limit", [1, 2, 5, 100])
    def test_the_list_has_each_active_one_once_newest_first(self, stores, limit):
        for name in "abcde":
            stores.experiments.create(name, {"name": name}, NOW)
        stores.experiments.delete(3, "", NOW)

        def read(after, size, view=View.ACTIVE):
            return stores.experiments.list(OPEN, ExperimentQuery(view=view), after, size)

        active, _ = self.pages(read, limit)
        every, _ = self.pages(lambda after, size: read(after, size, View.ALL), limit)
        assert [(one.number, one.tags["name"]) for one in active] == [(5, "e"), (4, "d"), (2, "b"), (1, "a")]
        assert [one.number for one in every] == [5, 4, 3, 2, 1]

    def test_an_update_changes_what_it_names_and_the_etag(self, stores):
        made = stores.experiments.create("a", {"x": "1", "y": "2"}, NOW)

        renamed = stores.experiments.update(made.number, display_name="b", tags=None, etag=made.etag, now=NOW)
        retagged = stores.experiments.update(made.number, display_name=None, tags={"z": "3"}, etag="", now=NOW)

        assert (renamed.display_name, renamed.tags) == ("b", {"x": "1", "y": "2"})
        assert (retagged.display_name, retagged.tags) == ("b", {"z": "3"})
        assert len({made.etag, renamed.etag, retagged.etag}) == 3

    def test_the_second_of_two_writers_loses(self, stores, experiment):
        etag = stores.experiments.get(experiment).etag
        stores.experiments.update(experiment, display_name="first", tags=None, etag=etag, now=NOW)

        with refused("ETAG_MISMATCH"):
            stores.experiments.update(experiment, display_name="second", tags=None, etag=etag, now=NOW)
        with refused("ETAG_MISMATCH"):
            stores.experiments.delete(experiment, etag, NOW)
        assert stores.experiments.get(experiment).display_name == "first"

    def test_a_rename_to_a_taken_name_changes_nothing(self, stores, experiment):
        stores.experiments.create("taken", {}, NOW)

        with refused("RESOURCE_EXISTS"):
            stores.experiments.update(experiment, display_name="taken", tags={"a": "1"}, etag="", now=NOW)

        assert (stores.experiments.get(experiment).display_name, stores.experiments.get(experiment).tags) == (
            "flights",
            {},
        )

    def test_a_deleted_one_refuses_changes(self, stores, experiment):
        stores.experiments.delete(experiment, "", NOW)

        with refused("EXPERIMENT_DELETED"):
            stores.experiments.update(experiment, display_name="b", tags=None, etag="", now=NOW)
        with refused("EXPERIMENT_DELETED"):
            stores.experiments.delete(experiment, "", NOW)
        with refused("EXPERIMENT_DELETED"):
            stores.runs.create(new_run(experiment), NOW)

    def test_undeleting_needs_the_display_name_to_be_free(self, stores, experiment):
        stores.experiments.delete(experiment, "", NOW)
        other = stores.experiments.create("flights", {}, NOW)

        with refused("RESOURCE_EXISTS"):
            stores.experiments.undelete(experiment, NOW)

        stores.experiments.delete(other.number, "", NOW)
        assert stores.experiments.undelete(experiment, NOW).deleted is None

    def test_undeleting_an_active_one_changes_nothing(self, stores, experiment):
        before = stores.experiments.get(experiment)

        assert stores.experiments.undelete(experiment, NOW + 5) == before

    def test_deleting_takes_the_runs_along_and_back_but_not_those_deleted_before(self, stores, experiment):
        kept, gone = (stores.runs.create(new_run(experiment), NOW).id for _ in range(2))
        stores.runs.delete(gone, NOW)

        stores.experiments.delete(experiment, "", NOW)
        assert stores.runs.get(kept).deleted is not None
        stores.experiments.undelete(experiment, NOW)

        assert stores.runs.get(kept).deleted is None
        assert stores.runs.get(gone).deleted is not None

    def test_one_that_is_not_there_is_not_found_by_any_call(self, stores):
        for call in (
            lambda: stores.experiments.get(7),
            lambda: stores.experiments.update(7, display_name="b", tags=None, etag="", now=NOW),
            lambda: stores.experiments.delete(7, "", NOW),
            lambda: stores.experiments.undelete(7, NOW),
            lambda: stores.runs.create(new_run(7), NOW),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()


class RunContract(Contract):
    """What every RunStore promises of runs and what they log."""

    def test_what_is_created_is_read_back(self, stores, experiment, run):
        source = SourceRecord("JOB", "train.py", "main", "abc123", "https://example.org/repo")
        asked = new_run(
            experiment,
            status=RunStatus.FAILED,
            ended=NOW + 7,
            parent=run,
            source=source,
            params={"depth": "6", "empty": ""},
            tags={"team": "ops"},
        )

        made = stores.runs.create(asked, NOW)

        assert stores.runs.get(made.id) == made
        assert stores.runs.experiment_of(made.id) == experiment
        assert (made.display_name, made.user, made.started, made.ended) == ("one", "ada", NOW, NOW + 7)
        assert (made.status, made.parent, made.source) == (RunStatus.FAILED, run, source)
        assert (made.params, made.tags, made.metrics, made.inputs) == (asked.params, asked.tags, (), ())

    def test_a_parent_must_be_there_and_active(self, stores, experiment, run):
        with refused("RESOURCE_NOT_FOUND"):
            stores.runs.create(new_run(experiment, parent=UNKNOWN), NOW)

        stores.runs.delete(run, NOW)

        with refused("RUN_DELETED"):
            stores.runs.create(new_run(experiment, parent=run), NOW)

    def test_an_ended_run_has_an_end_time_and_one_at_work_has_none(self, stores, run):
        ended = stores.runs.update(run, RunChange(status=RunStatus.FINISHED), "", NOW)
        again = stores.runs.update(run, RunChange(status=RunStatus.FAILED), "", NOW + 9)
        moved = stores.runs.update(run, RunChange(ended=NOW + 5), "", NOW)
        resumed = stores.runs.update(run, RunChange(status=RunStatus.RUNNING), "", NOW)

        assert ended.ended is not None
        assert again.ended == ended.ended, "the first end stands until another is given"
        assert (moved.status, moved.ended) == (RunStatus.FAILED, NOW + 5)
        assert (resumed.status, resumed.ended) == (RunStatus.RUNNING, None)
        with refused("FIELD_INVALID"):
            stores.runs.update(run, RunChange(ended=NOW), "", NOW)

    def test_an_update_leaves_what_it_does_not_name(self, stores, run):
        changed = stores.runs.update(run, RunChange(display_name="two"), "", NOW)

        assert (changed.display_name, changed.status) == ("two", RunStatus.RUNNING)

    def test_the_second_of_two_writers_loses(self, stores, run):
        etag = stores.runs.get(run).etag
        stores.runs.update(run, RunChange(display_name="first"), etag, NOW)

        with refused("ETAG_MISMATCH"):
            stores.runs.update(run, RunChange(display_name="second"), etag, NOW)
        assert stores.runs.get(run).display_name == "first"

    def test_logging_leaves_the_etag(self, stores, run):
        etag = stores.runs.get(run).etag

        stores.runs.log(run, Batch(points("loss", 1.0), {"a": "1"}, {"b": "2"}))

        assert stores.runs.get(run).etag == etag

    def test_a_deleted_run_refuses_changes_until_it_is_back(self, stores, run):
        deleted = stores.runs.delete(run, NOW)
        assert deleted.deleted is not None

        for change in (
            lambda: stores.runs.delete(run, NOW),
            lambda: stores.runs.update(run, RunChange(display_name="two"), "", NOW),
            lambda: stores.runs.log(run, Batch(tags={"a": "1"})),
            lambda: stores.runs.log_inputs(run, [InputRecord("d", "1")]),
            lambda: stores.artifacts.put(run, "a", 3, sha256(b"one"), NOW, bool),
        ):
            with refused("RUN_DELETED"):
                change()

        assert stores.runs.undelete(run).deleted is None
        stores.runs.log(run, Batch(tags={"a": "1"}))

    def test_a_run_of_a_deleted_experiment_refuses_changes_and_cannot_come_back_alone(self, stores, experiment, run):
        stores.experiments.delete(experiment, "", NOW)

        with refused("RUN_DELETED"):
            stores.runs.log(run, Batch(tags={"a": "1"}))
        with refused("EXPERIMENT_DELETED"):
            stores.runs.undelete(run)

    def test_undeleting_an_active_run_changes_nothing(self, stores, run):
        before = stores.runs.get(run)

        assert stores.runs.undelete(run) == before

    def test_one_that_is_not_there_is_not_found_by_any_call(self, stores):
        for call in (
            lambda: stores.runs.get(UNKNOWN),
            lambda: stores.runs.experiment_of(UNKNOWN),
            lambda: stores.runs.update(UNKNOWN, RunChange(display_name="x"), "", NOW),
            lambda: stores.runs.delete(UNKNOWN, NOW),
            lambda: stores.runs.undelete(UNKNOWN),
            lambda: stores.runs.log(UNKNOWN, Batch(tags={"a": "1"})),
            lambda: stores.runs.log_inputs(UNKNOWN, [InputRecord("d", "1")]),
            lambda: stores.artifacts.put(UNKNOWN, "a", 3, sha256(b"one"), NOW, bool),
            lambda: stores.artifacts.get(UNKNOWN, "a"),
            lambda: stores.artifacts.list(UNKNOWN, "", recursive=False, after=None, limit=10),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()

    def test_params_are_written_once(self, stores, run):
        stores.runs.log(run, Batch(params={"depth": "6", "rate": ""}))
        stores.runs.log(run, Batch(params={"depth": "6", "new": "1"}))

        with refused("PARAM_CHANGED"):
            stores.runs.log(run, Batch(params={"rate": "0.1"}))
        assert stores.runs.get(run).params == {"depth": "6", "new": "1", "rate": ""}

    def test_a_batch_with_one_bad_entry_leaves_nothing(self, stores, run):
        stores.runs.log(run, Batch(params={"depth": "6"}))

        with refused("PARAM_CHANGED"):
            stores.runs.log(run, Batch(points("loss", 1.0), {"depth": "7", "aaa": "1", "zzz": "1"}, {"tag": "1"}))

        now = stores.runs.get(run)
        assert (now.params, now.tags, now.metrics) == ({"depth": "6"}, {}, ())
        assert len(stores.metrics.points(run, "loss", None, 10).series) == 0

    def test_tags_are_overwritten(self, stores, run):
        stores.runs.log(run, Batch(tags={"a": "1", "b": "1"}))
        stores.runs.log(run, Batch(tags={"b": "2", "c": "2"}))

        assert stores.runs.get(run).tags == {"a": "1", "b": "2", "c": "2"}

    def test_a_dataset_logged_again_adds_tags_and_keeps_its_first_description(self, stores, experiment, run):
        first = InputRecord("flights", "abc", "local", "/data", "{}", '{"rows": 1}', {"context": "training"})
        stores.runs.log_inputs(run, [first, InputRecord("airlines", "d")])
        stores.runs.log_inputs(run, [InputRecord("flights", "abc", "s3", "s3://x", "", "", {"more": "1"})])
        other = stores.runs.create(new_run(experiment), NOW).id
        stores.runs.log_inputs(other, [InputRecord("flights", "abc", tags={"context": "test"})])

        airlines, flights = stores.runs.get(run).inputs
        assert airlines == InputRecord("airlines", "d")
        assert (flights.source, flights.profile) == ("/data", '{"rows": 1}')
        assert flights.tags == {"context": "training", "more": "1"}
        assert stores.runs.get(other).inputs[0].tags == {"context": "test"}
        assert stores.runs.get(other).inputs[0].source == "/data"
