"""What every JobStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fivefold_automl.errors import JobEnded
from fivefold_automl.names import TrialName
from fivefold_automl.spec import JobSpec, Problem
from fivefold_automl.store.jobs import SqlJobStore
from fivefold_automl.store.records import JobRecord, JobState, Result, TrialRecord, TrialState
from fivefold_runtime.errors import NotFound
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig
from fivefold_runtime.sql import Database, sqlite_in

MIGRATIONS = "fivefold_automl.store.migrations"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def job(number: int, **fields: Any) -> JobRecord:
    settings = {
        "problem": Problem.REGRESSION,
        "training_set": "trainingSets/a",
        "target": "y",
        "exclude_columns": ("a", "b"),
    }
    return JobRecord(
        **{
            "id": f"{number:032x}",
            "spec": JobSpec(**settings),
            "creator": "ann",
            "experiment": "experiments/1",
            "run": "runs/1",
            "created": NOW,
            "metric": "rmse",
            **fields,
        }
    )


def trial(of: JobRecord, number: int) -> TrialRecord:
    params = {"depth": 3, "rate": 0.1, "weight": None, "kind": "x"}
    return TrialRecord(
        job=of.id, number=number, learner="tree", params=params, started=NOW, ray_node="n", ray_worker="w"
    )


def finished(score: float) -> Result:
    return Result(state=TrialState.FINISHED, metrics={"rmse": score}, score=score, packed=True)


class JobStoreContract:
    """TestSqlite and TestPostgres supply `database`."""

    @pytest.fixture
    def store(self, database: Database) -> SqlJobStore:
        return SqlJobStore(database)

    def ended(self, store: SqlJobStore, of: JobRecord, number: int, result: Result) -> JobRecord:
        store.start_trial(trial(of, number))
        return store.end_trial(TrialName(of.id, number), result, NOW, 1.5 * number)

    def test_what_was_added_is_read_back_whole(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        assert store.get(added.id) == added
        store.start_trial(trial(added, 1))
        assert store.trial(TrialName(added.id, 1)) == TrialRecord(
            **{**{f: getattr(trial(added, 1), f) for f in TrialRecord.__slots__}, "revision": 2}
        )

    def test_a_job_that_is_not_there_is_not_found(self, store: SqlJobStore) -> None:
        for call in (store.get, store.close, lambda id: store.changes(id, 0), lambda id: store.cancel(id, NOW)):
            with pytest.raises(NotFound):
                call("0" * 32)

    def test_the_lowest_error_leads_and_the_leaderboard_ends_with_trials_without_a_score(
        self, store: SqlJobStore
    ) -> None:
        added = store.add(job(1))
        store.start_trial(trial(added, 1))
        for number, score in ((2, 3.0), (3, 1.0), (4, 2.0), (5, 1.0)):
            self.ended(store, added, number, finished(score))
        self.ended(store, added, 6, Result(state=TrialState.FAILED, error="tree raised ValueError"))
        assert [found.number for found, _ in store.ranked(added.id, None, 10)] == [3, 5, 4, 2, 1, 6]
        now = store.get(added.id)
        assert (now.best_trial, now.best_score, now.spent_seconds) == (3, 1.0, 9.0)
        assert now.counts == {TrialState.RUNNING: 1, TrialState.FINISHED: 4, TrialState.FAILED: 1}

    def test_pages_of_the_leaderboard_join_without_gap_or_repetition(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        for number in range(1, 8):
            self.ended(store, added, number, finished(float(number % 3)))
        seen: list[int] = []
        after = None
        while page := store.ranked(added.id, after, 2):
            seen += [found.number for found, _ in page]
            after = (page[-1][1], page[-1][0].number)
        assert seen == [3, 6, 1, 4, 7, 2, 5]

    def test_a_trial_ends_once(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        self.ended(store, added, 1, finished(1.0))
        store.end_trial(TrialName(added.id, 1), finished(0.1), NOW, 9.0)
        store.stop_running(added.id, "late", NOW)
        assert (store.trial(TrialName(added.id, 1)).score, store.get(added.id).best_score) == (1.0, 1.0)

    def test_a_job_ends_once(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        store.end(added.id, JobState.SUCCEEDED, NOW)
        assert store.end(added.id, JobState.FAILED, NOW).state is JobState.SUCCEEDED
        assert store.update(added.id, state=JobState.RUNNING).state is JobState.SUCCEEDED

    def test_cancelling_ends_a_waiting_job_and_only_asks_a_running_one(self, store: SqlJobStore) -> None:
        waiting, running = store.add(job(1)), store.add(job(2, state=JobState.RUNNING))
        assert store.cancel(waiting.id, NOW).state is JobState.CANCELLED
        assert (store.cancel(running.id, NOW).state, store.get(running.id).cancelled) == (JobState.RUNNING, True)
        with pytest.raises(JobEnded):
            store.cancel(waiting.id, NOW)

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
    def test_a_job_that_was_asked_to_stop_ends_as_cancelled(self, store: SqlJobStore, state: JobState) -> None:
        running = store.add(job(1, state=JobState.RUNNING))
        store.cancel(running.id, NOW)
        ended = store.end(running.id, state, NOW, error="e", reason="R")
        assert (ended.state, ended.error, ended.error_reason, ended.ended) == (JobState.CANCELLED, "", "", NOW)
        with pytest.raises(JobEnded):
            store.cancel(running.id, NOW)

    def test_a_job_that_has_ended_cannot_be_asked_to_stop_and_stays_as_it_ended(self, store: SqlJobStore) -> None:
        running = store.add(job(1, state=JobState.RUNNING))
        failed = store.end(running.id, JobState.FAILED, NOW, error="e", reason="R")
        assert (failed.state, failed.error, failed.error_reason) == (JobState.FAILED, "e", "R")
        with pytest.raises(JobEnded):
            store.cancel(running.id, NOW)
        assert store.end(running.id, JobState.SUCCEEDED, NOW + timedelta(seconds=1)) == store.get(running.id) == failed

    def test_cancelling_and_ending_at_once_never_give_a_cancelled_job_that_succeeded(self, store: SqlJobStore) -> None:
        def refused(id: str) -> bool:
            try:
                store.cancel(id, NOW)
            except JobEnded:
                return True
            return False

        with ThreadPoolExecutor(2) as pool:
            for number in range(1, 31):
                running = store.add(job(number, state=JobState.RUNNING))
                asked = pool.submit(refused, running.id)
                ended = pool.submit(store.end, running.id, JobState.SUCCEEDED, NOW)
                assert ended.result().state is (JobState.SUCCEEDED if asked.result() else JobState.CANCELLED)

    def test_nothing_is_remembered_of_a_job_whose_end_is_in_tracking(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        self.ended(store, added, 1, finished(1.0))
        store.end(added.id, JobState.SUCCEEDED, NOW)
        store.logged(TrialName(added.id, 1), "runs/9", complete=True)
        store.close(added.id)
        store.logged(TrialName(added.id, 1), "runs/9", complete=True)
        assert store._revisions == {}

    def test_jobs_that_have_not_ended_are_found_oldest_first(self, store: SqlJobStore) -> None:
        for number, state in ((3, JobState.PENDING), (1, JobState.RUNNING), (2, JobState.FAILED)):
            store.add(job(number, state=state))
        assert store.unended() == [job(1).id, job(3).id]

    def test_jobs_are_listed_newest_first_by_page(self, store: SqlJobStore, database: Database) -> None:
        for number in range(1, 6):
            store.add(job(number))
        anyone = Authorizer(ServerConfig(), database)
        first = store.page(None, 3, anyone)
        assert [each.id for each in first] == [job(n).id for n in (5, 4, 3)]
        assert [each.id for each in store.page(first[-1].id, 3, anyone)] == [job(n).id for n in (2, 1)]

    def test_what_is_not_in_tracking_yet_is_found_until_it_is(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        store.start_trial(trial(added, 1))
        assert store.unlogged(10) == []
        store.end_trial(TrialName(added.id, 1), finished(1.0), NOW, 1.0)
        store.end(added.id, JobState.SUCCEEDED, NOW)
        assert [each.number for each in store.unlogged(10)] == [1]
        assert store.unclosed(10) == []
        store.logged(TrialName(added.id, 1), "runs/9", complete=True)
        assert store.unlogged(10) == []
        assert [each.id for each in store.unclosed(10)] == [added.id]
        store.close(added.id)
        assert store.unclosed(10) == []

    def test_changes_since_a_revision_are_those_and_no_others(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        self.ended(store, added, 1, finished(1.0))
        before, _ = store.changes(added.id, 0)
        assert store.changes(added.id, before.revision)[1] == []
        self.ended(store, added, 2, finished(2.0))
        after, changed = store.changes(added.id, before.revision)
        assert [each.number for each in changed] == [2]
        assert after.revision > before.revision

    def test_a_change_wakes_who_waits_for_it(self, store: SqlJobStore) -> None:
        added = store.add(job(1))
        woken = threading.Event()

        def wait() -> None:
            while store.get(added.id).revision == added.revision:
                store.wait(added.id, added.revision, 60.0)
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
        store.update(added.id, warnings=("w",))
        assert woken.wait(30.0)

    def test_times_keep_their_microseconds(self, store: SqlJobStore) -> None:
        late = NOW + timedelta(microseconds=1)
        added = store.add(job(1, started=late))
        assert store.get(added.id).started == late


class TestSqlite(JobStoreContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        opened = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
        yield opened
        opened.close()


class TestPostgres(JobStoreContract):
    @pytest.fixture
    def database(self, postgres_url: str) -> Iterator[Database]:
        opened = Database.open(postgres_url, migrations=MIGRATIONS)
        yield opened
        opened.close()
