"""Search for runs, in SQL: counts what matches, finds the keys of a page, loads its runs.

`counting.py` reads sets of runs along indexes, `walking.py` an order; where few runs match, they are sorted instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt

from sqlalchemy import Connection, literal, select

from fivefold_runtime.filters import And, Comparison, Field, Filter, Operator, OrderKey
from fivefold_tracking.fields import AMONG_EQUAL_RUNS, ATTRIBUTES, RUN_ID, completed
from fivefold_tracking.store import walking
from fivefold_tracking.store.conditions import Lookup, Scope, conjuncts
from fivefold_tracking.store.counting import are_few, count, matching
from fivefold_tracking.store.experiments import in_view
from fivefold_tracking.store.loading import runs_by_id
from fivefold_tracking.store.records import Key, Page, RunKeys, RunQuery, RunRecord
from fivefold_tracking.store.tables import metrics, params, tags

_MANY = 50_000  # runs of an experiment for which the two ways of finding a page are weighed
_FIRST, _MOST = 25, 400  # runs that are loaded at once: at first, and when they are small
_PAGE_BYTES = 4 * 1024 * 1024  # of what runs have logged, after which a page ends early
_POINT_BYTES = 40  # of a metric beside its key
_KEY_BYTES = 1500  # of the texts in a page's key
CUT = 3  # the rank of a text that is not whole in a page's key


def search(tx: Connection, query: RunQuery, after: Key | None, limit: int) -> Page[RunRecord]:
    """Returns a page of the runs that a query asks for, and how many there are in all, where it wants to know."""
    numbers, gone = in_view(tx, query.experiments, query.view)
    if not numbers:
        return Page(())
    lookup = Lookup(tx, Scope(numbers, gone, query.view))
    tree, order = _tree(query), completed(query.order, *AMONG_EQUAL_RUNS)
    few = isqrt(_MANY * limit)  # Sorting this many costs about as much as walking until a page of them is full.
    total = count(tx, lookup, tree) if query.counted else 0
    if query.counted and total == 0:
        return Page(())
    after = None if after is None else _whole(tx, order, after)
    if tree is not None and (total <= few if query.counted else are_few(tx, lookup, tree, few)):
        keys = walking.sorted_among(tx, matching(tx, lookup, tree), order, after, limit + 1)
    else:
        keys = walking.walked(tx, lookup, tree, order, after, limit + 1)
    place = _place_of_id(order)
    records = load(tx, [str(key[place]) for key in keys[:limit]])
    more = _cut(keys[len(records) - 1]) if len(records) < len(keys) else None
    return Page(tuple(records), more, total)


def keys(tx: Connection, query: RunQuery, limit: int) -> RunKeys:
    """Returns which metrics, params and tags the runs of a query have, at most so many of each."""
    numbers, gone = in_view(tx, query.experiments, query.view)
    if not numbers:
        return RunKeys()
    found = matching(tx, Lookup(tx, Scope(numbers, gone, query.view)), _tree(query))
    every = (select(table.c.key).distinct().where(table.c.run.in_(found)) for table in (metrics, params, tags))
    ordered = (each.order_by(each.selected_columns[0]).limit(limit) for each in every)
    return RunKeys(*(tuple(tx.execute(each).scalars()) for each in ordered))


def load(tx: Connection, ids: Sequence[str]) -> list[RunRecord]:
    """Returns the runs, in order; fewer than asked for, but at least one, where they are big."""
    loaded: list[RunRecord] = []
    size, start, block = 0, 0, _FIRST
    while start < len(ids):
        for run in runs_by_id(tx, ids[start : start + block], whole=False):
            size += _size(run)
            if loaded and size > _PAGE_BYTES:
                return loaded
            loaded.append(run)
        start += block
        block = min(_MOST, max(1, (_PAGE_BYTES - size) * start // (size + 1)))
    return loaded


def _tree(query: RunQuery) -> Filter | None:
    parts = conjuncts(query.filter)
    if query.parent:
        parts = (Comparison(Field(ATTRIBUTES, "parent_run_id"), Operator.EQUAL, (query.parent,)), *parts)
    return And(parts) if len(parts) > 1 else parts[0] if parts else None


def _place_of_id(order: Sequence[OrderKey]) -> int:
    """Returns where in a key the run's id is."""
    return 2 * next(place for place, key in enumerate(order) if key.field == RUN_ID) + 1


def _cut(key: Key) -> Key:
    """Returns the key of a page: long texts are cut, and marked so, as a page token has to be short."""
    longest = _KEY_BYTES // max(1, sum(isinstance(value, str) for value in key))

    def parts() -> Iterator[int | float | str | None]:
        for rank, value in zip(key[::2], key[1::2], strict=True):
            if isinstance(value, str) and len(value.encode()) > longest:
                yield CUT
                yield value.encode()[:longest].decode(errors="ignore")
            else:
                yield rank
                yield value

    return tuple(parts())


def _whole(tx: Connection, order: Sequence[OrderKey], after: Key) -> Key:
    """Returns a page's key with its cut texts as the run has them; what it has no more is taken as it was cut."""
    if CUT not in after[::2]:
        return after
    run = select(literal(after[_place_of_id(order)]).label("run"))
    now = next(iter(walking.sorted_among(tx, run, order, None, 1)), after)

    def parts() -> Iterator[int | float | str | None]:
        for place in range(0, len(after), 2):
            rank, value = after[place : place + 2]
            if rank == CUT:
                rank, found = 0, now[place + 1]
                value = found if isinstance(found, str) and found.startswith(str(value)) else value
            yield rank
            yield value

    return tuple(parts())


def _size(run: RunRecord) -> int:
    """Returns about how many bytes of an answer a run takes."""
    texts = [point.key for point in run.metrics]
    for each in run.inputs:
        texts += (each.dataset, each.digest, each.source_type, each.source)
    for labels in (run.params, run.tags, *(each.tags for each in run.inputs)):
        texts += labels
        texts += labels.values()
    return len("".join(texts).encode()) + _POINT_BYTES * len(run.metrics)
