"""Purging: gone for everyone at once, its rows and bytes after that, some at a time, and again after a kill."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from sqlalchemy import event, func, select

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.sql import Database
from fivefold_tracking.lifecycle import View
from fivefold_tracking.metrics import Point
from fivefold_tracking.store import purging
from fivefold_tracking.store.model_records import LoggedModelQuery
from fivefold_tracking.store.records import Batch, InputRecord, ModelOutputRecord, RunQuery
from fivefold_tracking.store.sql import Store
from fivefold_tracking.store.tables import metadata
from tests.runtime.asserting import refused as refused_by_service
from tests.tracking.client import Tracking, sha256
from tests.tracking.client_models import ClientModelStores
from tests.tracking.contract import NOW, Contract, new_run, refused
from tests.tracking.contract_logged_models import new_model
from tests.tracking.test_process import running
from tests.tracking.test_stores import Postgres, Sqlite

KEPT = {"alembic_version", "answers", "blobs"}  # tables in which a purge leaves rows


class PurgeContract(Contract):
    """What every PurgeStore promises of what is seen."""

    def found(self, stores: Any, experiment: int) -> tuple[list[str], list[str]]:
        """Returns the runs and logged models of every view."""
        runs = stores.runs.search(RunQuery((experiment,), view=View.ALL), None, 100).items
        models = stores.logged_models.search(LoggedModelQuery((experiment,), view=View.ALL), None, 100).items
        return sorted(run.id for run in runs), sorted(model.id for model in models)

    def test_only_deleted_runs_and_models_are_purged(self, stores, experiment):
        runs = [stores.runs.create(new_run(experiment), NOW).id for _ in range(3)]
        models = [stores.logged_models.create(new_model(experiment), NOW).id for _ in range(3)]
        for run in runs[:2]:
            stores.runs.delete(run, NOW)
        stores.logged_models.delete(models[0], NOW)

        assert stores.purges.mark_models(experiment, None, models) == 1
        assert stores.purges.mark_runs(experiment, None, runs) == 2

        assert self.found(stores, experiment) == (runs[2:], sorted(models[1:]))
        for run in runs[:2]:
            for call in (
                lambda run=run: stores.runs.get(run),
                lambda run=run: stores.runs.undelete(run),
                lambda run=run: stores.runs.log(run, Batch(tags={"a": "1"})),
                lambda run=run: stores.runs.create(new_run(experiment, parent=run), NOW),
                lambda run=run: stores.artifacts.list(run, "", recursive=True, after=None, limit=10),
            ):
                with refused("RESOURCE_NOT_FOUND"):
                    call()
        for call in (
            lambda: stores.logged_models.get(models[0]),
            lambda: stores.logged_models.delete(models[0], NOW),
            lambda: stores.logged_models.log_inputs(runs[2], [models[0]]),
            lambda: stores.runs.log(runs[2], Batch((Point("auc", 1.0, NOW, 0, models[0]),))),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()

    def test_a_purge_may_name_what_it_purges(self, stores, experiment):
        runs = [stores.runs.create(new_run(experiment), NOW).id for _ in range(3)]
        for run in runs:
            stores.runs.delete(run, NOW)
        other = stores.experiments.create("other", {}, NOW).number

        assert stores.purges.mark_runs(other, None, runs) == 0, "they are of another experiment"
        assert stores.purges.mark_runs(experiment, None, runs[:1]) == 1
        assert self.found(stores, experiment)[0] == runs[1:]

    def test_a_purge_may_leave_what_was_deleted_lately(self, stores, experiment):
        run = stores.runs.create(new_run(experiment), NOW).id
        deleted = stores.runs.delete(run, NOW).deleted

        assert stores.purges.mark_runs(experiment, deleted, None) == 0
        assert stores.purges.mark_runs(experiment, deleted + 1, None) == 1

    def test_what_lies_in_a_deleted_experiment_is_deleted_and_purged(self, stores, experiment, run):
        stores.experiments.delete(experiment, "", NOW)

        assert stores.purges.mark_runs(experiment, None, None) == 1
        stores.experiments.undelete(experiment, NOW)
        assert self.found(stores, experiment) == ([], [])

    def test_an_experiment_is_purged_only_when_it_is_deleted_and_then_for_good(self, stores, experiment, run):
        model = stores.logged_models.create(new_model(experiment), NOW).id
        with refused("NOT_DELETED"):
            stores.purges.mark_experiment(experiment)
        stores.experiments.delete(experiment, "", NOW)

        stores.purges.mark_experiment(experiment)

        again = stores.experiments.create("flights", {}, NOW).number
        assert again != experiment, "a number is never given out again"
        for call in (
            lambda: stores.experiments.get(experiment),
            lambda: stores.experiments.undelete(experiment, NOW),
            lambda: stores.purges.mark_experiment(experiment),
            lambda: stores.purges.mark_runs(experiment, None, [run]),
            lambda: stores.runs.get(run),
            lambda: stores.runs.create(new_run(experiment), NOW),
            lambda: stores.logged_models.get(model),
            lambda: stores.logged_models.create(new_model(experiment), NOW),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()
        assert self.found(stores, experiment) == ([], [])
        assert stores.datasets.list([experiment], None, 10).items == ()

    def test_runs_do_not_show_a_purged_model_and_stay_when_their_parent_goes(self, stores, experiment, run):
        model = stores.logged_models.create(new_model(experiment, source_run=run), NOW).id
        child = stores.runs.create(new_run(experiment, parent=run), NOW).id
        stores.logged_models.log_inputs(child, [model])
        stores.logged_models.log_outputs(child, [ModelOutputRecord(model)])
        stores.logged_models.delete(model, NOW)
        stores.runs.delete(run, NOW)

        stores.purges.mark_models(experiment, None, [model])
        stores.purges.mark_runs(experiment, None, [run])

        shown = stores.runs.get(child)
        assert (shown.model_inputs, shown.outputs, shown.parent) == ((), (), run)


class TestOnSqlite(Sqlite, PurgeContract): ...


class TestOnPostgres(Postgres, PurgeContract): ...


class TestThroughGrpc(PurgeContract):
    @pytest.fixture
    def stores(self, tracking: Tracking) -> ClientModelStores:
        return ClientModelStores(tracking)


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def database_of(store: Store) -> Database:
    return store.purges._database  # type: ignore[attr-defined]


def rows(store: Store) -> dict[str, int]:
    """Returns how many rows each table has, where it has some."""
    with database_of(store).read() as tx:
        counts = {
            name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }
    return {name: count for name, count in counts.items() if count and name not in KEPT}


def fill(store: Store, name: str, points: int = 3, files: int = 2) -> tuple[int, str, str]:
    """Makes an experiment with everything that hangs on one; returns its number, a run and a logged model."""
    experiment = store.experiments.create(name, {"a": "1"}, NOW).number
    run = store.runs.create(new_run(experiment, params={"p": "1"}, tags={"t": "1"}), NOW).id
    model = store.logged_models.create(new_model(experiment, params={"p": "1"}, tags={"t": "1"}), NOW).id
    for key in ("x", "y"):
        for start in range(0, points, 1000):
            steps = range(start, min(start + 1000, points))
            store.runs.log(run, Batch(tuple(Point(key, 1.0, NOW, step) for step in steps)))
    store.runs.log(run, Batch((Point("auc", 1.0, NOW, 0, model, "d", "1"),)))
    store.runs.log_inputs(run, [InputRecord("d", "1", tags={"c": "x"})])
    store.logged_models.log_inputs(run, [model])
    store.logged_models.log_outputs(run, [ModelOutputRecord(model, 1)])
    for parent in (run, model):
        for place in range(files):
            store.artifacts.put(parent, f"f/{place}", 3, sha256(b"one"), NOW, lambda: True)
    return experiment, run, model


def test_a_purge_leaves_no_row_of_its_own_and_every_row_of_others(store: Store) -> None:
    fill(store, "kept")
    before = rows(store)
    experiment, _, _ = fill(store, "purged")
    store.experiments.delete(experiment, "", NOW)

    store.purges.mark_experiment(experiment)
    while store.purges.remove():
        pass

    assert rows(store) == before


def test_purged_runs_and_models_leave_no_row_while_their_experiment_stays(store: Store) -> None:
    fill(store, "kept")
    before = rows(store)
    experiment = store.experiments.create("purged", {}, NOW).number
    run = store.runs.create(new_run(experiment, params={"p": "1"}), NOW).id
    model = store.logged_models.create(new_model(experiment), NOW).id
    store.runs.log(run, Batch((Point("auc", 1.0, NOW, 0, model),)))
    store.artifacts.put(model, "a", 3, sha256(b"one"), NOW, lambda: True)
    store.runs.delete(run, NOW)
    store.logged_models.delete(model, NOW)

    assert store.purges.mark_runs(experiment, None, None) + store.purges.mark_models(experiment, None, None) == 2
    while store.purges.remove():
        pass

    grants = {"grants": before["grants"] + 1} if "grants" in before else {}
    assert rows(store) == before | {"experiments": before["experiments"] + 1} | grants


def test_each_step_removes_a_bounded_number_of_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_ROWS", 200)
    monkeypatch.setattr(purging, "_AT_ONCE", 10)
    experiment, run, _ = fill(store, "long", points=900, files=250)
    store.runs.log(run, Batch(tuple(Point(f"k{key}", 1.0, NOW, 0) for key in range(250))))
    store.experiments.delete(experiment, "", NOW)
    store.purges.mark_experiment(experiment)

    steps, before = 0, sum(rows(store).values())
    while store.purges.remove():
        after = sum(rows(store).values())
        assert before - after <= 500, rows(store)
        steps, before = steps + 1, after

    assert steps > 10
    assert rows(store) == {}


def test_marking_many_runs_takes_bounded_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_MARKED", 7)
    experiment = store.experiments.create("many", {}, NOW).number
    for _ in range(30):
        store.runs.delete(store.runs.create(new_run(experiment), NOW).id, NOW)
    marked: list[int] = []

    @event.listens_for(database_of(store).engine, "after_cursor_execute")
    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE runs"):
            marked.append(cursor.rowcount)

    assert store.purges.mark_runs(experiment, None, None) == 30
    event.remove(database_of(store).engine, "after_cursor_execute", count)
    assert max(marked) == 7


@pytest.fixture
def purged(tracking: Tracking) -> Callable[[str], pb.Experiment]:
    def make(name: str) -> pb.Experiment:
        experiment = tracking.experiment(name)
        tracking.upload(tracking.run(experiment.name).name, "a", b"bytes")
        tracking.stub.DeleteExperiment(pb.DeleteExperimentRequest(name=experiment.name))
        return experiment

    return make


def files(data: Path) -> set[str]:
    return {path.name for path in (data / "objects").rglob("*") if path.is_file()}


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it never came about")


def test_the_service_removes_rows_and_bytes_soon(tracking: Tracking, purged, data: Path) -> None:
    experiment = purged("flights")
    assert sha256(b"bytes") in files(data)

    tracking.stub.PurgeExperiment(pb.PurgeExperimentRequest(name=experiment.name))

    wait_until(lambda: files(data) == set())
    with refused_by_service("RESOURCE_NOT_FOUND"):
        tracking.stub.GetExperiment(pb.GetExperimentRequest(name=experiment.name))


def test_a_purge_with_a_request_id_answers_the_same_again(tracking: Tracking) -> None:
    experiment = tracking.experiment().name
    for _ in range(3):
        tracking.stub.DeleteRun(pb.DeleteRunRequest(name=tracking.run(experiment).name))
    request = pb.PurgeRunsRequest(experiment=experiment, request_id="1")

    answers = [tracking.stub.PurgeRuns(request) for _ in range(3)]

    assert answers == [pb.PurgeRunsResponse(purged_runs=3)] * 3


def test_a_purge_with_a_name_that_is_none_purges_nothing(tracking: Tracking) -> None:
    experiment = tracking.experiment().name
    run = tracking.run(experiment).name
    tracking.stub.DeleteRun(pb.DeleteRunRequest(name=run))

    for name in ("runs/../x", "logged_models/m-1", "experiments/1", "runs/" + "g" * 32, "%2e%2e"):
        with refused_by_service("NAME_INVALID"):
            tracking.stub.PurgeRuns(pb.PurgeRunsRequest(experiment=experiment, names=[run, name]))
    assert tracking.get(run).HasField("delete_time")


def test_a_killed_purge_goes_on_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running(folder) as process:
        tracking = process.tracking
        experiment = tracking.experiment().name
        runs = [tracking.run(experiment).name for _ in range(3)]
        for run in runs:
            for start in range(0, 20_000, 1000):
                tracking.log(run, [pb.Metric(key="m", value=1.0, step=step) for step in range(start, start + 1000)])
            tracking.upload(run, "a", b"bytes")
            tracking.stub.DeleteRun(pb.DeleteRunRequest(name=run))
        assert tracking.stub.PurgeRuns(pb.PurgeRunsRequest(experiment=experiment)).purged_runs == 3
        process.end(SIGKILL)

    def left() -> int:
        with sqlite3.connect(folder / "store.db") as store:
            return sum(
                store.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("runs", "points", "metrics", "artifacts", "blobs")
            )

    assert left() > 0
    with running(folder) as process:
        wait_until(lambda: left() == 0)
        assert process.tracking.search(experiment, view=pb.VIEW_ALL).runs == []
        assert process.tracking.stub.GetExperiment(pb.GetExperimentRequest(name=experiment)).name == experiment
    assert files(folder) == set()
