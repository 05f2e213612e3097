"""Decides whether a recorded history could have happened one operation after the other.

The search of Wing and Gong with Lowe's memory of (what was placed, state): an operation may be placed when every one
that ended before it began is placed. An operation whose end nobody saw may be placed at any time after it began, or
never. Exponential at worst; with a handful of clients and reads between the writes it is quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Operation:
    """What a client asked between two moments of one clock, and the answer; `end` is infinite when none came."""

    begin: float
    end: float
    asked: Any
    answer: Any = None

    @property
    def seen(self) -> bool:
        return self.end < math.inf


def linearizable(history: Sequence[Operation], first: S, step: Callable[[S, Any], tuple[S, Any]]) -> bool:
    """Says whether some order of the operations explains every answer.

    step  returns (next state, answer) of what is asked in a state
    """
    operations = sorted(history, key=lambda operation: operation.begin)
    wanted = sum(1 << index for index, operation in enumerate(operations) if operation.seen)
    stack: list[tuple[int, int, S]] = [(0, 0, first)]  # (placed, all before this index are placed, state)
    known: set[tuple[int, S]] = set()
    while stack:
        placed, start, state = stack.pop()
        if placed & wanted == wanted:
            return True
        if (placed, state) in known:
            continue
        known.add((placed, state))
        nexts = []
        unseen: set[Any] = set()
        for index in _candidates(operations, placed, start):
            operation = operations[index]
            after, answer = step(state, operation.asked)
            if not operation.seen:
                # One that changes nothing need not be placed, and of several that ask the same the first will do.
                if after == state or operation.asked in unseen:
                    continue
                unseen.add(operation.asked)
            if not operation.seen or answer == operation.answer:
                now = placed | 1 << index
                begin = start
                while now >> begin & 1:
                    begin += 1
                nexts.append((operation.end, (now, begin, after)))
        # The one that ended first is tried first, so it goes on the stack last.
        stack.extend(found for _, found in sorted(nexts, key=lambda each: -each[0]))
    return False


def _candidates(operations: Sequence[Operation], placed: int, start: int) -> list[int]:
    found = []
    earliest = math.inf  # end of one that is not placed: what begins later has to wait
    for index in range(start, len(operations)):
        if placed >> index & 1:
            continue
        if operations[index].begin > earliest:
            break
        earliest = min(earliest, operations[index].end)
        found.append(index)
    return [index for index in found if operations[index].begin <= earliest]
