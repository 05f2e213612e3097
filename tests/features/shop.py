"""On-demand functions as an operator installs them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

import fivefold

FACTOR = 60.0


def scaled(minutes: Any) -> Any:
    return minutes / FACTOR


@fivefold.on_demand(takes={"km": "double", "minutes": "double"}, gives={"speed": "double"})
def speed(km: Any, minutes: Any) -> Any:
    """Kilometres in an hour."""
    return km / scaled(minutes)


@fivefold.on_demand(takes={"speed": "double"}, gives={"fast": "bool", "class": "string"})
def rated(speed: Any) -> Any:
    fast = speed > 50
    return fast, ["fast" if one else "slow" for one in fast]


@fivefold.on_demand(takes={"n": "int64", "x": "double"}, gives={"total": "double"}, nulls=True)
def total(n: Any, x: Any) -> Any:
    return n.filled(0) + x.filled(0.0)


@fivefold.on_demand(
    takes={"b": "bool", "i": "int32", "f": "float", "s": "string", "y": "bytes", "t": "timestamp", "d": "date"},
    gives={
        "not_b": "bool", "i2": "int32", "f2": "float", "s2": "string", "y2": "bytes", "t2": "timestamp", "d2": "date",
        "n2": "int64",
    },
)  # fmt: skip
def of_all(b: Any, i: Any, f: Any, s: Any, y: Any, t: Any, d: Any) -> Any:
    hour, day = np.timedelta64(1, "h"), np.timedelta64(1, "D")
    return (
        ~b,
        i + np.int32(1),
        f * np.float32(2),
        [None if one == "none" else one.upper() for one in s],
        [one[::-1] for one in y],
        np.where(t == np.datetime64("2013-01-01", "us"), np.datetime64("NaT"), t + hour),
        d + day,
        np.ma.masked_less(i.astype("i8"), 0),
    )


@fivefold.on_demand(takes={"n": "int64"}, gives={"out": "int64"})
def picky(n: Any) -> Any:
    if (n > 100).any():
        raise ValueError("n must be at most 100")
    return {7: n[:-1], 8: n.astype(float), 9: (n, n), 10: None}.get(int(n[0]), n)


@fivefold.on_demand(takes={"n": "int64"}, gives={"out": "int64"})
def greedy(n: Any) -> Any:
    n += 1
    return n
