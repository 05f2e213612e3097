"""On-demand functions: which are installed, how a spec uses them, and how they are run. NumPy, no Arrow.

The operator names modules in a setting; each function in them that is marked with `fivefold.on_demand` is known by
module, name and source hash. A spec keeps the hash it was made with: another source is another function. Training sets
and online answers both come through `Program.run`, so that the same code sees the same values.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fivefold_features.cells import Cells
from fivefold_features.errors import FunctionFailed, FunctionUnknown, SchemaMismatch
from fivefold_features.schema import Column, Kind, check_names, takes

__all__ = ["Cells", "FunctionUse", "Installed", "OnDemand", "Program", "bound"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A function that is installed here. `nulls`: whether it is called for rows with nulls too."""

    module: str
    name: str
    source_hash: str
    description: str
    parameters: tuple[Column, ...]
    results: tuple[Column, ...]
    nulls: bool
    call: Callable[..., Any] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """A function within a spec, as a caller asks for it.

    source_hash  "": the one that is installed
    inputs       feature of the spec or column of the request, by parameter; one left out goes by its own name
    renames      name in the answer, by result
    """

    module: str
    name: str
    source_hash: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)


class Installed:
    """The functions of this server, by module and name."""

    def __init__(self, functions: Sequence[OnDemand] = ()) -> None:
        self._known = {(one.module, one.name): one for one in functions}

    def listed(self, after: tuple[str, str], limit: int) -> list[OnDemand]:
        """Returns functions by module and name, after one."""
        return [self._known[key] for key in sorted(self._known) if key > after][:limit]

    def find(self, use: FunctionUse) -> OnDemand:
        """Returns the function that a spec names. Raises FunctionUnknown."""
        name = f"{use.module}.{use.name}"
        found = self._known.get((use.module, use.name))
        if found is None:
            raise FunctionUnknown(
                f"the function {name} is not installed on this server",
                module=use.module,
                function=use.name,
                source_hash=use.source_hash,
            )
        if use.source_hash not in ("", found.source_hash):
            raise FunctionUnknown(
                f"the function {name} is installed with the source hash {found.source_hash[:12]}…, but the spec needs"
                f" {use.source_hash[:12]}…; install that source, or make a spec for the new one",
                module=use.module,
                function=use.name,
                source_hash=use.source_hash,
                installed=found.source_hash,
            )
        return found


@dataclass(frozen=True, slots=True)
class _Step:
    function: OnDemand
    inputs: tuple[tuple[str, str, Kind], ...]  # parameter, where it comes from, its kind
    results: tuple[tuple[str, Kind], ...]  # names in the answer


@dataclass(frozen=True, slots=True)
class Program:
    """The functions of one spec, in order.

    uses     as asked for, completed: every hash, input and new name spelt out
    inputs   columns that the request must have besides the keys
    keys     key columns of the request that functions take
    taken    places of the lookups' features that functions take
    results  what comes out, after the features of the lookups
    """

    uses: tuple[FunctionUse, ...]
    inputs: tuple[Column, ...]
    keys: tuple[Column, ...]
    taken: tuple[int, ...]
    results: tuple[Column, ...]
    steps: tuple[_Step, ...] = field(repr=False)

    def run(self, cells: Mapping[str, Cells], rows: int) -> list[Cells]:
        """Returns the results in order, `rows` values each, of columns by name. Raises FunctionFailed."""
        known = dict(cells)
        for step in self.steps:
            given = {parameter: known[source].of_kind(kind) for parameter, source, kind in step.inputs}
            for (name, _), made in zip(step.results, _called(step.function, given, rows), strict=True):
                known[name] = made
        return [known[column.name] for column in self.results]


def bound(
    uses: Sequence[FunctionUse], features: Sequence[Column], keys: Sequence[Column], installed: Installed
) -> Program | None:
    """Checks the functions of a spec against its lookups' features and keys; None when there are no functions.

    Raises FunctionUnknown, and SchemaMismatch for an input of another type, two outputs of one name, an unknown
    parameter or result.
    """
    if not uses:
        return None
    known = {column.name: column.kind for column in features}
    of_request = {column.name: column.kind for column in keys}
    inputs: dict[str, Kind] = {}
    whole, steps, results, used = [], [], [], set()
    for use in uses:
        function = installed.find(use)
        _check_given(function, use)
        sources = []
        for parameter in function.parameters:
            source = use.inputs.get(parameter.name, parameter.name)
            kind = known.get(source) or of_request.get(source) or inputs.setdefault(source, parameter.kind)
            if not takes(parameter.kind, kind):
                raise SchemaMismatch(
                    f"function {function}: {parameter.name!r} is {parameter.kind}, but {source!r} is {kind}",
                    function=str(function),
                    column=source,
                    expected=parameter.kind,
                    actual=kind,
                )
            sources.append((parameter.name, source, parameter.kind))
            used.add(source)
        made = tuple((use.renames.get(one.name, one.name), one.kind) for one in function.results)
        steps.append(_Step(function, tuple(sources), made))
        results += [Column(name, kind) for name, kind in made]
        known |= dict(made)
        complete = {parameter: source for parameter, source, _ in sources}
        whole.append(FunctionUse(use.module, use.name, function.source_hash, complete, dict(use.renames)))
    check_names("the spec's features", (column.name for column in (*features, *results)))
    for name in inputs:
        if name in known:
            raise SchemaMismatch(f"{name!r} is taken by a function before another makes it", column=name)
    return Program(
        tuple(whole),
        tuple(Column(name, kind) for name, kind in inputs.items()),
        tuple(key for key in keys if key.name in used and key.name not in known),
        tuple(place for place, column in enumerate(features) if column.name in used),
        tuple(results),
        tuple(steps),
    )


def _check_given(function: OnDemand, use: FunctionUse) -> None:
    for given, columns, what in (
        (use.inputs, function.parameters, "parameter"),
        (use.renames, function.results, "result"),
    ):
        for name in given:
            if name not in {column.name for column in columns}:
                raise SchemaMismatch(f"function {function} has no {what} {name!r}", function=str(function), column=name)


def _called(function: OnDemand, given: Mapping[str, Cells], rows: int) -> list[Cells]:
    missing = np.zeros(rows, bool)
    if not function.nulls:
        for cells in given.values():
            missing |= cells.missing
    there = None if not missing.any() else np.flatnonzero(~missing)
    count = rows if there is None else len(there)
    if not count:
        return [Cells.nothing(column.kind, rows) for column in function.results]
    arguments = {
        column.name: given[column.name].seen(column.kind, there, masked=function.nulls)
        for column in function.parameters
    }
    try:
        answer = function.call(**arguments)
    except Exception as error:
        log.warning("function failed", extra={"function": str(function)}, exc_info=error)
        why = f"{type(error).__name__}: {error}"[:200]
        raise FunctionFailed(f"function {function} refused its inputs: {why}", function=str(function)) from error
    made = answer if isinstance(answer, tuple) else (answer,)
    if len(made) != len(function.results):
        raise FunctionFailed(
            f"function {function} returned {len(made)} columns; it gives {len(function.results)}",
            function=str(function),
        )
    results = []
    for column, values in zip(function.results, made, strict=True):
        try:
            cells = Cells.made(column.kind, values, count)
        except (TypeError, ValueError, OverflowError) as error:
            raise FunctionFailed(
                f"function {function}, result {column.name!r}: {error}", function=str(function), column=column.name
            ) from error
        results.append(cells if there is None else cells.spread(there, rows))
    return results
