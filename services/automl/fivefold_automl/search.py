"""What to try next: first the learners' own guesses, cheap ones first, then Optuna's TPE over all learners at once.

Knows nothing of Ray, stores or clocks. Proposal n depends on the seed, n and what was told before it: on one worker the
same trials follow, and a search that is told its journal goes on as if it had never stopped.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fivefold_automl.learners.base import Choice, Float, Int, Learner
from fivefold_automl.spec import Problem

_MOST_LOSSES = 2  # times that params are tried whose worker was lost under them
_MOST_FAILURES = 3  # failures after which a learner that never gave a result is left alone
_REPEATS = 10  # new proposals asked for in place of one that is known already


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to try: a learner by name and its params."""

    learner: str
    params: Mapping[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal proposals."""
        return self.learner, *sorted(self.params.items())


class Search:
    """One search. Not safe for use by many threads."""

    def __init__(
        self, learners: Mapping[str, Learner], problem: Problem, *, seed: int, greater_is_better: bool
    ) -> None:
        """Takes at least one learner."""
        import optuna

        # TPE over groups of params is what optuna calls experimental.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._learners = dict(learners)
        self._problem = problem
        self._seed = seed
        self._study = optuna.create_study(direction="maximize" if greater_is_better else "minimize")
        guesses = [
            (guess.place, name, guess.params)
            for name, learner in self._learners.items()
            for guess in learner.guesses(problem)
        ]
        ordered = sorted(guesses, key=lambda guess: guess[:2])
        self._waiting = [Proposal(name, params) for _, name, params in ordered]
        self._guesses = len(self._waiting)
        self._asked: dict[int, Any] = {}  # Optuna's trials by our numbers
        self._known: set[tuple[Any, ...]] = set()
        self._losses: Counter[tuple[Any, ...]] = Counter()
        self._failures: Counter[str] = Counter()
        self._successes: Counter[str] = Counter()

    @property
    def exhausted(self) -> bool:
        """Says whether every learner has been given up."""
        return not self._usable()

    def ask(self, number: int) -> Proposal:
        """Returns what trial `number` shall try. Raises RuntimeError when the search is exhausted."""
        usable = self._usable()
        if not usable:
            raise RuntimeError("every learner has been given up")
        self._waiting = [proposal for proposal in self._waiting if proposal.learner in usable]
        self._study.sampler = self._sampler(number)
        if self._waiting:
            trial, proposal = self._enqueued(self._waiting.pop(0))
        else:
            trial, proposal = self._sampled(usable)
        self._asked[number] = trial
        self._known.add(proposal.key)
        return proposal

    def finished(self, number: int, proposal: Proposal, score: float) -> None:
        """Tells that a trial ended with a score."""
        self._successes[proposal.learner] += 1
        self._tell(number, score)

    def failed(self, number: int, proposal: Proposal) -> None:
        """Tells that a trial's learner raised."""
        self._failures[proposal.learner] += 1
        self._tell(number, None)

    def lost(self, number: int, proposal: Proposal) -> None:
        """Tells that a trial's worker was lost: the same is proposed again, unless it is lost each time."""
        self._losses[proposal.key] += 1
        if self._losses[proposal.key] < _MOST_LOSSES:
            self._waiting.insert(0, proposal)
        self._tell(number, None)

    def stopped(self, number: int) -> None:
        """Tells that a trial took too long; it is not proposed again."""
        self._tell(number, None)

    def replay(self, proposal: Proposal, score: float | None, *, failed: bool, lost: bool) -> None:
        """Tells of a trial of an earlier life, in the order in which they ran."""
        self._waiting = [waiting for waiting in self._waiting if waiting.key != proposal.key]
        self._known.add(proposal.key)
        if lost:
            self._losses[proposal.key] += 1
            if self._losses[proposal.key] < _MOST_LOSSES and proposal.learner in self._learners:
                self._waiting.insert(0, proposal)
        elif failed:
            self._failures[proposal.learner] += 1
        elif score is not None and proposal.learner in self._learners:
            self._successes[proposal.learner] += 1
            values, spaces = self._flat(proposal)
            self._study.add_trial(self._optuna.create_trial(params=values, distributions=spaces, value=score))

    def _usable(self) -> list[str]:
        return [name for name in self._learners if self._failures[name] < _MOST_FAILURES or self._successes[name]]

    def _sampler(self, number: int) -> Any:
        # Made anew for each number: what it draws then depends on the number, not on how many were asked in this life.
        return self._optuna.samplers.TPESampler(
            seed=(self._seed * 1_000_003 + number) % 2**32,
            n_startup_trials=self._guesses,
            multivariate=True,
            group=True,
            constant_liar=True,
        )

    def _sampled(self, usable: list[str]) -> tuple[Any, Proposal]:
        """Asks TPE until it proposes something new of a usable learner; then takes what comes of a usable one."""
        for _ in range(_REPEATS):
            trial = self._study.ask()
            learner = trial.suggest_categorical("learner", list(self._learners))
            if learner in usable:
                proposal = self._completed(trial, learner)
                if proposal.key not in self._known:
                    return trial, proposal
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        self._study.enqueue_trial({"learner": usable[len(self._known) % len(usable)]})
        trial = self._study.ask()
        return trial, self._completed(trial, trial.suggest_categorical("learner", list(self._learners)))

    def _enqueued(self, proposal: Proposal) -> tuple[Any, Proposal]:
        values, _ = self._flat(proposal)
        self._study.enqueue_trial(values)
        trial = self._study.ask()
        return trial, self._completed(trial, trial.suggest_categorical("learner", list(self._learners)))

    def _completed(self, trial: Any, learner: str) -> Proposal:
        space = self._learners[learner].space(self._problem)
        return Proposal(
            learner, {param: _suggested(trial, f"{learner}.{param}", kind) for param, kind in space.items()}
        )

    def _flat(self, proposal: Proposal) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns Optuna's values and distributions of a proposal."""
        space = self._learners[proposal.learner].space(self._problem)
        values: dict[str, Any] = {"learner": proposal.learner}
        spaces = {"learner": self._optuna.distributions.CategoricalDistribution(list(self._learners))}
        for param, kind in space.items():
            values[f"{proposal.learner}.{param}"] = proposal.params[param]
            spaces[f"{proposal.learner}.{param}"] = self._distribution(kind)
        return values, spaces

    def _distribution(self, kind: Int | Float | Choice) -> Any:
        distributions = self._optuna.distributions
        if isinstance(kind, Choice):
            return distributions.CategoricalDistribution(list(kind.options))
        made = distributions.IntDistribution if isinstance(kind, Int) else distributions.FloatDistribution
        return made(kind.low, kind.high, log=kind.log)

    def _tell(self, number: int, score: float | None) -> None:
        trial = self._asked.pop(number)
        if score is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)


def chosen(learners: Mapping[str, Learner], excluded: Iterable[str]) -> dict[str, Learner]:
    """Returns the learners without the excluded ones."""
    left_out = set(excluded)
    return {name: learner for name, learner in learners.items() if name not in left_out}


def _suggested(trial: Any, name: str, kind: Int | Float | Choice) -> Any:
    if isinstance(kind, Choice):
        return trial.suggest_categorical(name, list(kind.options))
    suggest = trial.suggest_int if isinstance(kind, Int) else trial.suggest_float
    return suggest(name, kind.low, kind.high, log=kind.log)
