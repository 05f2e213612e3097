"""Ray workers of one job: as many actors as there are processors, one trial at a time on each, replaced when lost.

Turns Ray's ways of failing into facts about a trial: done, lost with its worker, or stopped for taking too long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fivefold_automl.errors import RayUnavailable
from fivefold_automl.training import Trained
from fivefold_automl.worker import Broken, Identity

log = logging.getLogger(__name__)

_MOST_LOSSES_IN_A_ROW = 8  # workers lost without a single answer in between, after which something is wrong with Ray


class How(StrEnum):
    """How a trial ended, as far as its worker knows."""

    DONE = "done"
    LOST = "lost"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Ended:
    """One trial that ended; `outcome` only when DONE."""

    number: int
    how: How
    outcome: Trained | Broken | None = None


@dataclass(slots=True)
class Slot:
    """One worker. `identity` is there once it has started; `number` while it runs a trial."""

    actor: Any
    hello: Any  # reference to its Identity
    identity: Identity | None = None
    number: int = 0
    answer: Any = None  # reference to what the trial returns
    due: float = 0.0  # on the monotonic clock; the worker is killed when it is past


class Slots:
    """The workers of one job, used by its driver thread only."""

    def __init__(self, new_actor: Callable[[], Any], asking: Callable[[], AbstractContextManager[None]]) -> None:
        """Opens none yet. Every call of Ray is made within `asking`, which raises RayUnavailable if Ray is gone."""
        self._new_actor = new_actor
        self._asking = asking
        self._losses = 0
        self._slots: list[Slot] = []
        self.started = False  # whether any worker has ever started

    def widen(self, count: int) -> None:
        """Opens workers until there are `count`; closes none."""
        while len(self._slots) < count:
            self._slots.append(self._open())

    @property
    def running(self) -> list[int]:
        """The numbers of trials at work."""
        return [slot.number for slot in self._slots if slot.number]

    def idle(self) -> list[Slot]:
        """Returns workers that have started and have nothing to do."""
        return [slot for slot in self._slots if slot.identity is not None and not slot.number]

    def submit(
        self,
        slot: Slot,
        number: int,
        learner: str,
        params: Mapping[str, Any],
        *,
        seed: int,
        seconds: float,
        most: float,
    ) -> None:
        """Starts a trial on an idle worker.

        seconds  what it should take: learners that can stop early do so then
        most     after which its worker is killed
        """
        with self._asking():
            slot.answer = slot.actor.train.remote(learner, dict(params), seed, seconds)
        slot.number = number
        slot.due = time.monotonic() + most

    def wait(self, seconds: float) -> list[Ended]:
        """Waits until a trial has ended or a worker has started, at most `seconds`; returns the trials that ended.

        Raises RayUnavailable when workers are lost again and again without an answer in between, or Ray is gone.
        """
        expected = {slot.answer if slot.number else slot.hello: slot for slot in self._slots if not self._is_idle(slot)}
        if not expected:
            time.sleep(min(seconds, 0.05))
            return []
        with self._asking():
            done = self._done(list(expected), seconds)
            ended = [found for found in (self._settle(expected[reference]) for reference in done) if found is not None]
            return ended + self._overdue()

    def kill_running(self) -> list[int]:
        """Ends all trials at work with their workers; returns their numbers."""
        numbers = self.running
        for slot in self._slots:
            if slot.number:
                self._kill(slot)
                slot.number = 0
        return numbers

    def close(self) -> None:
        """Ends all workers, and lets go of all that refers to Ray."""
        for slot in self._slots:
            self._kill(slot)
        self._slots.clear()
        del self._new_actor

    @staticmethod
    def _done(references: list[Any], seconds: float) -> list[Any]:
        """Waits for the first of some references; returns it, and whatever else has come in the same moment."""
        import ray

        done, _ = ray.wait(references, num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return list(done)

    def _settle(self, slot: Slot) -> Ended | None:
        """Takes what a worker answered: who it is, or how its trial ended."""
        import ray

        number = slot.number
        try:
            outcome = ray.get(slot.answer if number else slot.hello)
        except ray.exceptions.RayError as error:
            self._replace(slot, error)
            return Ended(number, How.LOST) if number else None
        self._losses = 0
        if isinstance(outcome, Identity):
            slot.identity = outcome
            self.started = True
            return None
        slot.number, slot.answer = 0, None
        return Ended(number, How.DONE, outcome)

    def _overdue(self) -> list[Ended]:
        now = time.monotonic()
        late = [slot for slot in self._slots if slot.number and now > slot.due]
        ended = [Ended(slot.number, How.OVERDUE) for slot in late]
        for slot in late:
            self._kill(slot)
            self._reopen(slot)
        return ended

    def _replace(self, slot: Slot, error: Exception) -> None:
        self._losses += 1
        log.warning(
            "worker lost", extra={"trial": slot.number, "error": type(error).__name__, "in_a_row": self._losses}
        )
        self._kill(slot)
        if self._losses >= _MOST_LOSSES_IN_A_ROW:
            slot.number = 0
            raise RayUnavailable(f"{self._losses} workers were lost in a row", losses=self._losses)
        self._reopen(slot)

    def _open(self) -> Slot:
        with self._asking():
            actor = self._new_actor()
            return Slot(actor, actor.identity.remote())

    def _reopen(self, slot: Slot) -> None:
        fresh = self._open()
        slot.actor, slot.hello, slot.identity, slot.number, slot.answer = fresh.actor, fresh.hello, None, 0, None

    @staticmethod
    def _is_idle(slot: Slot) -> bool:
        return slot.identity is not None and not slot.number

    def _kill(self, slot: Slot) -> None:
        import ray

        try:
            with self._asking():
                ray.kill(slot.actor, no_restart=True)
        except Exception:
            log.debug("worker was gone already", exc_info=True)
