"""What the stores of logged models and datasets promise; test_logged_models.py supplies `stores`, as test_stores.py does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fivefold_runtime.ids import new_id
from fivefold_tracking.lifecycle import View
from fivefold_tracking.logged import SEARCHED, LoggedModelStatus
from fivefold_tracking.metrics import Point
from fivefold_tracking.names import new_logged_model
from fivefold_tracking.store.model_records import (
    DatasetRecord,
    LoggedModelChange,
    LoggedModelQuery,
    LoggedModelRecord,
    NewLoggedModel,
)
from fivefold_tracking.store.records import Batch, InputRecord, ModelOutputRecord
from tests.tracking.client import sha256
from tests.tracking.contract import NOW, UNKNOWN, Contract, new_run, refused

NO_MODEL = f"m-{UNKNOWN}"


def new_model(experiment: int, **more: Any) -> NewLoggedModel:
    fields = {"id": new_logged_model(new_id()), "display_name": "forest"}
    return NewLoggedModel(experiment=experiment, **(fields | more))  # type: ignore[arg-type]


def measured(model: LoggedModelRecord) -> list[tuple[str, float, int, str, str]]:
    return [
        (each.point.key, each.point.value, each.point.step, each.point.dataset, each.point.digest)
        for each in model.metrics
    ]


class ModelContract(Contract):
    """The fixtures of logged models."""

    @pytest.fixture
    def model(self, stores: Any, experiment: int) -> str:
        return stores.logged_models.create(new_model(experiment), NOW).id

    def measure(self, stores: Any, run: str, *points: Point) -> None:
        stores.runs.log(run, Batch(points))


class LoggedModelContract(ModelContract):
    """What every LoggedModelStore promises."""

    def test_what_is_created_is_read_back(self, stores, experiment, run):
        asked = new_model(
            experiment,
            display_name="Wald ✈",
            model_type="Classifier",
            source_run=run,
            status=LoggedModelStatus.FAILED,
            status_message="disk full",
            params={"depth": "6", "empty": ""},
            tags={"team": "ops"},
        )

        made = stores.logged_models.create(asked, NOW)

        assert stores.logged_models.get(made.id) == made
        assert stores.logged_models.experiment_of(made.id) == experiment
        assert (made.display_name, made.model_type, made.source_run) == ("Wald ✈", "Classifier", run)
        assert (made.status, made.status_message) == (LoggedModelStatus.FAILED, "disk full")
        assert (made.params, made.tags, made.metrics) == (asked.params, asked.tags, ())
        assert made.created == made.updated
        assert made.deleted is None

    def test_its_source_run_must_be_of_its_experiment(self, stores, experiment, run):
        other = stores.experiments.create("other", {}, NOW).number

        for asked in (new_model(other, source_run=run), new_model(experiment, source_run=UNKNOWN)):
            with refused("RESOURCE_NOT_FOUND"):
                stores.logged_models.create(asked, NOW)

    def test_a_deleted_experiment_takes_none(self, stores, experiment):
        stores.experiments.delete(experiment, "", NOW)

        with refused("EXPERIMENT_DELETED"):
            stores.logged_models.create(new_model(experiment), NOW)
        with refused("RESOURCE_NOT_FOUND"):
            stores.logged_models.create(new_model(77), NOW)

    def test_an_update_changes_what_it_names_and_the_etag(self, stores, model):
        before = stores.logged_models.get(model)

        def change(**fields):
            return stores.logged_models.update(model, LoggedModelChange(**fields), "", NOW + 1)

        ready = change(status=LoggedModelStatus.READY, status_message="")
        named = change(display_name="tree")
        assert (ready.status, ready.display_name) == (LoggedModelStatus.READY, "forest")
        assert (named.status, named.display_name) == (LoggedModelStatus.READY, "tree")
        assert len({before.etag, ready.etag, named.etag}) == 3
        assert stores.logged_models.get(model) == named

    def test_params_are_added_once_and_never_changed(self, stores, model):
        def add(**params):
            return stores.logged_models.update(model, LoggedModelChange(params=params), "", NOW)

        add(depth="6")
        assert add(depth="6", rate="0.1").params == {"depth": "6", "rate": "0.1"}

        with refused("PARAM_CHANGED"):
            add(more="1", rate="0.2")
        assert stores.logged_models.get(model).params == {"depth": "6", "rate": "0.1"}

    def test_a_model_never_has_more_than_1000_params(self, stores, model):
        def add(*keys):
            stores.logged_models.update(model, LoggedModelChange(params=dict.fromkeys(keys, "")), "", NOW)

        add(*(f"p{index}" for index in range(1000)))
        with refused("TOO_MANY_ITEMS"):
            add("one more")
        add("p1")

    def test_tags_are_replaced_as_a_whole_or_one_by_one(self, stores, model):
        def change(**fields):
            return stores.logged_models.update(model, LoggedModelChange(**fields), "", NOW).tags

        assert change(tags={"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
        assert change(some={"b": None, "c": "3", "d.e": "4"}) == {"a": "1", "c": "3", "d.e": "4"}
        assert change(tags={"z": "9"}) == {"z": "9"}

    def test_the_second_of_two_writers_loses(self, stores, model):
        etag = stores.logged_models.get(model).etag
        stores.logged_models.update(model, LoggedModelChange(display_name="first"), etag, NOW)

        with refused("ETAG_MISMATCH"):
            stores.logged_models.update(model, LoggedModelChange(display_name="second"), etag, NOW)
        assert stores.logged_models.get(model).display_name == "first"

    def test_a_deleted_one_refuses_changes_but_is_read(self, stores, model):
        stores.logged_models.delete(model, NOW)

        for change in (
            lambda: stores.logged_models.delete(model, NOW),
            lambda: stores.logged_models.update(model, LoggedModelChange(display_name="x"), "", NOW),
            lambda: stores.artifacts.put(model, "a", 3, sha256(b"one"), NOW, lambda: True),
        ):
            with refused("LOGGED_MODEL_DELETED"):
                change()
        assert stores.logged_models.get(model).deleted is not None

    def test_deleting_the_experiment_takes_it_along_and_back(self, stores, experiment, model):
        stores.experiments.delete(experiment, "", NOW)
        with refused("LOGGED_MODEL_DELETED"):
            stores.logged_models.update(model, LoggedModelChange(display_name="x"), "", NOW)
        assert stores.logged_models.get(model).deleted is not None

        stores.experiments.undelete(experiment, NOW)

        assert stores.logged_models.get(model).deleted is None

    def test_runs_show_what_they_used_and_made(self, stores, experiment, run):
        first, second = (stores.logged_models.create(new_model(experiment), NOW).id for _ in range(2))

        stores.logged_models.log_inputs(run, [second, first, second])
        stores.logged_models.log_outputs(run, [ModelOutputRecord(second, 7), ModelOutputRecord(first, -1)])
        stores.logged_models.log_outputs(run, [ModelOutputRecord(second, 8)])

        shown = stores.runs.get(run)
        assert shown.model_inputs == tuple(sorted([first, second]))
        assert {each.model: each.step for each in shown.outputs} == {first: -1, second: 8}

    def test_a_run_makes_models_of_its_own_experiment_but_uses_any(self, stores, run):
        other = stores.experiments.create("other", {}, NOW).number
        foreign = stores.logged_models.create(new_model(other), NOW).id

        stores.logged_models.log_inputs(run, [foreign])
        with refused("RESOURCE_NOT_FOUND"):
            stores.logged_models.log_outputs(run, [ModelOutputRecord(foreign)])
        assert (stores.runs.get(run).model_inputs, stores.runs.get(run).outputs) == ((foreign,), ())

    def test_a_deleted_run_records_no_models(self, stores, model, run):
        stores.runs.delete(run, NOW)

        with refused("RUN_DELETED"):
            stores.logged_models.log_inputs(run, [model])
        with refused("RUN_DELETED"):
            stores.logged_models.log_outputs(run, [ModelOutputRecord(model)])

    def test_one_that_is_not_there_is_not_found_by_any_call(self, stores, run):
        for call in (
            lambda: stores.logged_models.get(NO_MODEL),
            lambda: stores.logged_models.experiment_of(NO_MODEL),
            lambda: stores.logged_models.update(NO_MODEL, LoggedModelChange(display_name="x"), "", NOW),
            lambda: stores.logged_models.delete(NO_MODEL, NOW),
            lambda: stores.logged_models.log_inputs(run, [NO_MODEL]),
            lambda: stores.logged_models.log_outputs(run, [ModelOutputRecord(NO_MODEL)]),
            lambda: stores.artifacts.put(NO_MODEL, "a", 3, sha256(b"one"), NOW, lambda: True),
            lambda: stores.artifacts.get(NO_MODEL, "a"),
            lambda: stores.artifacts.list(NO_MODEL, "", recursive=False, after=None, limit=10),
            lambda: stores.artifacts.delete(NO_MODEL, "a"),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                call()

    def test_a_metric_is_kept_by_run_and_dataset_with_its_latest_point(self, stores, experiment, model, run):
        other = stores.runs.create(new_run(experiment), NOW).id

        self.measure(
            stores,
            run,
            Point("auc", 0.7, NOW, 1, model, "flights", "d1"),
            Point("auc", 0.9, NOW, 3, model, "flights", "d1"),
            Point("auc", 0.8, NOW, 2, model, "flights", "d1"),
            Point("auc", 0.1, NOW, 0, model, "flights", "d2"),
            Point("auc", 0.2, NOW, 0, model),
            Point("loss", math.nan, NOW, 0, model),
            Point("auc", 0.3, NOW, 9),
        )
        self.measure(stores, run, Point("auc", 0.5, NOW, 2, model, "flights", "d1"))
        self.measure(stores, other, Point("auc", 0.6, NOW, 0, model, "flights", "d1"))

        found = stores.logged_models.get(model)
        of_run = [each for each in found.metrics if each.run == run]
        assert [(each.point.key, each.point.value, each.point.dataset, each.point.digest) for each in of_run[:3]] == [
            ("auc", 0.2, "", ""),
            ("auc", 0.9, "flights", "d1"),
            ("auc", 0.1, "flights", "d2"),
        ]
        assert math.isnan(of_run[3].point.value)
        assert [each.point.value for each in found.metrics if each.run == other] == [0.6]
        assert {each.point.model for each in found.metrics} == {model}

    def test_a_metric_of_a_model_of_another_experiment_is_refused_with_its_batch(self, stores, run):
        other = stores.experiments.create("other", {}, NOW).number
        foreign = stores.logged_models.create(new_model(other), NOW).id

        for model in (foreign, NO_MODEL):
            with refused("RESOURCE_NOT_FOUND"):
                stores.runs.log(run, Batch((Point("auc", 1.0, NOW, 0, model),), tags={"a": "1"}))
        assert (stores.runs.get(run).tags, stores.runs.get(run).metrics) == ({}, ())


class LoggedModelSearchContract(ModelContract):
    """What every LoggedModelStore promises of searches."""

    @pytest.fixture
    def many(self, stores: Any, experiment: int, run: str) -> dict[str, str]:
        """Five logged models by name; "none" has nothing, "nan" a metric that is NaN."""
        made = {}
        for place, name in enumerate(["low", "high", "nan", "none", "mid"]):
            asked = new_model(
                experiment,
                display_name=name,
                model_type="Tree" if name != "none" else "",
                params={"depth": str(place * 5)} if name != "none" else {},
                tags={"team": "ops" if place % 2 else "dev"} if name != "none" else {},
                status=LoggedModelStatus.READY if name == "high" else LoggedModelStatus.PENDING,
                source_run=run if name == "low" else "",
            )
            made[name] = stores.logged_models.create(asked, NOW + place).id
        values = {"low": 0.1, "mid": 0.5, "high": 0.9, "nan": math.nan}
        self.measure(
            stores, run, *(Point("auc", value, NOW, 0, made[name], "a", "1") for name, value in values.items())
        )
        self.measure(
            stores, run, Point("auc", 0.99, NOW + 1, 0, made["low"], "b", "2"), Point("n", 1.0, NOW, 0, made["mid"])
        )
        return made

    def found(self, stores: Any, experiment: int, text: str = "", order: str = "", limit: int = 100, **more: Any):
        query = LoggedModelQuery((experiment,), filter=SEARCHED.parse(text), order=SEARCHED.parse_order(order), **more)

        def read(after, size):
            through_grpc = {"text": text} if hasattr(stores.logged_models, "_stub") else {}
            return stores.logged_models.search(query, after, size, **through_grpc)

        return [model.display_name for model in self.pages(read, limit)[0]]

    def test_without_an_order_the_newest_come_first(self, stores, experiment, many):
        assert self.found(stores, experiment) == ["mid", "none", "nan", "high", "low"]

    def test_what_is_found_is_whole(self, stores, experiment, many):
        page = stores.logged_models.search(LoggedModelQuery((experiment,)), None, 100)

        found = [model for model in page.items if model.id != many["nan"]]  # A NaN equals nothing.
        assert found == [stores.logged_models.get(model.id) for model in found]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("name = 'low'", ["low"]),
            ("attributes.name LIKE '%i%'", ["mid", "high"]),
            ("attributes.name ILIKE 'LOW'", ["low"]),
            ("status = 'READY'", ["high"]),
            ("model_type = ''", ["none"]),
            ("model_type IS NULL", ["none"]),
            ("source_run_id IS NOT NULL", ["low"]),
            ("metrics.auc > 0.4", ["mid", "high", "low"]),
            ("metrics.auc >= 0.8 AND metrics.auc < 0.95", ["high", "low"]),
            ("metrics.auc IS NULL", ["none"]),
            ("metrics.auc IS NOT NULL", ["mid", "nan", "high", "low"]),
            ("NOT metrics.auc > 0.4", ["nan"]),
            ("params.depth = '5'", ["high"]),
            ("params.depth >= 10", ["mid", "nan"]),
            ("params.depth IN ('0', '20')", ["mid", "low"]),
            ("params.depth IS NULL", ["none"]),
            ("tags.team = 'ops'", ["high"]),
            ("tags.team != 'ops'", ["mid", "nan", "low"]),
            ("tags.team = 'ops' OR metrics.n = 1", ["mid", "high"]),
            ("NOT (tags.team = 'ops' OR name = 'mid')", ["nan", "low"]),
            ("metrics.nothing > 0", []),
        ],
    )
    def test_a_filter_finds_what_it_says(self, stores, experiment, many, text, expected):
        assert self.found(stores, experiment, text) == expected

    def test_ids_and_times_are_compared(self, stores, experiment, many):
        assert self.found(stores, experiment, f"model_id = '{many['nan']}'") == ["nan"]
        assert self.found(stores, experiment, "creation_timestamp > 0", limit=2) == self.found(stores, experiment)
        assert self.found(stores, experiment, "last_updated_timestamp < 1000") == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            ("metrics.auc", ["mid", "high", "low", "nan", "none"]),
            ("metrics.auc DESC", ["low", "high", "mid", "nan", "none"]),
            ("name", ["high", "low", "mid", "nan", "none"]),
            ("name desc", ["none", "nan", "mid", "low", "high"]),
            ("model_type desc, name", ["high", "low", "mid", "nan", "none"]),
            ("status, metrics.auc desc", ["low", "mid", "nan", "none", "high"]),
            ("creation_timestamp", ["low", "high", "nan", "none", "mid"]),
            ("metrics.nothing desc", ["mid", "none", "nan", "high", "low"]),
        ],
    )
    def test_pages_together_have_each_once_in_order(self, stores, experiment, many, order, expected, limit):
        assert self.found(stores, experiment, order=order, limit=limit) == expected

    def test_metrics_count_only_on_the_datasets_chosen(self, stores, experiment, many):
        def found(*datasets, **more):
            return self.found(stores, experiment, datasets=datasets, **more)

        assert found(("b", ""), text="metrics.auc > 0.4") == ["low"]
        assert found(("b", "2"), text="metrics.auc > 0.4") == ["low"]
        assert found(("b", "1"), text="metrics.auc > 0.4") == []
        assert found(("a", ""), text="metrics.auc > 0.4") == ["mid", "high"]
        assert found(("a", ""), order="metrics.auc") == ["low", "mid", "high", "nan", "none"]
        assert found(("a", "1"), ("b", "2"), order="metrics.auc desc")[0] == "low"

    def test_a_view_says_which_of_the_deleted(self, stores, experiment, many):
        stores.logged_models.delete(many["high"], NOW)

        assert self.found(stores, experiment, "name IN ('high', 'low')") == ["low"]
        assert self.found(stores, experiment, "name IN ('high', 'low')", view=View.DELETED) == ["high"]
        assert self.found(stores, experiment, "name IN ('high', 'low')", view=View.ALL) == ["high", "low"]

        stores.experiments.delete(experiment, "", NOW)

        assert self.found(stores, experiment) == []
        assert len(self.found(stores, experiment, view=View.DELETED)) == 5

    def test_experiments_do_not_see_each_others(self, stores, many):
        other = stores.experiments.create("other", {}, NOW).number

        assert self.found(stores, other) == []


class DatasetContract(Contract):
    """What every DatasetStore promises."""

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_datasets_are_listed_once_with_their_contexts(self, stores, experiment, run, limit):
        other = stores.experiments.create("other", {}, NOW).number
        for of, each, digest, context in (
            (experiment, "b", "2", "training"),
            (experiment, "b", "2", "eval"),
            (experiment, "b", "1", ""),
            (experiment, "a", "9", "training"),
            (other, "a", "9", "test"),
        ):
            one = stores.runs.create(new_run(of), NOW).id
            tags = {"mlflow.data.context": context} if context else {"x": "y"}
            stores.runs.log_inputs(one, [InputRecord(each, digest, tags=tags)])

        def read(after, size):
            return stores.datasets.list([other, experiment], after, size)

        assert self.pages(read, limit)[0] == [
            DatasetRecord(experiment, "a", "9", ("training",)),
            DatasetRecord(experiment, "b", "1", ()),
            DatasetRecord(experiment, "b", "2", ("eval", "training")),
            DatasetRecord(other, "a", "9", ("test",)),
        ]
