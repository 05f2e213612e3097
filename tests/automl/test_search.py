"""The search: order of guesses, determinism, learning from a journal, giving up on learners; and how time is kept."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold_automl.learners import LEARNERS
from fivefold_automl.learners.base import Choice, Float, Int
from fivefold_automl.metrics import METRICS, default_metric, rank
from fivefold_automl.pace import Pace
from fivefold_automl.search import Proposal, Search, chosen
from fivefold_automl.spec import Problem


def new(**options: Any) -> Search:
    learners = options.pop("learners", LEARNERS)
    return Search(learners, Problem.CLASSIFICATION, **{"seed": 1, "greater_is_better": True, **options})


def quality(proposal: Proposal) -> float:
    """A made-up score that depends on the proposal alone."""
    return sum(map(ord, f"{proposal.learner}{sorted(proposal.params.items())}")) % 101 / 101


def played(search: Search, numbers: range) -> list[Proposal]:
    asked = []
    for number in numbers:
        proposal = search.ask(number)
        search.finished(number, proposal, quality(proposal))
        asked.append(proposal)
    return asked


def test_the_guesses_come_first_in_the_order_of_their_places() -> None:
    guesses = sorted(
        (g.place, name, g.params) for name, each in LEARNERS.items() for g in each.guesses(Problem.CLASSIFICATION)
    )
    asked = played(new(), range(1, len(guesses) + 1))
    assert [(p.learner, dict(p.params)) for p in asked] == [(name, params) for _, name, params in guesses]
    assert asked[0].learner == "decision_tree"


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("name", list(LEARNERS))
def test_every_guess_lies_in_its_learners_space(name: str, problem: Problem) -> None:
    space = LEARNERS[name].space(problem)
    for guess in LEARNERS[name].guesses(problem):
        assert set(guess.params) == set(space)
        for param, value in guess.params.items():
            kind = space[param]
            if isinstance(kind, Choice):
                assert value in kind.options
            else:
                assert isinstance(kind, Int | Float)
                assert kind.low <= value <= kind.high


def test_the_same_seed_asks_the_same_and_another_seed_does_not() -> None:
    assert played(new(), range(1, 16)) == played(new(), range(1, 16))
    assert played(new(), range(1, 16)) != played(new(seed=2), range(1, 16))


def test_a_search_that_is_told_its_journal_goes_on_as_if_it_had_never_stopped() -> None:
    whole = played(new(), range(1, 21))
    resumed = new()
    for proposal in whole[:12]:
        resumed.replay(proposal, quality(proposal), failed=False, lost=False)
    assert played(resumed, range(13, 21)) == whole[12:]


def test_what_was_lost_with_its_worker_is_tried_once_more() -> None:
    search = new()
    first = search.ask(1)
    search.lost(1, first)
    assert search.ask(2) == first
    search.lost(2, first)
    assert search.ask(3) != first


def test_what_an_earlier_life_lost_is_tried_again() -> None:
    search = new()
    lost = Proposal("lightgbm", LEARNERS["lightgbm"].guesses(Problem.CLASSIFICATION)[1].params)
    search.replay(lost, None, failed=False, lost=True)
    assert search.ask(2) == lost


def test_a_learner_that_only_fails_is_given_up() -> None:
    search = new(learners=chosen(LEARNERS, set(LEARNERS) - {"linear", "decision_tree"}))
    asked = []
    for number in range(1, 20):
        proposal = search.ask(number)
        asked.append(proposal.learner)
        if proposal.learner == "linear":
            search.failed(number, proposal)
        else:
            search.finished(number, proposal, 0.5)
    assert asked.count("linear") == 3
    assert not search.exhausted


def test_a_search_whose_learners_all_fail_is_exhausted() -> None:
    search = new(learners=chosen(LEARNERS, set(LEARNERS) - {"linear"}))
    for number in range(1, 4):
        search.failed(number, search.ask(number))
    assert search.exhausted
    with pytest.raises(RuntimeError):
        search.ask(4)


@pytest.mark.parametrize("name", list(METRICS))
def test_a_better_score_has_a_smaller_rank(name: str) -> None:
    better, worse = (0.9, 0.1) if METRICS[name].greater_is_better else (0.1, 0.9)
    assert rank(name, better) < rank(name, worse)


def test_the_default_metric_follows_the_problem() -> None:
    assert default_metric(Problem.CLASSIFICATION, 2) == "roc_auc"
    assert default_metric(Problem.CLASSIFICATION, 3) == "log_loss"
    assert default_metric(Problem.REGRESSION, 0) == "rmse"


@pytest.mark.parametrize("budget", [1.0, 10.0, 60.0, 3600.0])
def test_no_trial_is_left_running_more_than_a_tenth_and_a_second_beyond_the_budget(budget: float) -> None:
    pace = Pace(budget)
    for tenth in range(10):
        spent = budget * tenth / 10
        if pace.may_start(spent, any_result=True, running=0):
            assert spent + pace.fit_seconds(spent) <= budget
            assert spent + pace.most_seconds(spent, any_result=True) <= budget * 1.1 + 1
    assert pace.over(budget * 1.1 + 1, any_result=True)


def test_a_budget_of_a_second_still_gives_its_first_model_time() -> None:
    pace = Pace(1.0)
    assert pace.may_start(0.0, any_result=False, running=0)
    assert not pace.may_start(0.0, any_result=False, running=1)
    assert not pace.over(5.0, any_result=False)
    assert not pace.may_start(0.5, any_result=True, running=0)
