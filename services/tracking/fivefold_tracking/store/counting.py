"""Which runs match a filter, as a set: read along the index of one comparison, the others asked for each of its runs.

The one that is read is the rarest, when it is far rarer than the others: each of its runs is then looked up. Otherwise
it is the most frequent one, and the others are sets that SQLite builds once.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from sqlalchemy import Connection, Select, func, select

from fivefold_runtime.filters import Comparison, Filter, Presence
from fivefold_tracking.store.conditions import KEYED, Lookup, conjuncts, is_of_attributes
from fivefold_tracking.store.leaves import one_of
from fivefold_tracking.store.tables import runs

_RARER = 4  # times; looking one run up costs about as much as this many questions to a set


def matching(tx: Connection, lookup: Lookup, tree: Filter | None) -> Select[Any]:
    """Returns the ids of the runs of the lookup's scope that match."""
    parts = conjuncts(tree)
    readable = [part for part in parts if _is_read(part)]
    if not readable:
        return _from_runs(lookup, parts)
    sizes = _sizes(tx, lookup, readable)
    order = sorted(range(len(readable)), key=sizes.__getitem__)
    rarest = len(order) > 1 and sizes[order[0]] * _RARER < sizes[order[1]]
    first = readable[order[0] if rarest or not lookup.sqlite else order[-1]]
    found = lookup.having(first)
    run = found.selected_columns[0]
    for part in parts:
        if part is not first:
            found = found.where(lookup.holds_for(part, run) if rarest else lookup.among(part, run))
    source = KEYED[first.field.group]
    return found.where(*lookup.unseen(run, source.c.experiment))


def count(tx: Connection, lookup: Lookup, tree: Filter | None) -> int:
    """Returns how many runs match."""
    return tx.execute(_counted(matching(tx, lookup, tree))).scalar_one()


def are_few(tx: Connection, lookup: Lookup, tree: Filter, most: int) -> bool:
    """Says whether it is quickly seen that at most so many runs match."""
    readable = [lookup.having(part) for part in conjuncts(tree) if _is_read(part)]
    for each in readable or [matching(tx, lookup, tree)]:
        if tx.execute(_counted(each.limit(most + 1))).scalar_one() <= most:
            return True
    return False


def _from_runs(lookup: Lookup, parts: tuple[Filter, ...]) -> Select[Any]:
    """Returns the ids for a filter that no index of metrics, params or tags answers."""
    found = select(runs.c.id.label("run")).where(one_of(runs.c.experiment, lookup.scope.numbers))
    for part in parts:
        by_row = is_of_attributes(part) or not lookup.sqlite
        found = found.where(lookup.holds(part) if by_row else lookup.among(part, runs.c.id))
    return found.where(*lookup.unseen(runs.c.id, runs.c.experiment))


def _is_read(part: Filter) -> TypeGuard[Comparison | Presence]:
    """Says whether an index has the runs for which a part holds, one after the other."""
    if isinstance(part, Comparison):
        return part.field.group in KEYED
    return isinstance(part, Presence) and part.present and part.field.group in KEYED


def _sizes(tx: Connection, lookup: Lookup, parts: list[Any]) -> list[int]:
    """Returns how many runs each has. One alone needs no number."""
    if len(parts) == 1 or not lookup.sqlite:  # PostgreSQL knows about how many there are.
        return [0] * len(parts)
    counts = [_counted(lookup.having(part)).scalar_subquery() for part in parts]
    return list(tx.execute(select(*counts)).one())


def _counted(found: Select[Any]) -> Select[int]:
    return select(func.count()).select_from(found.subquery())
