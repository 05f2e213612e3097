"""The rules by themselves: stages, rollback, requests, packages, names, sources."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold_registry import lifecycle, package
from fivefold_registry.lifecycle import (
    ACTIVE,
    FREE,
    STEPWISE,
    Actor,
    NothingToRollBack,
    Passage,
    Policy,
    Rollback,
    Stage,
    StageNotAllowed,
)
from fivefold_registry.names import ModelName, RequestName, VersionName, owner_of
from fivefold_registry.package import Column
from fivefold_registry.requests import Action, RequestState, actions
from fivefold_registry.sources import Source, SourceInvalid
from fivefold_runtime.levels import Level
from fivefold_runtime.names import NameInvalid

PAIRS = list(itertools.product(Stage, Stage))


@pytest.mark.parametrize("table", [FREE, STEPWISE])
def test_the_tables_know_every_stage_and_no_move_to_itself(table: dict[Stage, frozenset[Stage]]) -> None:
    assert set(table) == set(Stage)
    assert all(stage not in allowed for stage, allowed in table.items())


def test_stepwise_allows_less_than_free() -> None:
    assert all(STEPWISE[stage] <= FREE[stage] for stage in Stage)


@pytest.mark.parametrize(("current", "target"), PAIRS)
@pytest.mark.parametrize("stepwise", [False, True])
def test_a_move_is_checked_by_its_table(current: Stage, target: Stage, stepwise: bool) -> None:
    table = STEPWISE if stepwise else FREE
    if target in table[current]:
        lifecycle.check_move(Policy(stepwise=stepwise), current, target)
    else:
        with pytest.raises(StageNotAllowed) as refused:
            lifecycle.check_move(Policy(stepwise=stepwise), current, target)
        assert set(refused.value.facts["allowed"].split(", ")) == {str(stage) for stage in table[current]}


@pytest.mark.parametrize(("current", "target"), PAIRS)
def test_only_moves_that_touch_production_need_its_right(current: Stage, target: Stage) -> None:
    touches = Stage.PRODUCTION in (current, target)
    right = Level.CAN_MANAGE_PRODUCTION_VERSIONS if touches else Level.CAN_MANAGE_STAGING_VERSIONS
    assert lifecycle.needed(current, target) == right


def test_active_stages_are_those_that_archiving_empties() -> None:
    assert {Stage.STAGING, Stage.PRODUCTION} == ACTIVE


def passages(text: str) -> list[Passage]:
    """ "1 2 r1 -2" is: 1 came, 2 came, a rollback brought 1, a rollback took 2 away."""
    return [Passage(int(word.strip("r-")), "-" not in word, "r" in word or "-" in word) for word in text.split()]


@pytest.mark.parametrize(
    ("history", "present", "restored", "archived"),
    [
        ("1 2", {2}, 1, 2),
        ("1 2", {1, 2}, 1, 2),
        ("1 2 3", {3}, 2, 3),
        ("1 2 3 r2 -3", {2}, 1, 2),  # the second rollback goes one further
        ("1 2 3 r2 -3 4", {4}, 2, 4),  # what was rolled back is not come back to
        ("1 2 1", {1}, 2, 1),  # promoted again by hand: that is what is undone
        ("1 2", {1}, None, None),  # 2 was archived by hand; before 1 there was nothing
        ("1 2", set(), 2, None),  # nothing is there: the last comes back
        ("1", {1}, None, None),
        ("", set(), None, None),
        ("1 2 -2 3", {1, 3}, 1, 3),
    ],
)
def test_a_rollback_undoes_the_last_promotion(
    history: str, present: set[int], restored: int | None, archived: int | None
) -> None:
    if restored is None:
        with pytest.raises(NothingToRollBack):
            lifecycle.rollback(passages(history), frozenset(present))
    else:
        assert lifecycle.rollback(passages(history), frozenset(present)) == Rollback(restored, archived)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_rollbacks_walk_the_promotions_backwards_and_end(promoted: list[int]) -> None:
    history = [Passage(number, True, False) for number in promoted]
    expected = [number for number, _ in itertools.groupby(promoted)]
    present = expected.pop()
    while True:
        try:
            step = lifecycle.rollback(history, frozenset({present}))
        except NothingToRollBack:
            break
        assert step == Rollback(expected.pop(), present)
        history += [Passage(step.restored, True, True), Passage(present, False, True)]
        present = step.restored
    assert expected == []


@pytest.mark.parametrize("state", RequestState)
@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("no_self_approval", [False, True])
def test_available_actions_are_what_the_documentation_says(
    state: RequestState, level: Level, own: bool, no_self_approval: bool
) -> None:
    viewer = Actor("ada" if own else "bob", level)
    policy = Policy(no_self_approval=no_self_approval)
    found = set(actions(state, "ada", Stage.NONE, Stage.PRODUCTION, policy, viewer))
    manages = level >= Level.CAN_MANAGE_PRODUCTION_VERSIONS
    if state is not RequestState.OPEN:
        assert not found
        return
    assert (Action.APPROVE in found) == (manages and not (own and no_self_approval))
    assert (Action.REJECT in found) == manages
    assert (Action.CANCEL in found) == (level >= Level.CAN_MANAGE or own)


HOSTILE = [".", "..", "a/b", "a:b", "a\\b", "a%2fb", "a;b", "a#b", "a?b", "C:", "%2e%2e", "%252e", "../a", "/a", "a/"]
HOSTILE += ["", "\u202ea", "a\n", "x" * 251, " a", "\u2024\u2024", "\uff0e\uff0e", "a\0b"]


@pytest.mark.parametrize(
    "bad", ["", "models", "Models/a", "../models/a", "/models/a", *(f"models/{id}" for id in HOSTILE)]
)
def test_what_is_no_models_name_is_refused(bad: str) -> None:
    with pytest.raises(NameInvalid):
        ModelName.parse(bad)


@pytest.mark.parametrize("number", ["0", "01", "-1", "1.0", "x", "", " 1", "१", "9" * 19, "1e3"])
def test_what_is_no_versions_number_is_refused(number: str) -> None:
    with pytest.raises(NameInvalid):
        VersionName.parse(f"models/churn/versions/{number}")
    with pytest.raises(NameInvalid):
        RequestName.parse(f"models/churn/versions/1/requests/{number}")


@given(st.text(max_size=40))
def test_a_name_that_parses_is_written_the_same_way(text: str) -> None:
    for kind in (ModelName, VersionName, RequestName):
        with suppress(NameInvalid):
            assert str(kind.parse(text)) == text
    with suppress(NameInvalid):
        assert owner_of(f"models/{text}/versions/1").startswith("models/")


@given(st.text(max_size=60))
def test_a_source_never_leaves_its_run(text: str) -> None:
    whole = f"runs/{'a' * 32}/artifacts/{text}"
    try:
        source = Source.parse(whole)
    except SourceInvalid:
        return
    assert str(source) == whole
    assert not {"", ".", ".."} & set(source.path.split("/"))


def mlmodel(**parts: object) -> bytes:
    return json.dumps({"flavors": {"python_function": {}}} | parts).encode()


def test_our_own_signature_wins_over_mlflows_because_it_knows_dates() -> None:
    columns = [{"name": "day", "type": "date", "required": True}]
    mlflows = {"inputs": json.dumps([{"name": "day", "type": "datetime", "required": True}])}
    own = {"fivefold": {"signature": {"inputs": columns, "outputs": []}}}
    found = package.read(mlmodel(signature=mlflows, metadata=own))
    assert found is not None
    assert found.inputs == (Column("day", "date", True),)


def test_a_column_of_a_type_without_a_name_of_ours_is_kept() -> None:
    found = package.read(mlmodel(signature={"inputs": '[{"name": "x", "type": "array", "items": {}}]'}))
    assert found is not None
    assert found.inputs == (Column("x", "", True),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"flavors: 3",
        b"flavors: {}",
        b"\xff\xfe",
        b"!!python/object/apply:os.system ['true']",
        b"flavors: !!python/object:fivefold_registry.package.Package {}",
        b"a: &a [1]\n" * 2,
        b"[" * 100_000,
        b"{a: " * 5_000,
        b"flavors: {x: " + b"[" * 60 + b"]" * 60 + b"}",
        b"- a\n" * 250_000,
        b"a: &a {k: v}\nflavors: {<<: *a}",
        mlmodel(signature={"inputs": "not json"}),
        mlmodel(signature={"inputs": '[{"name": "\\ud800", "type": "long"}]'}),
        mlmodel(signature={"inputs": '[{"name": "a\\u0000b", "type": "long"}]'}),
        mlmodel(signature={"inputs": "[" * 3000}),
        mlmodel(signature={"inputs": json.dumps([{"name": "x", "type": "long"}] * 10_001)}),
        mlmodel(pad="x" * package.MAX_BYTES),
    ],
)
def test_what_is_no_package_is_none(content: bytes) -> None:
    assert package.read(content) is None


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet="{}[]:,&*!<>|-'\"\n ab1#%@", max_size=200).map(str.encode)))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    package.read(content)
    package.read(b"flavors: {a: {}}\nsignature:\n  inputs: " + content)
