"""What every store of tracking promises of searches and artifacts; test_stores.py supplies `stores`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fivefold_runtime.filters import OrderKey
from fivefold_tracking.fields import RUNS
from fivefold_tracking.lifecycle import View
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.records import ArtifactRecord, Batch, InputRecord, RunQuery
from tests.tracking.client import sha256
from tests.tracking.contract import NOW, UNKNOWN, Contract, new_run, refused

VALUES = {
    "a": 1.0,
    "b": math.nan,
    "c": math.inf,
    "d": None,
    "e": -math.inf,
    "f": 1.0,
    "g": None,
    "h": -2.5,
    "i": math.nan,
}
TEXTS = {"a": "9", "b": "10", "c": "Z", "d": None, "e": "a", "f": "ä", "g": "", "h": "\U0001f600", "i": "\uffee"}


def by(key: str, descending: bool = False) -> tuple[OrderKey, ...]:
    """Returns the order by one key."""
    return RUNS.parse_order(f"{key} {'desc' if descending else 'asc'}")


class SearchContract(Contract):
    """What every RunStore promises of searches."""

    @pytest.fixture
    def ids(self, stores: Any, experiment: int) -> dict[str, str]:
        """Ids of runs by display name: each with a value of VALUES as metric `auc` and of TEXTS as param `text`."""
        made = {}
        for index, name in enumerate(VALUES):
            run = stores.runs.create(new_run(experiment, display_name=name, started=NOW + index % 4), NOW).id
            value, text = VALUES[name], TEXTS[name]
            metrics = [] if value is None else [Point("auc", 0.5, NOW, 0), Point("auc", value, NOW, 1)]
            metrics.append(Point("other", float(index), NOW, 0))
            stores.runs.log(run, Batch(tuple(metrics), {} if text is None else {"text": text}))
            made[name] = run
        return made

    def found(self, stores: Any, query: RunQuery, limit: int = 100) -> str:
        items, pages = self.pages(lambda after, size: stores.runs.search(query, after, size), limit)
        assert all(len(page.items) <= limit for page in pages)
        assert {page.total for page in pages} == {len(items)}
        return "".join(run.display_name for run in items)

    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    @pytest.mark.parametrize("descending", [False, True])
    def test_by_a_metric_numbers_come_first_then_nan_then_runs_without(
        self, stores, experiment, ids, limit, descending
    ):
        order = by("metrics.auc", descending)

        got = self.found(stores, RunQuery((experiment,), order=order), limit)

        assert got == ("cfahebidg" if descending else "ehfacbidg")

    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    @pytest.mark.parametrize("descending", [False, True])
    def test_by_a_param_texts_are_compared_by_code_point(self, stores, experiment, ids, limit, descending):
        order = by("params.text", descending)
        with_text = sorted((name for name in TEXTS if TEXTS[name] is not None), key=lambda name: TEXTS[name] or "")

        got = self.found(stores, RunQuery((experiment,), order=order), limit)

        assert got == ("".join(reversed(with_text)) + "d" if descending else "".join(with_text) + "d")

    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    @pytest.mark.parametrize("descending", [False, True])
    def test_by_start_time_equal_ones_follow_by_id(self, stores, experiment, ids, limit, descending):
        order = by("start_time", descending)

        got = self.found(stores, RunQuery((experiment,), order=order), limit)

        assert got == ("dhcgbfaei" if descending else "aeibfcgdh")

    def test_by_a_metric_that_no_run_has_all_runs_are_found(self, stores, experiment, ids):
        assert self.found(stores, RunQuery((experiment,), order=by("metrics.none")), 4) == "dhcgbfaei"

    def test_each_run_comes_whole_but_for_schemas_and_profiles(self, stores, experiment, ids):
        described = InputRecord("d", "1", "local", "/data", "schema", "profile", {"context": "training"})
        stores.runs.log_inputs(ids["a"], [described])

        found = {run.display_name: run for run in stores.runs.search(RunQuery((experiment,)), None, 100).items}

        assert found["c"] == stores.runs.get(ids["c"])
        assert found["a"].inputs == (InputRecord("d", "1", "local", "/data", "", "", {"context": "training"}),)

    def test_only_runs_nested_directly_in_the_parent_are_found(self, stores, experiment, ids):
        child = stores.runs.create(new_run(experiment, display_name="C", parent=ids["a"]), NOW).id
        stores.runs.create(new_run(experiment, display_name="G", parent=child), NOW)

        assert self.found(stores, RunQuery((experiment,), parent=ids["a"])) == "C"
        assert self.found(stores, RunQuery((experiment,), parent=UNKNOWN)) == ""

    def test_several_experiments_are_searched_as_one(self, stores, experiment, ids):
        other = stores.experiments.create("other", {}, NOW).number
        run = stores.runs.create(new_run(other, display_name="X"), NOW).id
        stores.runs.log(run, Batch((Point("auc", 0.9, NOW, 1),)))

        got = self.found(stores, RunQuery((experiment, other), order=by("metrics.auc")), 2)

        assert got == "ehXfacbidg"

    def test_deleted_runs_are_found_only_when_asked_for(self, stores, experiment, ids):
        stores.runs.delete(ids["c"], NOW)
        order = by("metrics.auc")

        assert self.found(stores, RunQuery((experiment,), order=order), 2) == "ehfabidg"
        assert self.found(stores, RunQuery((experiment,), order=order, view=View.ALL), 2) == "ehfacbidg"

    def test_runs_of_a_deleted_experiment_are_found_only_when_asked_for(self, stores, experiment, ids):
        stores.experiments.delete(experiment, "", NOW)

        assert self.found(stores, RunQuery((experiment,))) == ""
        assert len(self.found(stores, RunQuery((experiment,), view=View.ALL))) == len(VALUES)

    def test_an_experiment_that_is_not_there_has_no_runs(self, stores):
        assert self.found(stores, RunQuery((7, 8))) == ""

    def test_a_page_of_big_runs_ends_early_and_loses_none(self, stores, experiment):
        big = {f"tag{index}": "x" * 8000 for index in range(100)}
        for name in "abcdefgh":
            run = stores.runs.create(new_run(experiment, display_name=name), NOW).id
            stores.runs.log(run, Batch(tags=big))

        items, pages = self.pages(lambda after, size: stores.runs.search(RunQuery((experiment,)), after, size), 8)

        assert "".join(run.display_name for run in items) == "abcdefgh"
        assert [len(page.items) for page in pages] == [5, 3]

    def test_metrics_make_a_run_big_too(self, stores, experiment):
        points = tuple(Point(f"{index:04}" + "m" * 240, 0.5, NOW, 0) for index in range(1000))
        for name in "abcdefghijklmnopqrst":
            run = stores.runs.create(new_run(experiment, display_name=name), NOW).id
            stores.runs.log(run, Batch(points))

        items, pages = self.pages(lambda after, size: stores.runs.search(RunQuery((experiment,)), after, size), 20)

        assert "".join(run.display_name for run in items) == "abcdefghijklmnopqrst"
        assert [len(page.items) for page in pages] == [14, 6]

    def test_tags_of_inputs_make_a_run_big_too(self, stores, experiment):
        tags = {f"{index}": "x" * 500 for index in range(50)}
        for name in "abcdef":
            run = stores.runs.create(new_run(experiment, display_name=name), NOW).id
            for start in range(0, 40, 20):
                numbers = range(start, start + 20)
                used = [InputRecord(f"d{number}", "1", "local", "/data", "", "", tags) for number in numbers]
                stores.runs.log_inputs(run, used)

        items, pages = self.pages(lambda after, size: stores.runs.search(RunQuery((experiment,)), after, size), 6)

        assert "".join(run.display_name for run in items) == "abcdef"
        assert [len(page.items) for page in pages] == [4, 2]

    @pytest.mark.parametrize("descending", [False, True])
    def test_the_key_of_a_run_with_a_long_param_is_short(self, stores, experiment, descending):
        for name in "abc":
            run = stores.runs.create(new_run(experiment, display_name=name), NOW).id
            stores.runs.log(run, Batch(params={"text": "\U0001f600" * 1400 + name}))
        stores.runs.create(new_run(experiment, display_name="d"), NOW)
        order = by("params.text", descending)

        assert self.found(stores, RunQuery((experiment,), order=order), 1) == ("cbad" if descending else "abcd")


class ArtifactContract(Contract):
    """What every ArtifactStore promises."""

    def put(self, stores: Any, run: str, path: str, data: bytes = b"one") -> ArtifactRecord:
        return stores.artifacts.put(run, path, len(data), sha256(data), NOW, lambda: True)

    def paths(self, stores: Any, run: str, folder: str = "", recursive: bool = False, limit: int = 100) -> list[str]:
        def read(after, size):
            return stores.artifacts.list(run, folder, recursive=recursive, after=after, limit=size)

        return [entry.path + "/" * entry.folder for entry in self.pages(read, limit)[0]]

    def test_a_file_is_read_back(self, stores, run):
        assert self.put(stores, run, "model/MLmodel", b"two") == ArtifactRecord("model/MLmodel", 3, sha256(b"two"))
        assert stores.artifacts.get(run, "model/MLmodel") == ArtifactRecord("model/MLmodel", 3, sha256(b"two"))

    def test_an_empty_file_is_a_file(self, stores, run):
        self.put(stores, run, "empty", b"")

        assert stores.artifacts.get(run, "empty") == ArtifactRecord("empty", 0, sha256(b""))
        assert self.paths(stores, run) == ["empty"]

    def test_a_file_is_replaced(self, stores, run):
        self.put(stores, run, "a", b"one")
        self.put(stores, run, "a", b"two")

        assert stores.artifacts.get(run, "a").sha256 == sha256(b"two")

    def test_a_folder_is_no_file(self, stores, run):
        self.put(stores, run, "a/b")

        with refused("RESOURCE_NOT_FOUND"):
            stores.artifacts.get(run, "a")
        with refused("RESOURCE_NOT_FOUND"):
            stores.artifacts.get(run, "a/c")

    @pytest.mark.parametrize("path", ["a", "a/b", "a/b/c/d"])
    def test_a_path_is_a_file_or_a_folder_but_not_both(self, stores, run, path):
        self.put(stores, run, "a/b/c")

        with refused("RESOURCE_EXISTS"):
            self.put(stores, run, path)
        assert self.paths(stores, run, recursive=True) == ["a/b/c"]

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_a_folder_lists_what_is_directly_in_it_by_path(self, stores, run, limit):
        for path in ("b.txt", "a/z", "a/c/1", "a/c/2", "a-b/x", "a.b", "ab", "ä"):
            self.put(stores, run, path)

        assert self.paths(stores, run, limit=limit) == ["a/", "a-b/", "a.b", "ab", "b.txt", "ä"]
        assert self.paths(stores, run, "a", limit=limit) == ["a/c/", "a/z"]
        assert self.paths(stores, run, "a/c", limit=limit) == ["a/c/1", "a/c/2"]
        assert self.paths(stores, run, "nothing", limit=limit) == []

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_a_recursive_list_has_every_file_below_by_path(self, stores, run, limit):
        for path in ("b", "a/z", "a/c/1", "a-b/x", "ab/y", "a0"):
            self.put(stores, run, path)

        assert self.paths(stores, run, "a", True, limit) == ["a/c/1", "a/z"]
        assert self.paths(stores, run, "", True, limit) == sorted(["b", "a/z", "a/c/1", "a-b/x", "ab/y", "a0"])

    def test_runs_do_not_see_each_others_files(self, stores, experiment, run):
        other = stores.runs.create(new_run(experiment), NOW).id
        self.put(stores, run, "a")

        assert self.paths(stores, other) == []
        with refused("RESOURCE_NOT_FOUND"):
            stores.artifacts.get(other, "a")
