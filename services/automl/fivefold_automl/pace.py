"""How a search keeps its budget: when another trial may start, how long it may take, when to stop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_LEAST_START_SECONDS = 1.5  # left, below which no further trial begins
_START_SHARE = 0.03  # of the budget, likewise
_TRIAL_SHARE = 0.25  # of the budget that one trial may take
_TRIAL_LEAST_SECONDS = 10.0  # that one trial may take in any case
_RESERVE_SECONDS = 0.5  # kept for scoring and saving after a fit
_GRACE_SHARE = 0.04  # of the budget, by which trials at work may overrun before they are killed
_GRACE_SECONDS = 1.0
_FIRST_SECONDS = 20.0  # more that a search without any result gets, so that a budget of a second gives a model


@dataclass(frozen=True, slots=True)
class Pace:
    """The budget of one search, in seconds."""

    budget: float

    def may_start(self, spent: float, *, any_result: bool, running: int) -> bool:
        """Says whether another trial may begin; without any result, one at a time may even when the time is up."""
        if self.budget - spent > max(_LEAST_START_SECONDS, _START_SHARE * self.budget):
            return True
        return not any_result and not running and not self.over(spent, any_result=False)

    def fit_seconds(self, spent: float) -> float:
        """Returns what a trial that starts now should take; boosting and forests stop themselves then."""
        left = self.budget - spent - _RESERVE_SECONDS
        return max(0.5, min(left, max(_TRIAL_LEAST_SECONDS, _TRIAL_SHARE * self.budget)))

    def most_seconds(self, spent: float, *, any_result: bool) -> float:
        """Returns after how long such a trial is killed."""
        return min(2.0 * self.fit_seconds(spent) + 5.0, self._end(any_result) - spent)

    def over(self, spent: float, *, any_result: bool) -> bool:
        """Says whether trials at work are to be ended."""
        return spent >= self._end(any_result)

    def _end(self, any_result: bool) -> float:
        return self.budget * (1 + _GRACE_SHARE) + _GRACE_SECONDS + (0.0 if any_result else _FIRST_SECONDS)
