"""What every RunStore promises of filters and orders; test_search.py supplies `stores`: SQLite, PostgreSQL, a gRPC client."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fivefold_runtime.filters import And, Comparison, Field, Filter, Operator, Or, OrderKey, Presence
from fivefold_tracking.fields import EXPERIMENTS, RUNS
from fivefold_tracking.lifecycle import RunStatus, View
from fivefold_tracking.metrics import Point
from fivefold_tracking.store.records import Batch, ExperimentQuery, InputRecord, RunChange, RunQuery, SourceRecord
from tests.tracking import evaluating
from tests.tracking.contract import NOW, OPEN, UNKNOWN, Contract, new_run, refused

NUMBERS = [math.nan, math.inf, -math.inf, -1.5, 0.0, 0.5, 1.0, 9.0, 10.0, 1e300]
TEXTS = [
    "", "a", "A", "ab", "B", "9", "10", "1e1", " 0.5", "nan", "ä", "Ä", "a%b", "a_b", "[a]*?", "it's", "C:\\new",
    "\U0001f600", "\uffee", "x" * 500, "x" * 501, "x" * 700 + "y",
]  # fmt: skip
PIECES = ["%", "_", "a", "A", "b", "ä", "\\%", "\\_", "*", "?", "[a]", "x", "1", "\U0001f600"]
KEYS = ["a", "b c", "ü.d/e", "none"]
STARTS = [NOW, NOW + 500, NOW + 1000, NOW + 2_000_000]

_fields = st.sampled_from(KEYS)
_ranges = [Operator.EQUAL, Operator.NOT_EQUAL, Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST]
_numbers = st.sampled_from([number for number in NUMBERS if math.isfinite(number)]) | st.sampled_from(
    [9, 10, 0, -2, 2**40, 10**30]
)
_texts = st.sampled_from(TEXTS)
_patterns = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


def _one_of(*operators: Operator) -> Any:
    return st.sampled_from(operators)


def _number_leaves(field: Any) -> Any:
    lists = st.lists(_numbers, min_size=1, max_size=4).map(tuple)
    return st.builds(Comparison, field, st.sampled_from(_ranges), st.tuples(_numbers), st.booleans()) | st.builds(
        Comparison, field, _one_of(Operator.IN, Operator.NOT_IN), lists, st.booleans()
    )


def _text_leaves(field: Any) -> Any:
    lists = st.lists(_texts, min_size=1, max_size=4).map(tuple)
    return (
        st.builds(Comparison, field, _one_of(Operator.EQUAL, Operator.NOT_EQUAL), st.tuples(_texts), st.booleans())
        | st.builds(Comparison, field, _one_of(Operator.LIKE, Operator.ILIKE), st.tuples(_patterns), st.booleans())
        | st.builds(Comparison, field, _one_of(Operator.IN, Operator.NOT_IN), lists, st.booleans())
    )


_text_attributes = st.sampled_from(["run_name", "user", "source_name", "parent_run_id", "source_type"])
_all_fields = st.builds(Field, st.sampled_from(["metrics", "params", "tags"]), _fields) | st.builds(
    Field, st.just("attributes"), _text_attributes | st.sampled_from(["end_time", "status", "start_time"])
)
_leaves = (
    _number_leaves(st.builds(Field, st.sampled_from(["metrics", "params"]), _fields))
    | _text_leaves(st.builds(Field, st.sampled_from(["params", "tags"]), _fields))
    | _text_leaves(st.builds(Field, st.just("attributes"), _text_attributes))
    | _text_leaves(st.builds(Field, st.just("datasets"), st.sampled_from(["name", "digest", "context"])))
    | st.builds(
        Comparison,
        st.builds(Field, st.just("attributes"), st.sampled_from(["start_time", "end_time"])),
        st.sampled_from(_ranges),
        st.tuples(st.sampled_from(STARTS)),
        st.booleans(),
    )
    | st.builds(Presence, _all_fields | st.builds(Field, st.just("datasets"), st.just("context")), st.booleans())
)
filters = st.none() | st.recursive(
    _leaves,
    lambda parts: st.builds(
        lambda join, some: join(tuple(some)), st.sampled_from([And, Or]), st.lists(parts, min_size=2, max_size=3)
    ),
    max_leaves=6,
)
orders = st.lists(
    st.builds(OrderKey, _all_fields | st.just(Field("attributes", "run_id")), st.booleans()),
    max_size=3,
    unique_by=lambda key: key.field,
).map(tuple)


class FilterContract(Contract):
    """What every RunStore promises of filters and orders."""

    @pytest.fixture
    def runs(self, stores: Any, experiment: int) -> list[Any]:
        """Runs with every kind of value, whole."""
        chance = random.Random(7)
        made: list[str] = []
        for index in range(24):
            source = chance.choice([SourceRecord(), SourceRecord("LOCAL", chance.choice(TEXTS[:6]))])
            new = new_run(
                experiment,
                display_name=chance.choice(["a", "A", "ab", "it's", "ä"]),
                user=chance.choice(["a", "b%"]),
                started=chance.choice(STARTS),
                source=source,
                parent=chance.choice(made) if made and index % 3 == 0 else "",
                params={key: chance.choice(TEXTS) for key in KEYS[:3] if chance.random() < 0.8},
                tags={key: chance.choice(TEXTS) for key in KEYS[:3] if chance.random() < 0.8},
            )
            run = stores.runs.create(new, NOW).id
            points = [Point(key, chance.choice(NUMBERS), NOW, 1) for key in KEYS[:3] if chance.random() < 0.8]
            points += [Point(point.key, 77.0, NOW, 0) for point in points]  # earlier ones, which do not count
            stores.runs.log(run, Batch(tuple(points)))
            if index % 2:
                ended = chance.choice(STARTS)
                stores.runs.update(run, RunChange(status=RunStatus.FINISHED, ended=ended), "", NOW)
            for number in range(chance.choice([0, 1, 2])):
                tags = {"mlflow.data.context": chance.choice(["a", "A"])} if chance.random() < 0.5 else {}
                used = InputRecord(chance.choice(["a", "ab", "B"]), str(number), tags=tags)
                self.use(stores, run, used)
            made.append(run)
        return [stores.runs.get(run) for run in made]

    def use(self, stores: Any, run: str, used: InputRecord) -> None:
        stores.runs.log_inputs(run, [used])

    def found(self, stores: Any, query: RunQuery, limit: int = 100) -> list[str]:
        items, pages = self.pages(lambda after, size: stores.runs.search(query, after, size), limit)
        if query.counted:
            assert {page.total for page in pages} == {len(items)}
        return [run.id for run in items]

    def test_searches_find_what_the_filter_means_in_the_order_that_was_asked_for(self, stores, experiment, runs):
        @settings(
            max_examples=self.examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            phases=[Phase.generate],  # To shrink takes minutes here, and what fails is small.
        )
        @given(filters, orders, st.sampled_from([1, 3, 7, 100]), st.booleans(), st.sampled_from([0, 50_000]))
        def check(tree: Filter | None, order: tuple[OrderKey, ...], limit: int, counted: bool, many: int) -> None:
            with self.many(many):
                got = self.found(stores, RunQuery((experiment,), filter=tree, order=order, counted=counted), limit)
            matching = [run for run in runs if evaluating.holds(tree, run)]
            assert got == [run.id for run in evaluating.ordered(matching, order)]

        check()

    def test_every_text_is_found_by_itself_and_by_patterns(self, stores, experiment):
        """Long ones, those that mean something to LIKE or GLOB, those that differ in case only."""
        made = [stores.runs.create(new_run(experiment, params={"a": text}, tags={"a": text}), NOW) for text in TEXTS]
        patterns = [*PIECES, *(f"%{piece}%" for piece in PIECES), "[a]*?", "a_b", "a\\_b", "A\\%B", "x%y", "\\", "%%_"]
        for field in (Field("params", "a"), Field("tags", "a")):
            wanted = [Comparison(field, Operator.EQUAL, (text,)) for text in TEXTS]
            wanted += [Comparison(field, Operator.IN, (text, "none")) for text in TEXTS]
            wanted += [
                Comparison(field, operator, (pattern,))
                for operator, pattern in itertools.product([Operator.LIKE, Operator.ILIKE], patterns)
            ]
            for leaf in wanted:
                got = self.found(stores, RunQuery((experiment,), filter=leaf))
                assert set(got) == {run.id for run in made if evaluating.holds(leaf, run)}, leaf

    def test_pages_of_every_pair_of_keys_have_each_run_once(self, stores, experiment, runs):
        pairs = itertools.permutations(["metrics.a", "params.a", "start_time", "tags.a"], 2)
        for number, (pair, directions) in enumerate(
            itertools.product(pairs, itertools.product(["asc", "desc"], repeat=2))
        ):
            text = ", ".join(f"{key} {direction}" for key, direction in zip(pair, directions, strict=True))
            order = RUNS.parse_order(text)
            with self.many(0):
                got = self.found(stores, RunQuery((experiment,), order=order), 1 if number % 4 == 0 else 5)
            assert got == [run.id for run in evaluating.ordered(runs, order)], text

    def test_a_filter_cannot_say_more_than_its_values(self, stores, experiment, runs):
        hostile = [
            "' OR 1=1 --",
            '"; DROP TABLE runs; --',
            "%' OR '%'='",
            "a') OR (1=1",
            "\\",
            "*",
            "${x}",
            "{}",
            "%s",
            ":p",
        ]
        for text in hostile:
            made = stores.runs.create(new_run(experiment, tags={"a": text}, params={"a": text}), NOW).id
            for group, operator in itertools.product(["tags", "params"], [Operator.EQUAL, Operator.IN]):
                leaf = Comparison(Field(group, "a"), operator, (text,))
                assert self.found(stores, RunQuery((experiment,), filter=leaf)) == [made], text
            for key in (text, f"{text}`"):
                if "`" not in key:
                    for field in (Field("metrics", key), Field("params", key), Field("tags", key)):
                        query = RunQuery((experiment,), filter=Presence(field, True), order=(OrderKey(field),))
                        assert self.found(stores, query) == []

    def test_several_experiments_are_searched_as_one_with_any_order(self, stores, experiment, runs):
        other = stores.experiments.create("other", {}, NOW).number
        for index in range(5):
            run = stores.runs.create(new_run(other, started=NOW + index, params={"a": str(index)}), NOW).id
            stores.runs.log(run, Batch((Point("a", float(index), NOW, 1),)))
            runs.append(stores.runs.get(run))
        for text in ("metrics.a desc, params.a", "params.a", "start_time", "tags.a desc"):
            order = RUNS.parse_order(text)
            for many, limit in itertools.product([0, 50_000], [2, 100]):
                tree = RUNS.parse("metrics.a > -10 OR metrics.a IS NULL OR metrics.a != 0")
                with self.many(many):
                    got = self.found(stores, RunQuery((experiment, other), filter=tree, order=order), limit)
                matching = [run for run in runs if evaluating.holds(tree, run)]
                assert got == [run.id for run in evaluating.ordered(matching, order)], text

    def test_each_view_has_its_runs_and_counts_them(self, stores, experiment, runs):
        gone = {run.id for run in runs[::3]}
        for run in gone:
            stores.runs.delete(run, NOW)
        for text in ("", "metrics.a > 0", "params.a IS NOT NULL AND tags.a != 'x'", "user = 'a'", "tags.a IS NULL"):
            tree = RUNS.parse(text)
            matching = {run.id for run in runs if evaluating.holds(tree, run)}
            for view, expected in (
                (View.ACTIVE, matching - gone),
                (View.DELETED, matching & gone),
                (View.ALL, matching),
            ):
                for many in (0, 50_000):
                    with self.many(many):
                        got = self.found(stores, RunQuery((experiment,), filter=tree, view=view), 5)
                    assert (len(got), set(got)) == (len(expected), expected), (text, view)

    def test_all_runs_of_a_deleted_experiment_are_in_the_view_of_deleted_ones(self, stores, experiment, runs):
        stores.runs.delete(runs[0].id, NOW)
        stores.experiments.delete(experiment, "", NOW)

        assert self.found(stores, RunQuery((experiment,), view=View.ACTIVE)) == []
        for view in (View.DELETED, View.ALL):
            assert set(self.found(stores, RunQuery((experiment,), view=view))) == {run.id for run in runs}
            tree = RUNS.parse("metrics.a IS NOT NULL")
            matching = {run.id for run in runs if evaluating.holds(tree, run)}
            assert set(self.found(stores, RunQuery((experiment,), filter=tree, view=view))) == matching

    def test_a_page_goes_on_where_it_ended_though_runs_have_come_and_gone(self, stores, experiment, runs):
        order = RUNS.parse_order("metrics.a desc, params.a")
        query = RunQuery((experiment,), order=order)
        page = stores.runs.search(query, None, 8)
        seen = [run.id for run in page.items]
        stores.runs.delete(seen[-1], NOW)
        stores.runs.create(new_run(experiment, started=NOW + 9), NOW)

        rest = stores.runs.search(query, page.more, 100)

        left = [run.id for run in evaluating.ordered(runs, order) if run.id not in seen]
        assert [run.id for run in rest.items if run.id in left] == left
        assert not set(seen) & {run.id for run in rest.items}

    def test_only_runs_nested_in_the_parent_match_with_a_filter_too(self, stores, experiment, runs):
        parent = next(run.parent for run in runs if run.parent)
        children = {run.id for run in runs if run.parent == parent}

        assert set(self.found(stores, RunQuery((experiment,), parent=parent))) == children
        by_filter = RUNS.parse(f"parent_run_id = '{parent}' AND start_time > 0")
        assert set(self.found(stores, RunQuery((experiment,), filter=by_filter))) == children
        none = RunQuery((experiment,), parent=UNKNOWN, filter=RUNS.parse("metrics.a != 0"))
        assert self.found(stores, none) == []

    def test_tags_of_a_run_are_set_and_removed_one_by_one_and_replaced_as_a_whole(self, stores, experiment):
        made = stores.runs.create(new_run(experiment, tags={"a": "1", "b": "2", "c": "3"}), NOW)

        some = stores.runs.update(made.id, RunChange(some={"a": "x", "b": None, "d": "4"}), made.etag, NOW)
        every = stores.runs.update(made.id, RunChange(tags={"e": "5"}), "", NOW)

        assert (some.tags, every.tags) == ({"a": "x", "c": "3", "d": "4"}, {"e": "5"})
        assert len({made.etag, some.etag, every.etag}) == 3
        assert self.found(stores, RunQuery((experiment,), filter=RUNS.parse("tags.e = '5' AND tags.a IS NULL"))) == [
            made.id
        ]

    def test_a_run_never_has_more_than_1000_tags(self, stores, experiment):
        made = stores.runs.create(new_run(experiment, tags={f"t{index}": "" for index in range(999)}), NOW)
        stores.runs.update(made.id, RunChange(some={"one": "more"}), "", NOW)

        with refused("TOO_MANY_ITEMS"):
            stores.runs.update(made.id, RunChange(some={"two": "more"}), "", NOW)
        stores.runs.update(made.id, RunChange(some={"two": "more", "one": None}), "", NOW)

    def test_what_a_run_logs_never_makes_more_than_1000_params_or_tags(self, stores, experiment):
        texts = {f"t{index}": "" for index in range(999)}
        made = stores.runs.create(new_run(experiment, tags=texts, params=texts), NOW)
        stores.runs.log(made.id, Batch(params={"one": "more"}, tags={"one": "more"}))

        for more in (Batch(params={"two": "more"}), Batch(tags={"two": "more"})):
            with refused("TOO_MANY_ITEMS"):
                stores.runs.log(made.id, more)
        stores.runs.log(made.id, Batch(params={"one": "more"}, tags={"one": "other"}))

    def test_runs_are_deleted_by_their_start_and_restored_by_their_deletion(self, stores, experiment):
        ids = [stores.runs.create(new_run(experiment, started=NOW + index), NOW).id for index in range(6)]

        assert stores.runs.delete_started(experiment, NOW + 4, 2, NOW) == 2
        assert stores.runs.delete_started(experiment, NOW + 4, 100, NOW) == 3
        assert stores.runs.delete_started(experiment, NOW + 4, 100, NOW) == 0
        assert self.found(stores, RunQuery((experiment,))) == [ids[5]]

        first = min(stores.runs.get(run).deleted for run in ids[:5])
        assert stores.runs.undelete_since(experiment, first, 1) == 1
        assert stores.runs.undelete_since(experiment, first, 100) == 4
        assert stores.runs.undelete_since(experiment, first, 100) == 0
        assert set(self.found(stores, RunQuery((experiment,)))) == set(ids)

    def test_runs_of_a_deleted_experiment_are_not_deleted_or_restored(self, stores, experiment):
        stores.runs.create(new_run(experiment), NOW)
        stores.experiments.delete(experiment, "", NOW)

        with refused("EXPERIMENT_DELETED"):
            stores.runs.delete_started(experiment, NOW, 10, NOW)
        with refused("EXPERIMENT_DELETED"):
            stores.runs.undelete_since(experiment, 1, 10)


class ExperimentSearchContract(Contract):
    """What every ExperimentStore promises of filters and orders."""

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("", "a A ab B ä"),
            ("name = 'a'", "a"),
            ("name LIKE 'a%'", "a ab"),
            ("name ILIKE 'A%'", "a A ab"),
            ("attribute.name != 'a' AND NOT name = 'B'", "A ab ä"),
            ("name IN ('a', 'ä', 'x')", "a ä"),
            ("tags.team = 'ops'", "a ab"),
            ("tags.team != 'ops'", "A"),
            ("NOT tags.team = 'ops'", "A"),
            ("tags.team IS NULL", "B ä"),
            ("tag.team IS NOT NULL OR name = 'B'", "a A ab B"),
            ("experiment_id > 3", "B ä"),
            ("experiment_id = '3'", "ab"),
            ("creation_time > 0 AND last_update_time >= '1970-01-01'", "a A ab B ä"),
            ("creation_time < 0", ""),
            ("name IS NULL", ""),
        ],
    )
    def test_a_list_has_what_the_filter_means(self, stores, text, names):
        self.make(stores)
        query = ExperimentQuery(EXPERIMENTS.parse(text), EXPERIMENTS.parse_order("experiment_id"))

        items, _ = self.pages(lambda after, size: stores.experiments.list(OPEN, query, after, size), 2)

        assert " ".join(one.display_name for one in items) == names

    @pytest.mark.parametrize("limit", [1, 2, 100])
    @pytest.mark.parametrize(
        ("order", "names"),
        [("", "ä B ab A a"), ("name", "A B a ab ä"), ("name desc", "ä ab a B A"), ("experiment_id", "a A ab B ä")],
    )
    def test_a_list_is_in_the_order_asked_for(self, stores, order, names, limit):
        self.make(stores)
        query = ExperimentQuery(order=EXPERIMENTS.parse_order(order))

        items, _ = self.pages(lambda after, size: stores.experiments.list(OPEN, query, after, size), limit)

        assert " ".join(one.display_name for one in items) == names

    def test_each_view_has_its_experiments(self, stores):
        self.make(stores)
        stores.experiments.delete(2, "", NOW)

        for view, numbers in ((View.ACTIVE, [5, 4, 3, 1]), (View.DELETED, [2]), (View.ALL, [5, 4, 3, 2, 1])):
            page = stores.experiments.list(OPEN, ExperimentQuery(view=view), None, 100)
            assert [one.number for one in page.items] == numbers

    def test_an_experiment_keeps_where_its_artifacts_are(self, stores):
        made = stores.experiments.create("far", {}, NOW, "s3://bucket/path")

        assert made.artifact_location == "s3://bucket/path"
        assert stores.experiments.ensure("far", {}, NOW, "s3://other") == made

    def test_tags_are_set_and_removed_one_by_one(self, stores, experiment):
        stores.experiments.update(experiment, display_name=None, tags={"a": "1", "b.c": "2"}, etag="", now=NOW)

        got = stores.experiments.update(
            experiment, display_name=None, tags=None, etag="", now=NOW, some={"a": None, "b.c": "x", "d": ""}
        )

        assert got.tags == {"b.c": "x", "d": ""}

    def make(self, stores: Any) -> None:
        for name, tags in (
            ("a", {"team": "ops"}),
            ("A", {"team": "ml"}),
            ("ab", {"team": "ops"}),
            ("B", {}),
            ("ä", {}),
        ):
            stores.experiments.create(name, tags, NOW)
