"""On-demand functions: columns in, columns out, the same code wherever a feature spec is used.

    @fivefold.on_demand(takes={"km": "double", "minutes": "double"}, gives={"speed": "double"})
    def speed(km, minutes):
        return km / minutes * 60

An operator installs the module beside the features service and names it in a setting; a feature spec names module and
function. The service then runs it for training sets and online answers alike. Called by hand it is a plain function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fivefold.sdk.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])

TYPES = frozenset({"bool", "int32", "int64", "float", "double", "string", "bytes", "timestamp", "date"})


@dataclass(frozen=True, slots=True)
class OnDemand:
    """What a function takes and gives: type by name, in order. `nulls`: whether it is called for nulls too."""

    takes: Mapping[str, str]
    gives: Mapping[str, str]
    nulls: bool


def on_demand(*, takes: Mapping[str, str], gives: Mapping[str, str], nulls: bool = False) -> Callable[[F], F]:
    """Marks a function as one that feature specs can name.

    takes  type by parameter ("bool", "int32", "int64", "float", "double", "string", "bytes", "timestamp", "date")
    gives  type by result, in the order in which the function returns them: one array, or a tuple of arrays
    nulls  False: the function sees only rows in which no parameter is null; in all others its results are null.
           True: it sees all rows, each parameter as a numpy.ma.MaskedArray

    The function gets numpy arrays of n values, which it must not change, and returns arrays of n values: times are
    datetime64[us] in UTC, dates datetime64[D], text and bytes objects. A null result is None among objects, NaT among
    times, or masked. It must work on each row by itself and depend on nothing but its parameters.

    Raises InvalidArgument when names or types cannot be.
    """

    def marked(function: F) -> F:
        parameters = list(inspect.signature(function).parameters)
        if sorted(takes) != sorted(parameters):
            raise InvalidArgument(
                f"{function.__name__} has the parameters {parameters}, but takes={list(takes)}",
                reason="FIELD_INVALID",
                facts={"function": function.__name__},
            )
        for name, kind in (*takes.items(), *gives.items()):
            if kind not in TYPES:
                raise InvalidArgument(
                    f"{function.__name__}: {name!r} has the type {kind!r}, which is none of {sorted(TYPES)}",
                    reason="FIELD_INVALID",
                    facts={"function": function.__name__, "column": name},
                )
        if not gives:
            raise InvalidArgument(f"{function.__name__} gives nothing", reason="FIELD_INVALID")
        function.on_demand = OnDemand(dict(takes), dict(gives), nulls)  # type: ignore[attr-defined]
        return function

    return marked
