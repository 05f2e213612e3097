"""Sides that do the same thing, measured in turns, so that what else the machine does hits all alike."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Work = Callable[[], Any]


def rates(sides: Mapping[str, Callable[[float], float]], *, rounds: int, seconds: float) -> dict[str, float]:
    """Lets each side work for some seconds in every round; returns each side's median of operations a second.

    A side takes the seconds and returns how many operations a second it did.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in _turn(sides, number):
            found[name].append(side(seconds))
            say(f"  round {number + 1}/{rounds} {name}: {found[name][-1]:,.0f}/s")
    return {name: statistics.median(values) for name, values in found.items()}


def times(sides: Mapping[str, Work], *, rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Does each side's work once in every round; returns each side's seconds, sorted, and its last answer."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    answers: dict[str, Any] = {}
    for number in range(rounds):
        for name, side in _turn(sides, number):
            began = time.perf_counter()
            answers[name] = side()
            found[name].append(time.perf_counter() - began)
    return {name: sorted(values) for name, values in found.items()}, answers


def _turn(sides: Mapping[str, Any], number: int) -> list[tuple[str, Any]]:
    """The order of a round: it begins with another side each time."""
    order = list(sides.items())
    shift = number % len(order)
    return order[shift:] + order[:shift]


def p50(values: Sequence[float]) -> float:
    """Returns the median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """Returns the value that one in a hundred exceeds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def say(text: str) -> None:
    """Tells how far it is; the result alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def report(result: Mapping[str, Any]) -> None:
    """Prints the result as JSON."""
    print(json.dumps(result, indent=2))
